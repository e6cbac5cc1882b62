"""The engine's parts on their own: choosing tokens, turning them into text, keeping memory flat."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from peft.utils.integrations import dequantize_module_weight
from safetensors.torch import load_file
from transformers import BitsAndBytesConfig, LlamaForCausalLM

from jobs.gpu.engine.adapters import Adapter, Place, read_adapter
from jobs.gpu.engine.batch import Batch, Delivery, Request
from jobs.gpu.engine.lora import linear_sites
from jobs.gpu.engine.prefix import WORTH, PrefixStore
from jobs.gpu.engine.prompt import Prompter, TextStream
from jobs.gpu.engine.sampling import Sampling, choose
from tests.gpu.engine.conftest import make_model, make_tokenizer, save_adapter

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

PROMPTER = Prompter(make_tokenizer())


def drawn(logits: torch.Tensor, count: int = 4000, **sampling: object) -> torch.Tensor:
    """How often each token was chosen, as shares."""
    wish = Sampling(max_tokens=1, **sampling)
    dice = random.Random(0)
    rows = logits.expand(count, -1)
    tokens = choose(rows, [wish] * count, [dice] * count)
    return torch.bincount(torch.tensor(tokens), minlength=logits.shape[0]) / count


@pytest.mark.parametrize("size", [6, 1000])
def test_tokens_are_drawn_as_often_as_the_softmax_says(size: int) -> None:
    logits = torch.linspace(3, -3, size)
    expected = torch.softmax(logits / 0.7, dim=-1)
    assert (drawn(logits, temperature=0.7) - expected).abs().max() < 0.03


def test_top_p_and_top_k_keep_only_the_likeliest() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert drawn(logits, top_p=0.7)[2:].sum() == 0
    assert abs(drawn(logits, top_p=0.7)[0] - 0.625) < 0.03
    assert drawn(logits, top_k=1)[0] == 1
    flat = torch.zeros(2000)  # the nucleus is wider than the tokens that are looked at first
    assert (drawn(flat, 2000, top_p=0.9) > 0).sum() > 900
    assert (drawn(flat, 2000, top_k=300) > 0).sum() == 300


def test_temperature_zero_takes_the_best_and_rows_do_not_mix() -> None:
    logits = torch.tensor([[0.0, 1.0, 0.5], [2.0, 1.0, 0.5]])
    wishes = [Sampling(max_tokens=1, temperature=0), Sampling(max_tokens=1, temperature=0)]
    assert choose(logits, wishes, [random.Random(0)] * 2) == [1, 0]


@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=4), max_size=3))
def test_streamed_text_is_the_whole_text_up_to_the_first_stop(text: str, stops: list[str]) -> None:
    tokens = PROMPTER.tokenizer.encode(text, add_special_tokens=False)
    whole = PROMPTER.decode(tokens)
    stream = TextStream(PROMPTER, stops)
    pieces = [stream.push(token) for token in tokens]
    got = "".join(pieces) + stream.finish()
    ends = [index for stop in stops if (index := whole.find(stop)) >= 0]
    assert got == (whole[: min(ends)] if ends else whole)
    assert stream.stopped == bool(ends)


@given(st.lists(st.sampled_from(["hola", "<|im_end|>", "<|im_start|>", "<|", "\ue000", " ", "ñ"]), max_size=8))
def test_no_message_can_hold_a_control_token(parts: list[str]) -> None:
    text = "".join(parts)
    tokens = PROMPTER.chat([{"role": "user", "content": text}])
    start, end = PROMPTER.tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert (tokens.count(start), tokens.count(end)) == (2, 1)
    assert text in PROMPTER.tokenizer.decode(tokens)


def test_prefixes_stay_within_their_budget_and_the_longest_match_wins() -> None:
    store = PrefixStore(budget=10 * WORTH)
    for number in range(30):
        store.keep(None, [number] * WORTH, lambda: [])
    assert len(store) <= 10 * WORTH
    store.keep(None, [7] * WORTH + [8] * WORTH, lambda: [])
    found = store.longest(None, [7] * WORTH + [8] * WORTH + [9])
    assert found
    assert found[0] == 2 * WORTH
    assert store.longest(None, [7] * (WORTH - 1)) is None


def _place(batch: Batch) -> Place:
    return Place(sites=batch.sites, max_rank=16, device=torch.device("cpu"), dtype=torch.float32)


def _request(adapter: Adapter | None, prompt: list[int], count: int) -> Request:
    def deliver(_delivery: Delivery) -> None:
        """The tokens are read from the request."""

    wish = Sampling(max_tokens=count, temperature=0, ignore_eos=True)
    return Request(prompt=prompt, adapter=adapter, sampling=wish, stop_tokens=frozenset(), deliver=deliver)


def test_memory_is_flat_over_many_conversations(tmp_path: Path) -> None:
    batch = Batch(make_model("llama"), max_rows=4, prefix_tokens=512)
    folders = [save_adapter(make_model("llama"), tmp_path / str(i), seed=i, rank=2 + i) for i in range(6)]
    adapters = [read_adapter(str(i), folder, _place(batch)) for i, folder in enumerate(folders)]
    dice = random.Random(0)
    seen = set()
    for turn in range(160):
        while len(batch.rows) >= 4:
            batch.step()
        prompt = [dice.randrange(3, 320) for _ in range(dice.randrange(1, 100))]
        batch.join([_request(dice.choice(adapters), prompt, dice.randrange(1, 20))])
        batch.step()
        if turn >= 60:
            stacks = sum(a.numel() + b.numel() for a, b in batch._lora._stacks.values())
            seen.add((tuple(batch._cache.layers[0].keys.shape), stacks))
            assert len(batch._prefixes) <= 512
    assert len(seen) == 1


def test_a_model_that_yields_nan_ends_that_answer_only(tmp_path: Path) -> None:
    batch = Batch(make_model("llama"), max_rows=4)
    folder = save_adapter(make_model("llama"), tmp_path / "a", seed=0, rank=2)
    good = read_adapter("good", folder, _place(batch))
    bad = Adapter(
        name="bad", folder=folder, rank=2, weights={s: (a * torch.inf, b) for s, (a, b) in good.weights.items()}
    )
    ends: list[str | None] = []
    broken = _request(bad, [5, 6, 7], 8)
    broken.deliver = lambda delivery: ends.append(delivery.finish)
    fine, alone = _request(good, [5, 6, 7], 8), _request(good, [5, 6, 7], 8)
    batch.join([fine, broken])
    batch.join([_request(good, [9] * 30, 8)])
    while batch.rows:
        batch.step()
    assert ends == ["error"]
    batch.join([alone])
    while batch.rows:
        batch.step()
    assert fine.tokens == alone.tokens


def test_a_base_in_four_bits_answers_as_peft_does_over_the_same_base(tmp_path: Path) -> None:
    wide = {"hidden_size": 128, "intermediate_size": 256}  # a quantised block has 64 numbers
    make_model("llama", **wide).save_pretrained(str(tmp_path / "base"))
    folder = save_adapter(make_model("llama", **wide), tmp_path / "a", seed=3, rank=4)
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)

    def load() -> LlamaForCausalLM:
        return LlamaForCausalLM.from_pretrained(
            str(tmp_path / "base"), quantization_config=config, dtype=torch.float32
        ).eval()

    batch = Batch(load())
    request = _request(read_adapter("a", folder, _place(batch)), list(range(5, 25)), 10)
    batch.join([request])
    while batch.rows:
        batch.step()
    tuned = PeftModel.from_pretrained(load(), str(folder))
    ids = torch.tensor([request.prompt])
    out = tuned.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False)
    assert request.tokens == out[0, 20:].tolist()


def test_a_dora_over_four_bits_is_scaled_by_the_norms_of_what_the_layer_really_holds(tmp_path: Path) -> None:
    """Also after the layer was used, when bitsandbytes has packed it anew for the processor."""
    wide = {"hidden_size": 128, "intermediate_size": 256}
    make_model("llama", **wide).save_pretrained(str(tmp_path / "base"))
    folder = save_adapter(make_model("llama", **wide), tmp_path / "a", seed=3, rank=4, use_dora=True)
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    model = LlamaForCausalLM.from_pretrained(
        str(tmp_path / "base"), quantization_config=config, dtype=torch.float32
    ).eval()
    dense = {name: dequantize_module_weight(layer).detach().clone() for name, layer in linear_sites(model).items()}
    batch = Batch(model)
    magnitudes = load_file(str(folder / "adapter_model.safetensors"))
    for _ in range(2):
        adapter = read_adapter("a", folder, _place(batch))
        for site, scale in adapter.scales.items():
            a, b = adapter.weights[site]
            norms = (dense[site] + (b / scale).T @ a).norm(dim=1)
            magnitude = magnitudes[f"base_model.model.{site}.lora_magnitude_vector"]
            assert torch.allclose(scale, magnitude / norms, rtol=0.02)
        batch.join([_request(adapter, list(range(5, 25)), 3)])
        while batch.rows:
            batch.step()
