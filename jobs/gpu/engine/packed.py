"""Linear layers of a processor with their weights laid out as oneDNN wants them.

Rule of this file: the same layer, the same weights, the same sums up to rounding; only where they lie in memory
changes, once, when a base is loaded. A batch of answers has few rows, and torch's plain product of a few rows in fp32
takes up to twice as long as oneDNN's over packed weights (`benchmarks/engine.py`). On a GPU, or where oneDNN does not
do it, nothing changes. Packed layers can only be used, not trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ROWS = 32  # the layout is chosen for about so many rows; it serves any number


class PackedLinear(nn.Linear):
    """A linear layer [out, in] that holds the packed weight instead of the plain one."""

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__(dense.in_features, dense.out_features, bias=False, device="meta")
        packed = torch.ops.mkldnn._reorder_linear_weight(dense.weight.detach(), _ROWS)
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = dense.bias

    def forward(self, input: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return product

    def dense(self) -> Tensor:
        """The weight as it was before, a copy."""
        return self.weight.detach().to_dense()


def pack(model: nn.Module) -> None:
    """Replace the plain fp32 linear layers of a model on the processor, its head too, by packed ones.

    Weights that another layer shares (a head tied to the embeddings) are packed as a copy.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and name and _plain(module.weight):
            model.set_submodule(name, PackedLinear(module))


def _plain(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32
