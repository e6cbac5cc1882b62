"""Tools of an example: what is declared, what is called, and which call a result answers.

Rule of this file: structure only. OpenAI's `tool_calls` (arguments as a JSON text), the form of chat templates
(arguments as an object, ids optional) and the older `function_call` are all read into the template's form.
"""

from __future__ import annotations

import json
from typing import Any

from jobs.dataset.problem import Findings
from jobs.dataset.syntax import type_name


class ToolTrail:
    """Tools declared in one example and the calls made so far in it."""

    def __init__(self, declared: frozenset[str] = frozenset()) -> None:
        self.declared = declared
        self.call_ids: set[str] = set()

    def answer(self, message: dict[str, Any], where: str, found: Findings) -> str | None:
        """The id of the call that a `tool` message answers; problems go to `found`."""
        call_id = message.get("tool_call_id")
        field = f"{where}.tool_call_id"
        if call_id is None or call_id == "":
            found.add("missing_tool_call_id", field)
        elif not isinstance(call_id, str):
            found.add("wrong_type", field, name="tool_call_id", expected="un texto", kind=type_name(call_id))
        elif call_id not in self.call_ids:
            found.add("orphan_tool_call_id", field, id=call_id)
        else:
            return call_id
        return None


def read_tools(value: dict[str, Any], found: Findings) -> tuple[dict[str, Any], ...]:
    """Schemas declared with an example, from `tools` (a list or its JSON text) and the older `functions`."""
    schemas: list[dict[str, Any]] = []
    for key in ("tools", "functions"):
        declared = value.get(key)
        if declared is None or declared == "":
            continue
        if isinstance(declared, str):
            declared = _parsed(declared)
        if not isinstance(declared, list):
            found.add("bad_tools", key, what="no es una lista")
            continue
        for index, tool in enumerate(declared):
            function = tool.get("function", tool) if isinstance(tool, dict) else None
            if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
                found.add("bad_tools", f"{key}[{index}]", what="falta el nombre de la función")
                continue
            schemas.append(tool if "function" in tool else {"type": "function", "function": tool})
    return tuple(schemas)


def names_of(schemas: tuple[dict[str, Any], ...]) -> frozenset[str]:
    return frozenset(schema["function"]["name"] for schema in schemas)


def read_calls(message: dict[str, Any], where: str, found: Findings, trail: ToolTrail) -> tuple[dict[str, Any], ...]:
    """Calls of an assistant message in the form of chat templates; malformed ones are told and left out."""
    calls: list[dict[str, Any]] = []
    listed = message.get("tool_calls")
    if listed is not None and not isinstance(listed, list):
        found.add("bad_tool_call", f"{where}.tool_calls", what="«tool_calls» no es una lista")
    elif listed:
        for index, call in enumerate(listed):
            calls.append(_read_call(call, f"{where}.tool_calls[{index}]", found, trail))
    legacy = message.get("function_call")
    if legacy is not None:
        calls.append(_read_function(legacy, f"{where}.function_call", found, trail))
    return tuple(calls)


def _read_call(call: Any, where: str, found: Findings, trail: ToolTrail) -> dict[str, Any]:
    if not isinstance(call, dict):
        found.add("bad_tool_call", where, what="no es un objeto")
        return {}
    function = call.get("function")
    if function is None and "name" in call:
        function = {key: call[key] for key in ("name", "arguments") if key in call}
    read = _read_function(function, f"{where}.function", found, trail)
    call_id = call.get("id")
    if isinstance(call_id, str) and call_id:
        trail.call_ids.add(call_id)
        return {"id": call_id, **read}
    if call_id is not None:
        found.add("bad_tool_call", f"{where}.id", what="el id no es un texto")
    return read


def _read_function(function: Any, where: str, found: Findings, trail: ToolTrail) -> dict[str, Any]:
    if not isinstance(function, dict):
        found.add("bad_tool_call", where, what="falta la función")
        return {}
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        found.add("bad_tool_call", f"{where}.name", what="falta el nombre de la función")
        return {}
    if name not in trail.declared and not any(problem.code == "bad_tools" for problem in found.problems):
        found.add("undeclared_tool", f"{where}.name", name=name)
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        parsed = _parsed(arguments)
        if parsed is None:
            found.add("tool_arguments_not_json", f"{where}.arguments")
        else:
            arguments = parsed
    elif arguments is None:
        found.add("tool_arguments_not_json", f"{where}.arguments")
        arguments = {}
    elif not isinstance(arguments, dict):
        found.add("bad_tool_call", f"{where}.arguments", what="los argumentos no son texto ni objeto")
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def _parsed(text: str) -> Any:
    """The value of a JSON text; None when it is none (a bare `null` counts as none)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
