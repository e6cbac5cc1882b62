"""Handing a file of a stranger to a child process, and hearing what came of it.

Rule of this file: the parent reads nothing of the file itself. A child that runs out of memory or time is a
DatasetError that says so, never a surprise; the child is gone when the call ends, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any

from jobs.dataset.limits import MIB, Limits
from jobs.errors import DatasetError, TooLarge

# What Python, Rust, C++ and the dynamic linker say when there is no memory left.
_NO_MEMORY = ("MemoryError", "emory allocation", "bad_alloc", "annot allocate memory", "failed to map segment")
_LINE = 64 * MIB  # the longest answer that is accepted


async def ask_child(do: str, *, limits: Limits, **task: Any) -> Any:
    """The last answer of a task (`jobs.dataset.child.TASKS`). Raises DatasetError where the child fails."""
    last: Any = None
    async for answer in child_steps(do, limits=limits, **task):
        last = answer
    return last


async def child_steps(do: str, *, limits: Limits, **task: Any) -> AsyncGenerator[Any, None]:
    """The answers of a task as they come. Raises DatasetError, or TooLarge when it runs out of memory or time."""
    # One thread for each library: more only cost memory here.
    quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "jobs.dataset.child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**_harmless(os.environ), **quiet, "TOKENIZERS_PARALLELISM": "false"},
        limit=_LINE,
    )
    errors = asyncio.create_task(_last_bytes(process))
    try:
        async with asyncio.timeout(limits.seconds):
            order = json.dumps({"do": do, "limits": asdict(limits), **task}) + "\n"
            await _tell(process, order.encode())
            assert process.stdout is not None
            while line := await process.stdout.readline():
                yield json.loads(line)
            code = await process.wait()
    except TimeoutError:
        raise TooLarge("Revisar el archivo está tardando demasiado.") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        said = await errors
    if code != 0:
        raise _failure(code, said)


def _harmless(environment: os._Environ[str]) -> dict[str, str]:
    """What a child needs to start Python; no token or key of ours is among it."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
    return {name: environment[name] for name in kept if name in environment}


async def _tell(process: asyncio.subprocess.Process, order: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(order)
        await process.stdin.drain()
        process.stdin.close()


async def _last_bytes(process: asyncio.subprocess.Process) -> str:
    """The end of what the child wrote to stderr."""
    assert process.stderr is not None
    kept = b""
    while chunk := await process.stderr.read(4096):
        kept = (kept + chunk)[-8192:]
    return kept.decode("utf-8", "replace")


def _failure(code: int, said: str) -> DatasetError:
    """What to tell about a child that ended badly: a refusal of ours, memory, or time."""
    last = said.strip().rsplit("\n", 1)[-1]
    if "DatasetError: " in last or "TooLarge: " in last:
        return DatasetError(last.split(": ", 1)[1], hint="")
    if any(mark in said for mark in _NO_MEMORY) or code in (-9, -6, -11):
        return TooLarge("Revisar el archivo necesita más memoria de la permitida.")
    if code == -24:  # SIGXCPU
        return TooLarge("Revisar el archivo está tardando demasiado.")
    return DatasetError(
        "No he podido revisar el archivo.", hint="Inténtalo otra vez; si se repite, avisa a quien administra."
    )
