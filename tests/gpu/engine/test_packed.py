"""Packed linear layers: the same model, laid out for a processor."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from jobs.gpu.engine.packed import PackedLinear, pack
from tests.gpu.engine.conftest import ARCHITECTURES, make_model

IDS = torch.tensor([[5, 9, 200, 17, 3], [7, 7, 8, 300, 4]])


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@torch.inference_mode()
def test_a_packed_model_computes_what_it_did_before(architecture: str) -> None:
    plain = make_model(architecture)
    packed = copy.deepcopy(plain)
    pack(packed)
    assert isinstance(packed.get_output_embeddings(), PackedLinear)
    assert torch.allclose(packed(input_ids=IDS).logits, plain(input_ids=IDS).logits, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 33])
def test_any_number_of_rows_with_or_without_a_bias_and_the_weight_can_be_read_back(rows: int, bias: bool) -> None:
    layer = nn.Linear(48, 80, bias=bias)
    packed = PackedLinear(layer)
    x = torch.randn(rows, 3, 48)
    with torch.inference_mode():
        for sight in (x, x.transpose(0, 1), x[:, 0]):
            assert torch.allclose(packed(sight), layer(sight), atol=1e-5)
    assert torch.equal(packed.dense(), layer.weight)


def test_a_head_tied_to_the_embeddings_leaves_them_alone_and_its_copy_counts_as_memory() -> None:
    model = make_model("llama")
    model.set_output_embeddings(tied := nn.Linear(1, 1, bias=False))
    tied.weight = model.get_input_embeddings().weight
    tied.out_features, tied.in_features = tied.weight.shape
    embeddings = model.get_input_embeddings().weight
    before = model.get_memory_footprint()
    pack(model)
    assert model.get_input_embeddings().weight is embeddings
    assert not embeddings.is_mkldnn
    assert model.get_memory_footprint() == before + embeddings.numel() * embeddings.element_size()


def test_packing_twice_changes_nothing_and_other_precisions_stay_as_they_are() -> None:
    model = make_model("llama")
    pack(model)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    pack(model)
    assert layers == [module for module in model.modules() if isinstance(module, nn.Linear)]
    half = make_model("llama").to(torch.bfloat16)
    pack(half)
    assert not any(isinstance(module, PackedLinear) for module in half.modules())
