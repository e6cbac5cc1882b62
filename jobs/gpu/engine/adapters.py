"""LoRA adapters as the engine keeps them: read from a folder, checked, scaled, ready to be stacked.

Rule of this file: an adapter enters only through `read_adapter`, which opens safetensors and JSON, never a pickle, and
refuses whatever the stacked computation would get wrong (DoRA, trained biases, whole modules beside LoRA, a rank above
the limit, shapes of another base). `inside` says where a folder may lie; `Library` keeps what is in memory.
"""

from __future__ import annotations

import json
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
# "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" -> ("model.layers.0.self_attn.q_proj", "A")
_KEY = re.compile(r"^(?:base_model\.model\.)?(?P<site>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight$")


class AdapterRefused(Exception):
    """This folder cannot be served over this base; the message says why, in English, for the protocol."""


class AdapterMissing(AdapterRefused):
    """There is no adapter at that path."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """One adapter in memory. Compared by identity: a reloaded one is another adapter."""

    name: str
    folder: Path
    rank: int  # the highest among its sites
    # site (dotted name of the linear layer) -> (A [rank, in], B [out, rank] already multiplied by the scaling)
    weights: Mapping[str, tuple[Tensor, Tensor]]

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for pair in self.weights.values() for t in pair)


def inside(path: str, roots: Iterable[Path]) -> Path:
    """The folder that `path` names, links resolved.

    Raises:
        AdapterRefused: it lies outside every root.
        AdapterMissing: there is no such folder, or no adapter in it.
    """
    folder = Path(path).resolve()
    if not any(folder.is_relative_to(root.resolve()) for root in roots):
        raise AdapterRefused(f"lora_path '{path}' lies outside the folder of adapters.")
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise AdapterMissing(f"No adapter found for '{path}': {CONFIG} and {WEIGHTS} are needed.")
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """The adapter's configuration as PEFT wrote it.

    Raises:
        AdapterRefused: not JSON, or a kind of adapter that the engine does not serve.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterRefused(f"{CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise AdapterRefused("only LoRA adapters can be served.")
    for field, why in _UNSERVED.items():
        if config.get(field):
            raise AdapterRefused(f"{field} is set: {why}")
    if config.get("bias", "none") != "none":
        raise AdapterRefused("bias is trained: merge the adapter into its base to serve it.")
    return config


_UNSERVED = {
    "use_dora": "a DoRA adapter must be merged into its base to be served.",
    "modules_to_save": "whole modules beside LoRA cannot be served over a shared base.",
    "lora_bias": "LoRA biases are not served.",
    "fan_in_fan_out": "transposed layers are not served.",
    "layer_replication": "replicated layers are not served.",
    "trainable_token_indices": "trained token embeddings are not served over a shared base.",
    "target_parameters": "LoRA on bare parameters is not served.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What an adapter has to fit."""

    sites: Mapping[str, nn.Module]  # the linear layers of the base, by dotted name
    max_rank: int
    device: torch.device
    dtype: torch.dtype


def read_adapter(name: str, folder: Path, place: Place) -> Adapter:
    """Read and check one adapter.

    Raises:
        AdapterRefused: see the rule of this file.
    """
    config = read_config(folder)
    try:
        tensors = load_file(str(folder / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise AdapterRefused(f"{WEIGHTS} cannot be read: {error}") from error
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.match(key)
        if match is None or match["site"] not in place.sites:
            raise AdapterRefused(f"'{key}' does not belong to a linear layer of this base.")
        halves.setdefault(match["site"], {})[match["side"]] = tensor
    if not halves:
        raise AdapterRefused("it holds no LoRA weights.")
    weights = {site: _checked(site, pair, config, place) for site, pair in halves.items()}
    return Adapter(name=name, folder=folder, rank=max(a.shape[0] for a, _ in weights.values()), weights=weights)


def _checked(site: str, pair: dict[str, Tensor], config: dict[str, Any], place: Place) -> tuple[Tensor, Tensor]:
    if pair.keys() != {"A", "B"}:
        raise AdapterRefused(f"'{site}' has only one of its two matrices.")
    a, b, layer = pair["A"], pair["B"], place.sites[site]
    rank = a.shape[0]
    if rank > place.max_rank:
        raise AdapterRefused(f"LoRA rank {rank} is greater than max_lora_rank {place.max_rank}.")
    if a.shape != (rank, layer.in_features) or b.shape != (layer.out_features, rank):
        raise AdapterRefused(f"'{site}' has the shapes of another base: {tuple(a.shape)}, {tuple(b.shape)}.")
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise AdapterRefused(f"'{site}' holds numbers that are not finite.")
    alpha = _of_site(config.get("alpha_pattern"), site, config.get("lora_alpha", 8))
    scaling = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    return a.to(place.device, place.dtype), (b.to(torch.float32) * scaling).to(place.device, place.dtype)


def _of_site(patterns: Mapping[str, float] | None, site: str, default: float) -> float:
    """PEFT's rule for `alpha_pattern`: a pattern matches the end of the dotted name."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", site):
            return value
    return default


class Library:
    """The weights of at most `capacity` adapters of one base, the least recently used going first.

    An adapter that a running request holds lives on until that request ends.
    """

    def __init__(self, read: Callable[[str, Path], Adapter], capacity: int) -> None:
        self._read = read
        self._capacity = capacity
        self._resident: OrderedDict[str, Adapter] = OrderedDict()

    @property
    def resident(self) -> tuple[str, ...]:
        return tuple(self._resident)

    def load(self, name: str, folder: Path) -> Adapter:
        """Read an adapter, in place of what had that name.

        Raises:
            AdapterRefused: see `read_adapter`; what had the name stays.
        """
        adapter = self._read(name, folder)
        self._resident[name] = adapter
        self._resident.move_to_end(name)
        while len(self._resident) > self._capacity:
            self._resident.popitem(last=False)
        return adapter

    def get(self, name: str, folder: Path) -> Adapter:
        """The adapter, read again if its weights had gone.

        Raises:
            AdapterRefused: its folder is gone or has changed for the worse.
        """
        if name not in self._resident:
            return self.load(name, folder)
        self._resident.move_to_end(name)
        return self._resident[name]

    def drop(self, name: str) -> None:
        self._resident.pop(name, None)
