"""Many adapters over one model in one batch: row i of the batch goes through adapter i.

Rule of this file: the transformers model stays as it is; a forward hook on each linear layer adds
`x A[i]^T B[i]^T` with two batched products over all the rows, whatever adapter each row has and whatever its rank
(lower ranks are padded with zeros, the base is all zeros). Where a row's adapter is a DoRA, the layer's own product is
scaled first; every other row's scale is 1. There is no loop over adapters. The stacks hold one place per row of the
batch, so that joining costs one copy of one adapter and a step costs no gathering at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jobs.gpu.engine.adapters import Adapter


def linear_sites(model: nn.Module) -> dict[str, nn.Module]:
    """The linear layers that an adapter may change, by dotted name; the output head is not among them."""
    head = model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if module is not head and isinstance(module, nn.Linear) and name
    }


@dataclass(frozen=True, slots=True)
class _Span:
    """Which rows of the stacks the forward pass in progress uses."""

    start: int
    stop: int
    rank: int  # highest among those rows
    only: Adapter | None  # set when all the rows share one adapter
    scaled: bool  # a DoRA is among them


class LoraRows:
    """The stacked weights of the adapters in the batch, and the hooks that apply them."""

    def __init__(self, model: nn.Module, sites: Mapping[str, nn.Module]) -> None:
        parameter = next(model.parameters())
        self._device = parameter.device
        self._dtype = model.dtype
        self._sites = sites
        self._rows: list[Adapter | None] = []  # what place i holds; None: zeros
        self._rank = 0  # places have room for this rank
        self._stacks: dict[str, tuple[Tensor, Tensor]] = {}  # site -> (A [rows, rank, in], B [rows, rank, out])
        self._scales: dict[str, Tensor] = {}  # site -> [rows, 1, out]; only sites that some DoRA has had
        self._span: _Span | None = None
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

    def move(self, source: int, target: int) -> None:
        """Row `source` of the batch takes the place of row `target`."""
        self.place(target, self._rows[source])

    @contextmanager
    def rows(self, start: int, stop: int) -> Iterator[None]:
        """Apply the adapters of these rows to the forward passes inside; row 0 of the pass is row `start`."""
        held = self._rows[start:stop]
        rank = max((adapter.rank for adapter in held if adapter), default=0)
        only = held[0] if held and all(adapter is held[0] for adapter in held) else None
        scaled = any(adapter.scales for adapter in held if adapter)
        with self._applied(_Span(start, stop, rank, only, scaled) if rank else None):
            yield

    @contextmanager
    def all(self, adapter: Adapter | None) -> Iterator[None]:
        """Apply one adapter to every row of the forward passes inside; it needs no place."""
        with self._applied(_Span(0, 0, adapter.rank, adapter, bool(adapter.scales)) if adapter else None):
            yield

    @contextmanager
    def _applied(self, span: _Span | None) -> Iterator[None]:
        self._span = span
        try:
            yield
        finally:
            self._span = None

    def _make_room(self, row: int, adapter: Adapter | None) -> None:
        """Grow the stacks, doubling, so that a place for `row` and this adapter's rank and sites exists."""
        rows, rank = len(self._rows), self._rank
        while rows <= row:
            rows = max(1, 2 * rows)
        while adapter and rank < adapter.rank:
            rank = max(8, 2 * rank)
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

    def _hook(self, site: str):  # noqa: ANN202
        def apply(module: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> Tensor | None:
            span = self._span
            if span is None:
                return None
            if span.only is not None:
                pair = span.only.weights.get(site)
                if pair is None:
                    return None
                return _scaled(output, span.only.scales.get(site), module.bias) + (inputs[0] @ pair[0].T) @ pair[1]
            stack = self._stacks.get(site)
            if stack is None:
                return None
            if span.scaled and site in self._scales:
                output = _scaled(output, self._scales[site][span.start : span.stop], module.bias)
            a, b = (side[span.start : span.stop, : span.rank] for side in stack)
            return output.baddbmm_(_down(inputs[0], a), b)  # fresh from its layer: nobody else holds it

        return apply


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
