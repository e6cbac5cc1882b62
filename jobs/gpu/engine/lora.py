"""Many adapters over one model in one batch: row i of the batch goes through adapter i.

Rule of this file: the transformers model stays as it is; a forward hook on each linear layer adds
`x A[i]^T B[i]^T` with two batched products over neighbouring rows whose adapters take the same rank in the stacks
(`stacked_rank`: the next power of two, padded with zeros). There is no loop over adapters: with rows in the order of
their ranks, as `batch` keeps them, there are as many products as different ranks, rows of the base cost nothing, and
one adapter of a high rank does not make the others dearer. Where a row's adapter is a DoRA, the layer's own product is
scaled first. The stacks hold one place per row of the batch, so that joining costs one copy of one adapter and a step
costs no gathering at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from jobs.gpu.engine.adapters import Adapter


def linear_sites(model: Any) -> dict[str, nn.Linear]:
    """The linear layers that an adapter may change, by dotted name; the output head is not among them."""
    head = model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if module is not head and isinstance(module, nn.Linear) and name
    }


FLOOR = 16  # ranks up to this one go together: another product would cost more than the zeros


def stacked_rank(adapter: Adapter | None) -> int:
    """The rank that an adapter takes in the stacks; 0: the base, which takes none."""
    return max(FLOOR, 1 << (adapter.rank - 1).bit_length()) if adapter else 0


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring rows whose adapters take the same rank in the stacks."""

    rows: slice  # of the pass
    places: slice  # of the stacks
    rank: int
    scaled: bool  # a DoRA is among them


@dataclass(frozen=True, slots=True)
class _Pass:
    """What the forward pass in progress applies: one adapter to all of its rows, or the stacks to runs of them."""

    only: Adapter | None = None
    runs: Sequence[_Run] = ()


