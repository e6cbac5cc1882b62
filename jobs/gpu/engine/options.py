"""The engine's sizes and flags; imports nothing heavy, so that `--help` is quick."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Sizes of the engine."""

    max_loras: int = 32  # adapters whose weights stay in memory, a base
    max_lora_rank: int = 64
    max_bases: int = 2  # base models in memory at once
    max_rows: int = 32  # requests that run together
    max_model_len: int | None = None  # tokens of prompt and answer; None: what the base was made for
    max_waiting: int = 256  # requests that may wait
    cells: int = 65_536  # tokens of keys and values that the running requests may come to hold
    prefill_tokens: int = 2048  # tokens of prompts read between two steps
    prefill_chunk: int = 512  # tokens of one long prompt read between two steps
    prefix_tokens: int = 16_384  # tokens of finished conversations kept for their next turn
    threads: int | None = None  # of torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The engine's flags."""
    sizes = Options()
    parser.add_argument("--data", type=Path, required=True, help="carpeta de datos")
    parser.add_argument("--artifacts", default=None, help="raíz de los adaptadores; por defecto, la carpeta de datos")
    parser.add_argument("--base", required=True, help="modelo base que se carga al empezar")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: uno libre")
    parser.add_argument("--ready-file", type=Path, default=None, help="se escribe cuando el motor responde")
    parser.add_argument("--api-key-env", default=None, help="variable de entorno que guarda la clave que se exige")
    parser.add_argument("--max-loras", type=int, default=sizes.max_loras, help="adaptadores en memoria")
    parser.add_argument("--max-lora-rank", type=int, default=sizes.max_lora_rank)
    parser.add_argument("--max-bases", type=int, default=sizes.max_bases, help="modelos base en memoria a la vez")
    parser.add_argument("--max-rows", type=int, default=sizes.max_rows, help="respuestas que avanzan juntas")
    parser.add_argument("--max-model-len", type=int, default=None, help="tokens de pregunta y respuesta")
    parser.add_argument("--max-waiting", type=int, default=sizes.max_waiting, help="peticiones que pueden esperar")
    parser.add_argument(
        "--prefill-chunk",
        type=int,
        default=sizes.prefill_chunk,
        help="tokens de una pregunta larga que se leen de cada vez",
    )
    parser.add_argument("--threads", type=int, default=None, help="hilos de torch")
    parser.add_argument("--four-bit", action="store_true", help="carga las bases en 4 bits")
    parser.add_argument("--embedding-model", type=Path, default=None, help="carpeta de un modelo de embeddings")
