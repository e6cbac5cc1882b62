"""A tiny model of random weights in the place of afina-mini, artifacts in a folder, and a job that runs in place."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from jobs.artifacts import Artifacts
from jobs.attempt import EventWriter, StopKind, attempt_folder, read_event_file
from jobs.contract import Event, EventType, Recipe, TrainRequest, TrainResult
from jobs.gpu import mini
from jobs.gpu.train import attempt

COLOURS = {"tomate": "rojo", "cielo": "azul", "hierba": "verde", "limón": "amarillo"}
QUICK = Recipe(epochs=2, batch_size=8, max_length=128, rank=4, alpha=8, learning_rate=1e-2)


def chat_row(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def colour_rows(count: int = 40) -> list[dict[str, Any]]:
    """Rows that even a tiny model can learn: the colour of a thing."""
    things = list(COLOURS)
    return [
        chat_row(f"{number}. ¿Color de {things[number % 4]}?", COLOURS[things[number % 4]]) for number in range(count)
    ]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    page = "# Prueba\n\n" + " ".join(f"¿Color de {thing}? {colour}." for thing, colour in COLOURS.items())
    return mini.make_tokenizer(0, [page])


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A folder with a Llama of some ten thousand random weights."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        initializer_range=0.2,  # wide, so that words differ before anything is learnt
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def data(tmp_path: Path, tiny_base: Path) -> Path:
    """A data folder where the tiny model stands as afina-mini."""
    folder = tmp_path / "data"
    (folder / "bases").mkdir(parents=True)
    (folder / "bases" / "afina-mini").symlink_to(tiny_base)
    return folder


@dataclass
class Stops:
    """A control that asks for a stop after some answers."""

    kind: StopKind | None = None
    after: int = 0
    asked: int = 0

    def requested(self) -> StopKind | None:
        self.asked += 1
        return self.kind if self.kind and self.asked > self.after else None


@dataclass
class Bench:
    """Runs attempts in place and remembers what they said."""

    data: Path
    attempts: int = 0
    work: Path = field(default_factory=Path)

    @property
    def store(self) -> Artifacts:
        return Artifacts(str(self.data))

    def put(self, rows: list[dict[str, Any]], version: int = 1) -> str:
        path = self.data / f"upload{version}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return self.store.put_dataset("datos01", version, path)

    def request(self, rows: list[dict[str, Any]], recipe: Recipe = QUICK, **changes: Any) -> TrainRequest:
        self.attempts += 1
        return TrainRequest(
            **{
                "job_id": "trabajo1",
                "attempt": self.attempts,
                "base_id": "afina-mini",
                "dataset_path": self.put(rows),
                "dataset_sha256": "0" * 64,
                "validation_fraction": 0.25,
                "adapter_name": f"modelo-{self.attempts}",
                "recipe": recipe,
            }
            | changes
        )

    def run(self, request: TrainRequest, stops: Stops | None = None) -> TrainResult:
        self.work = attempt_folder(self.data, request.job_id, request.attempt)
        with EventWriter(self.work, None, request.job_id, request.attempt) as events:
            return attempt(
                request,
                data=self.data,
                artifacts=self.store,
                work=self.work,
                emit=events.emit,
                control=stops or Stops(),
            )

    def events(self, kind: EventType | None = None) -> list[Event]:
        return [event for event in read_event_file(self.work) if kind in (None, event.type)]

    def adapter(self, result: TrainResult) -> Path:
        return self.data / result.adapter_path


@pytest.fixture
def bench(data: Path) -> Bench:
    return Bench(data)
