"""Base models on offer: what `catalog.toml` lists, as typed values.

Rule of this file: reads one file and answers questions about it. It does not look at the disk for weights beyond
naming the folder where they belong, nor at the network.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from jobs.errors import BaseNotAvailable

MINI_ID = "afina-mini"


class Base(BaseModel):
    """One base model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    name: str  # for people
    repo: str | None = None  # id on the hub; None: comes with Afina
    licence: str
    parameters: int
    context: int  # tokens
    hidden_size: int
    intermediate_size: int
    layers: int
    vocabulary: int
    template: str  # family of the chat template
    verified: bool = False  # the whole way was run with these very weights
    gated: bool = False  # the licence must be accepted on the hub, and a token given
    lora_gb: float = 0.0  # memory of a usual job, in GB
    qlora_gb: float = 0.0
    description: str  # Spanish
    recipe: dict[str, Any] = Field(default_factory=dict)  # fields of Recipe where this base wants other defaults


class Catalog:
    """The bases by id, in the order of the file."""

    def __init__(self, bases: list[Base]) -> None:
        self._bases = {base.id: base for base in bases}

    def __iter__(self) -> Iterator[Base]:
        return iter(self._bases.values())

    def __len__(self) -> int:
        return len(self._bases)

    def __contains__(self, base_id: object) -> bool:
        return base_id in self._bases

    def get(self, base_id: str) -> Base:
        """Raises BaseNotAvailable for an id that is not in the catalogue."""
        try:
            return self._bases[base_id]
        except KeyError:
            raise BaseNotAvailable(f"No hay ningún modelo base llamado «{base_id[:80]}» en el catálogo.") from None


def load_catalog(path: Path | None = None) -> Catalog:
    """The catalogue of `path`, or the one that comes with Afina."""
    source = path or Path(__file__).with_name("catalog.toml")
    listed = tomllib.loads(source.read_text(encoding="utf-8"))["base"]
    return Catalog([Base.model_validate(entry) for entry in listed])


def base_folder(data: Path, base_id: str) -> Path:
    """Where the files of a base lie below the data folder. Ids of the catalogue only: the caller has looked it up."""
    return data / "bases" / base_id.replace("/", "--")


def is_downloaded(data: Path, base: Base) -> bool:
    """Whether a job could load it now (afina-mini makes itself on first use)."""
    return base.repo is None or (base_folder(data, base.id) / "config.json").is_file()
