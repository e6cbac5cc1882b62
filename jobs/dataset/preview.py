"""One example as the exact text that the model will see, with what it learns marked; before anything is trained.

Rule of this file: the chat template of the base is rendered by jinja2 in its sandbox, as transformers does, without
torch. What is learnt is told by the template's `{% generation %}` marks; without them, by rendering the conversation's
beginnings. It does not tokenise, cut or pack.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Template as JinjaTemplate
from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jobs.dataset.example import Example, Kind, Message

CHATML = (
    "{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['role'] == 'assistant' %}{% generation %}{{- (message['content'] or '') }}"
    "{%- if message['tool_calls'] %}{{- message['tool_calls'] | tojson }}{% endif %}"
    "{{- '<|im_end|>' }}{% endgeneration %}{%- else %}{{- message['content'] + '<|im_end|>' }}{% endif %}"
    "{{- '\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}"
)
# Noncharacters of Unicode: no text has a use for them.
_OPEN, _CLOSE = "\ufdd1", "\ufdd2"


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    text: str
    learnt: bool  # the model learns to write this


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """A chat template and the special tokens that it may name."""

    source: str = CHATML
    tokens: tuple[tuple[str, str], ...] = ()

    @classmethod
    def load(cls, folder: Path) -> Template:
        """The template of a base model's folder; ChatML where it brings none."""
        config: dict[str, Any] = {}
        if (folder / "tokenizer_config.json").is_file():
            config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        source = config.get("chat_template")
        if (folder / "chat_template.jinja").is_file():
            source = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        named = {key: value.get("content") if isinstance(value, dict) else value for key, value in config.items()}
        tokens = tuple(
            (key, value) for key, value in named.items() if key.endswith("_token") and isinstance(value, str)
        )
        return cls(source=source if isinstance(source, str) else CHATML, tokens=tokens)

    def render(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = (), *, opened: bool = False) -> str:
        """The text of a conversation; `opened` adds the start of an answer. Raises ValueError where it refuses."""
        try:
            return _compiled(self.source).render(
                messages=[message.to_dict() for message in messages],
                tools=list(tools) or None,
                add_generation_prompt=opened,
                **dict(self.tokens),
            )
        except (TemplateError, TypeError, KeyError) as error:
            raise ValueError(f"La plantilla del modelo no admite este ejemplo: {error}") from error


def preview(example: Example, template: Template) -> tuple[Piece, ...]:
    """The text of an example in pieces, in order; preferences show the chosen answer, then the rejected one."""
    if example.kind is Kind.TEXT:
        return (Piece(text=example.text, learnt=True),)
    if example.kind is Kind.PREFERENCE:
        chosen = _pieces((*example.messages, *example.chosen), example.tools, template)
        rejected = _pieces((*example.messages, *example.rejected), example.tools, template)
        return (*chosen, Piece(text="\n\n— frente a la respuesta rechazada —\n\n", learnt=False), *rejected)
    return _pieces(example.messages, example.tools, template)


def learns_something(pieces: Sequence[Piece]) -> bool:
    return any(piece.learnt and piece.text for piece in pieces)


def _pieces(messages: Sequence[Message], tools: Sequence[dict[str, Any]], template: Template) -> tuple[Piece, ...]:
    whole = template.render(messages, tools)
    if _OPEN in whole:
        return _by_marks(whole, [message.learn for message in messages if message.role == "assistant"])
    return _by_beginnings(whole, messages, tools, template)


def _by_marks(whole: str, learnt: Sequence[bool]) -> tuple[Piece, ...]:
    """The k-th marked part is the k-th turn of the assistant."""
    pieces: list[Piece] = []
    for place, part in enumerate(whole.split(_OPEN)):
        inside, closed, after = part.partition(_CLOSE)
        if not closed:
            pieces.append(Piece(text=part, learnt=False))
            continue
        pieces.append(Piece(text=inside, learnt=place <= len(learnt) and learnt[place - 1]))
        pieces.append(Piece(text=after, learnt=False))
    return tuple(piece for piece in pieces if piece.text)


def _by_beginnings(
    whole: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]], template: Template
) -> tuple[Piece, ...]:
    """A turn is what the rendering grows by when it is added; where that is not so, its text is looked for."""
    pieces: list[Piece] = []
    at = 0
    for place, message in enumerate(messages):
        if not message.learn:
            continue
        start, end = _span(whole, messages[: place + 1], tools, template, at)
        if start < 0:
            continue
        pieces += [Piece(text=whole[at:start], learnt=False), Piece(text=whole[start:end], learnt=True)]
        at = end
    pieces.append(Piece(text=whole[at:], learnt=False))
    return tuple(piece for piece in pieces if piece.text)


def _span(
    whole: str, upto: Sequence[Message], tools: Sequence[dict[str, Any]], template: Template, at: int
) -> tuple[int, int]:
    try:
        before = template.render(upto[:-1], tools, opened=True)
        after = template.render(upto, tools)
    except ValueError:
        before = after = _CLOSE
    if whole.startswith(after) and after.startswith(before) and len(before) >= at:
        return len(before), len(after)
    start = whole.find(upto[-1].content.strip(), at)
    return start, start + len(upto[-1].content.strip())


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: what the assistant writes."""

    tags = {"generation"}  # noqa: RUF012  # as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        return f"{_OPEN}{caller()}{_CLOSE}"


@lru_cache(maxsize=16)
def _compiled(source: str) -> JinjaTemplate:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(source)


def _refuse(message: str) -> str:
    raise TemplateError(message)
