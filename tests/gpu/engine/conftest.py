"""Tiny random models of real architectures, a small tokenizer with a ChatML template, and LoRA adapters that matter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = ["hola, ¿qué tal estás hoy?", "afinar un modelo de lenguaje con LoRA", "user assistant system", "niño añejo €"]
SIZES = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,  # a tied random model only repeats its last token
}
ARCHITECTURES = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 16}),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig, {"head_dim": 16, "sliding_window": 8, "sliding_window_pattern": 2}),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": 8}),
    "phi3": (Phi3ForCausalLM, Phi3Config, {}),
    "smollm3": (SmolLM3ForCausalLM, SmolLM3Config, {"no_rope_layer_interval": 2}),
}


def make_model(architecture: str, seed: int = 0, **sizes: int) -> torch.nn.Module:
    """A random model whose answers depend on the whole prompt (wide initial weights)."""
    torch.manual_seed(seed)
    kind, config, more = ARCHITECTURES[architecture]
    model = kind(config(**{**SIZES, **sizes}, **more, initializer_range=0.3, attn_implementation="sdpa")).eval()
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    return model


def make_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        chat_template=CHATML,
    )


def save_adapter(
    model: torch.nn.Module, folder: Path, *, seed: int, rank: int = 4, std: float = 0.15, **config: object
) -> Path:
    """A LoRA adapter with weights that change answers, as `save_pretrained` writes it; `model` stays as it was."""
    torch.manual_seed(seed)
    options = {"target_modules": "all-linear", "lora_alpha": 2 * rank, **config}
    tuned = get_peft_model(model, LoraConfig(r=rank, task_type="CAUSAL_LM", **options))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "magnitude" in name:
                parameter.mul_(1 + 0.3 * torch.randn_like(parameter))
            elif "lora_" in name:
                parameter.normal_(std=std)
    tuned.save_pretrained(str(folder), safe_serialization=True)
    tuned.unload()
    return folder


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A data folder with one base, `tiny`, and no adapter yet."""
    folder = tmp_path_factory.mktemp("data")
    base = folder / "bases" / "tiny"
    make_model("llama").save_pretrained(str(base))
    tokenizer.save_pretrained(str(base))
    (folder / "adapters").mkdir()
    return folder


@pytest.fixture(scope="session")
def new_adapter(data: Path) -> Callable[..., Path]:
    """Write an adapter for `tiny` into the data folder."""

    def write(name: str, **config: object) -> Path:
        model = LlamaForCausalLM.from_pretrained(str(data / "bases" / "tiny"))
        return save_adapter(model, data / "adapters" / name, **config)

    return write