class LoraRows:
    """The stacked weights of the adapters in the batch, and the hooks that apply them."""

    def __init__(self, model: Any, sites: Mapping[str, nn.Linear]) -> None:
        parameter = next(model.parameters())
        self._device = parameter.device
        self._dtype: torch.dtype = model.dtype
        self._sites = sites
        self._rows: list[Adapter | None] = []  # what place i holds; None: zeros
        self._rank = 0  # places have room for this rank
        self._stacks: dict[str, tuple[Tensor, Tensor]] = {}  # site -> (A [rows, rank, in], B [rows, rank, out])
        self._scales: dict[str, Tensor] = {}  # site -> [rows, 1, out]; only sites that some DoRA has had
        self._pass = _Pass()
        self._handles = [
            module.register_forward_hook(self._hook(name), always_call=False) for name, module in sites.items()
        ]

    def close(self) -> None:
        """Take the hooks away and forget the stacks."""
        for handle in self._handles:
            handle.remove()
        self._stacks.clear()
        self._scales.clear()
        self._rows.clear()

    @property
    def bytes(self) -> int:
        """Of the stacks."""
        return sum(side.numel() * side.element_size() for pair in self._stacks.values() for side in pair)

    def place(self, row: int, adapter: Adapter | None) -> None:
        """Let `row` of the batch go through `adapter` (None: the base alone)."""
        if row < len(self._rows) and self._rows[row] is adapter:
            return
        self._make_room(row, adapter)
        for site, (a, b) in self._stacks.items():
            pair = adapter.weights.get(site) if adapter else None
            if pair is None:
                b[row].zero_()
                continue
            rank = pair[0].shape[0]
            a[row, :rank] = pair[0]
            b[row, :rank] = pair[1]
            b[row, rank:].zero_()
        for site, scales in self._scales.items():
            scales[row] = adapter.scales.get(site, 1.0) if adapter else 1.0
        self._rows[row] = adapter

    @contextmanager
    def rows(self, start: int, stop: int) -> Iterator[None]:
        """Apply the adapters of these rows to the forward passes inside; row 0 of the pass is row `start`."""
        held = self._rows[start:stop]
        if held and held[0] and all(adapter is held[0] for adapter in held):
            now = _Pass(only=held[0])
        else:
            now = _Pass(runs=_runs(held, start))
        with self._applied(now):
            yield

    @contextmanager
    def all(self, adapter: Adapter | None) -> Iterator[None]:
        """Apply one adapter to every row of the forward passes inside; it needs no place."""
        with self._applied(_Pass(only=adapter)):
            yield

    @contextmanager
    def _applied(self, now: _Pass) -> Iterator[None]:
        self._pass = now
        try:
            yield
        finally:
            self._pass = _Pass()

    def _make_room(self, row: int, adapter: Adapter | None) -> None:
        """Grow the stacks, doubling, so that a place for `row` and this adapter's rank and sites exists."""
        rows, rank = len(self._rows), self._rank
        while rows <= row:
            rows = max(1, 2 * rows)
        rank = max(rank, stacked_rank(adapter))
        new_sites = [site for site in adapter.weights if site not in self._stacks] if adapter else []
        if (rows, rank) != (len(self._rows), self._rank):
            self._stacks = {site: self._grown(site, rows, rank) for site in self._stacks}
            self._scales = {site: self._more_scales(site, rows) for site in self._scales}
        for site in new_sites:
            self._stacks[site] = self._grown(site, rows, rank)
        for site in adapter.scales if adapter else ():
            if site not in self._scales:
                self._scales[site] = self._more_scales(site, rows)
        self._rows += [None] * (rows - len(self._rows))
        self._rank = rank

    def _grown(self, site: str, rows: int, rank: int) -> tuple[Tensor, Tensor]:
        layer = self._sites[site]
        a = torch.zeros(rows, rank, layer.in_features, dtype=self._dtype, device=self._device)
        b = torch.zeros(rows, rank, layer.out_features, dtype=self._dtype, device=self._device)
        if site in self._stacks:
            old_a, old_b = self._stacks[site]
            a[: old_a.shape[0], : old_a.shape[1]] = old_a
            b[: old_b.shape[0], : old_b.shape[1]] = old_b
        return a, b

    def _more_scales(self, site: str, rows: int) -> Tensor:
        scales = torch.ones(rows, 1, self._sites[site].out_features, dtype=self._dtype, device=self._device)
        if site in self._scales:
            old = self._scales[site]
            scales[: old.shape[0]] = old
        return scales

    def _hook(self, site: str) -> Callable[[nn.Linear, Sequence[Tensor], Tensor], Tensor | None]:
        def apply(module: nn.Linear, inputs: Sequence[Tensor], output: Tensor) -> Tensor | None:
            only = self._pass.only
            if only is not None:
                pair = only.weights.get(site)
                if pair is None:
                    return None
                return _scaled(output, only.scales.get(site), module.bias) + (inputs[0] @ pair[0].T) @ pair[1]
            stack = self._stacks.get(site)
            if stack is None:
                return None
            for run in self._pass.runs:
                part = output[run.rows]  # in place: fresh from its layer, nobody else holds it
                if run.scaled and site in self._scales:
                    _scaled(part, self._scales[site][run.places], module.bias)
                a, b = (side[run.places, : run.rank] for side in stack)
                part.baddbmm_(_down(inputs[0][run.rows], a), b)
            return output

        return apply


def _runs(adapters: Sequence[Adapter | None], first: int) -> list[_Run]:
    """The runs of rows that go through an adapter; the first row has place `first`."""
    out, row = [], 0
    for rank, group in groupby(adapters, stacked_rank):
        held = list(group)
        rows = slice(row, row + len(held))
        row = rows.stop
        if rank:
            scaled = any(adapter.scales for adapter in held if adapter)
            out.append(_Run(rows, slice(first + rows.start, first + rows.stop), rank, scaled))
    return out


def _down(x: Tensor, a: Tensor) -> Tensor:
    """`x A^T` of each row: x [rows, tokens, in], A [rows, rank, in].

    With one token a row, a processor reads A faster as the left side of the product.
    """
    return torch.bmm(a, x.mT).mT if x.shape[1] == 1 else torch.bmm(x, a.mT)


def _scaled(output: Tensor, scale: Tensor | None, bias: Tensor | None) -> Tensor:
    """`W x + bias` to `scale * (W x) + bias`."""
    if scale is None:
        return output
    return output.mul_(scale) if bias is None else output.mul_(scale).add_(bias * (1 - scale))
