"""The embedded inference engine: one base, many adapters, one batch, behind the OpenAI protocol.

Rule of this package: `adapters` reads and checks, `lora` stacks, `cache` aligns, `prefill` reads prompts, `batch` moves
all rows by a token, `loop` gives them a thread, `prompt` turns messages into tokens and back, `base` holds one model
and its `library` of adapters, `engine` names what is served, `server`, `stream` and `protocol` speak HTTP, `process`
runs it. Each knows only those before it. In production vLLM takes its place behind the same routes.
"""

from __future__ import annotations

import argparse


def serve(args: argparse.Namespace) -> int:
    """Serve until a signal ends the process; the exit code. The flags are those of `python -m jobs.gpu serve`."""
    from jobs.gpu.engine.process import run

    return run(args)
