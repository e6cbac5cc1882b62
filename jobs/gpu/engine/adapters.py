"""LoRA adapters as the engine keeps them: read from a folder, checked, scaled, ready to be stacked.

Rule of this file: an adapter enters only through `read_adapter`, which opens safetensors and JSON, never a pickle, and
refuses whatever the stacked computation would get wrong (trained biases, whole modules beside LoRA, a rank above the
limit, shapes of another base). Shapes are looked at before any weight is read. `inside` says where a folder may lie.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft.utils.integrations import dequantize_module_weight
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from jobs.gpu.engine.packed import PackedLinear

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
MAX_FILE = 4 * 2**30  # bytes of weights
# "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" -> ("model.layers.0.self_attn.q_proj", "lora_A")
_KEY = re.compile(
    r"^(?:base_model\.model\.)?(?P<site>.+)\.(?P<part>lora_A|lora_B|lora_magnitude_vector)(?:\.default)?(?:\.weight)?$"
)


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
    # site (dotted name of the linear layer) -> (A [rank, in], B^T [rank, out] already multiplied by scaling and scale)
    weights: Mapping[str, tuple[Tensor, Tensor]]
    # DoRA only: site -> what the layer's own product is multiplied by [out], magnitude / |W + scaling B A|
    scales: Mapping[str, Tensor] = field(default_factory=dict)


def inside(path: str, roots: Iterable[Path]) -> Path:
    """The folder that `path` names, links resolved.

    Raises:
        AdapterRefused: it lies outside every root.
        AdapterMissing: there is no such folder, or no adapter in it.
    """
    try:
        folder = Path(path).resolve()
        allowed = [root.resolve() for root in roots]
        if not any(folder.is_relative_to(root) for root in allowed):
            raise AdapterRefused(f"lora_path '{path}' lies outside the folder of adapters.")
        if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
            raise AdapterMissing(f"No adapter found for '{path}': {CONFIG} and {WEIGHTS} are needed.")
        if not all(any(file.resolve().is_relative_to(root) for root in allowed) for file in folder.iterdir()):
            raise AdapterRefused(f"a file of '{path}' is a link to somewhere outside the folder of adapters.")
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a name that is none
        raise AdapterRefused(f"lora_path cannot be read: {type(error).__name__}.") from error
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """The adapter's configuration as PEFT wrote it.

    Raises:
        AdapterRefused: not JSON, or a kind of adapter that the engine does not serve.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterRefused(f"{CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise AdapterRefused("only LoRA adapters can be served.")
    for setting, why in _UNSERVED.items():
        if config.get(setting):
            raise AdapterRefused(f"{setting} is set: {why}")
    if config.get("bias", "none") != "none":
        raise AdapterRefused("bias is trained: merge the adapter into its base to serve it.")
    return config


_UNSERVED = {
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

    sites: Mapping[str, nn.Linear]  # the linear layers of the base, by dotted name
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
        if (folder / WEIGHTS).stat().st_size > MAX_FILE:
            raise AdapterRefused(f"{WEIGHTS} is larger than {MAX_FILE} bytes.")
        with safe_open(str(folder / WEIGHTS), framework="pt") as file:
            keys = _sites(file.keys(), place)
            for site, parts in keys.items():
                _check_shapes(
                    site, {part: tuple(file.get_slice(key).get_shape()) for part, key in parts.items()}, place
                )
            sites = {
                site: _Site.read(site, {part: file.get_tensor(key) for part, key in parts.items()}, config, place)
                for site, parts in keys.items()
            }
    except (OSError, SafetensorError) as error:
        raise AdapterRefused(f"{WEIGHTS} cannot be read: {error}") from error
    return Adapter(
        name=name,
        folder=folder,
        rank=max(one.a.shape[0] for one in sites.values()),
        weights={site: (one.a, one.b) for site, one in sites.items()},
        scales={site: one.scale for site, one in sites.items() if one.scale is not None},
    )


def _sites(keys: Iterable[str], place: Place) -> dict[str, dict[str, str]]:
    """The file's keys by site and part ("lora_A", "lora_B", "lora_magnitude_vector")."""
    out: dict[str, dict[str, str]] = {}
    for key in keys:
        match = _KEY.match(key)
        if match is None or match["site"] not in place.sites:
            raise AdapterRefused(f"'{key}' does not belong to a linear layer of this base.")
        out.setdefault(match["site"], {})[match["part"]] = key
    if not out:
        raise AdapterRefused("it holds no LoRA weights.")
    return out


def _check_shapes(site: str, shapes: Mapping[str, tuple[int, ...]], place: Place) -> None:
    if not {"lora_A", "lora_B"} <= shapes.keys():
        raise AdapterRefused(f"'{site}' has only one of its two matrices.")
    a, b, layer = shapes["lora_A"], shapes["lora_B"], place.sites[site]
    rank = a[0] if a else 0
    if rank > place.max_rank:
        raise AdapterRefused(f"LoRA rank {rank} is greater than max_lora_rank {place.max_rank}.")
    magnitude = shapes.get("lora_magnitude_vector", (layer.out_features,))
    fits = a == (rank, layer.in_features) and b == (layer.out_features, rank) and magnitude == (layer.out_features,)
    if rank < 1 or not fits:
        raise AdapterRefused(f"'{site}' has the shapes of another base: {a}, {b}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Site:
    """What an adapter does to one layer: scale * (W x) + b^T (a x)."""

    a: Tensor  # [rank, in]
    b: Tensor  # [rank, out], as it is stacked
    scale: Tensor | None  # [out]; None: plain LoRA, 1

    @classmethod
    def read(cls, site: str, parts: Mapping[str, Tensor], config: Mapping[str, Any], place: Place) -> _Site:
        """From the tensors of the file, checked. The norms of DoRA are taken in fp32, whatever the base is in."""
        if not all(tensor.is_floating_point() for tensor in parts.values()):
            raise AdapterRefused(f"'{site}' does not hold floating-point numbers.")
        if bool(config.get("use_dora")) != ("lora_magnitude_vector" in parts):
            raise AdapterRefused(f"'{site}' and use_dora in {CONFIG} disagree.")
        a = parts["lora_A"].to(place.device, torch.float32)
        b = parts["lora_B"].to(place.device, torch.float32) * _scaling(site, config, rank=a.shape[0])
        scale = None
        if "lora_magnitude_vector" in parts:
            weight = _dense(place.sites[site]).to(place.device, torch.float32)
            scale = parts["lora_magnitude_vector"].to(place.device, torch.float32) / (weight + b @ a).norm(dim=1)
            b = b * scale[:, None]
        out = cls(
            a=a.to(place.dtype),
            b=b.T.to(place.dtype).contiguous(),
            scale=None if scale is None else scale.to(place.dtype),
        )
        if not all(torch.isfinite(tensor).all() for tensor in (out.a, out.b, out.scale) if tensor is not None):
            raise AdapterRefused(f"'{site}' holds numbers that are not finite.")
        return out


def _dense(layer: nn.Linear) -> Tensor:
    """The weight of a layer [out, in], whatever it is kept in.

    On a processor bitsandbytes packs 4-bit weights anew when they are first used, and cannot unpack them then: there
    the layer itself is asked, past the hooks.
    """
    if isinstance(layer, PackedLinear):
        return layer.dense()
    weight = layer.weight
    if weight.device.type == "cpu" and type(weight).__name__ == "Params4bit":
        with torch.inference_mode():
            columns = layer.forward(torch.eye(layer.in_features, dtype=torch.float32))
        return (columns if layer.bias is None else columns - layer.bias).T
    dense: Tensor = dequantize_module_weight(layer)
    return dense.detach()


def _scaling(site: str, config: Mapping[str, Any], *, rank: int) -> float:
    """What B is multiplied by. `alpha_pattern` by PEFT's rule: a pattern matches the end of the dotted name."""
    alpha = config.get("lora_alpha", 8)
    try:
        for pattern, value in (config.get("alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", site):
                alpha = value
                break
        return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)
    except (TypeError, ValueError, AttributeError, OverflowError, re.error) as error:
        raise AdapterRefused(f"lora_alpha or alpha_pattern in {CONFIG} cannot be used: {error}") from error
