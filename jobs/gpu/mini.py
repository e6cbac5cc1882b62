"""afina-mini: the tiny chat model of the embedded default, so that the whole way works without a download.

Rule of this file: Llama architecture, a Spanish byte-level BPE tokenizer of its own, ChatML with generation marks,
safetensors. The weights are shipped beside this file (`afina_mini/`) and copied into the data folder on first use;
`build` makes them again from the course and `jobs.gpu.mini_text`. It is a toy and says so.
"""

from __future__ import annotations

import math
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from jobs.dataset.example import Example, Kind, Message
from jobs.gpu import mini_text
from jobs.gpu.batches import Collator
from jobs.gpu.chat import ChatEncoder, Encoded

MINI_ID = "afina-mini"
SHIPPED = Path(__file__).parent / "afina_mini"
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CONTEXT = 1024  # tokens
VOCABULARY = 4096
TEMPLATE = """{%- for message in messages %}
{%- if message['role'] == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}{% generation %}{{- (message['content'] or '') }}
{%- if message['tool_calls'] is defined and message['tool_calls'] %}{{- message['tool_calls'] | tojson }}{% endif %}
{{- '<|im_end|>' }}{% endgeneration %}{{- '\\n' }}
{%- else %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
"""

OnProgress = Callable[[float, str], None]  # share done 0..1, what is happening (Spanish)


def ensure_mini(data: Path, on_progress: OnProgress | None = None) -> Path:
    """The folder of afina-mini below `data`, made if it is not there. Several processes at once are safe."""
    target = data / "bases" / MINI_ID
    if (target / "model.safetensors").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{MINI_ID}-", dir=target.parent))
    try:
        if (SHIPPED / "model.safetensors").is_file():
            shutil.copytree(SHIPPED, making, dirs_exist_ok=True)
        else:
            build(making, steps=QUICK_STEPS, on_progress=on_progress)
        try:
            making.rename(target)
        except OSError:  # somebody else was quicker; theirs is as good
            if not (target / "model.safetensors").is_file():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return target


# -- making it ---------------------------------------------------------------------------------------------------------

QUICK_STEPS = 100  # about a minute on two cores
STEPS = 1100  # as the shipped one was trained
TOKENS_PER_STEP = 4096
ROW = 320  # tokens; longer texts are cut
LEARNING_RATE = 3e-3


def build(
    out: Path, *, steps: int = STEPS, seed: int = 7, course: Path | None = None, on_progress: OnProgress | None = None
) -> None:
    """Train tokenizer and model from nothing and write them to `out`. Deterministic on one machine."""
    report = on_progress or (lambda share, what: None)
    pages = mini_text.course_pages(course or Path(__file__).parents[2] / "course")
    report(0.0, "Preparando el vocabulario")
    tokenizer = make_tokenizer(seed, pages)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(mini_config(len(tokenizer), tokenizer))
    train(model, tokenizer, steps=steps, seed=seed, pages=pages, report=report)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.convert_tokens_to_ids(END), pad_token_id=tokenizer.pad_token_id, max_new_tokens=128
    )
    model.bfloat16()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def mini_config(vocabulary: int, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """2.4 million parameters."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.pad_token_id,
    )


def make_tokenizer(seed: int, pages: Sequence[str]) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(seed, pages), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START],
        chat_template=TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def corpus(seed: int, pages: Sequence[str]) -> Iterator[str]:
    """The text that the vocabulary is counted on: the course, and as much again of the conversations."""
    yield from pages
    for turns in islice(mini_text.conversations(seed, pages), 6000):
        yield from (text for turn in turns for text in turn)


def documents(seed: int, pages: Sequence[str]) -> Iterator[Example]:
    """Endless training examples: conversations, and now and then a paragraph of the course."""
    rng = random.Random(seed + 1)
    paragraphs = [text for page in pages for text in mini_text.course_paragraphs(page)]
    for turns in mini_text.conversations(seed, pages):
        if paragraphs and rng.random() < 0.15:
            yield Example(line=0, kind=Kind.TEXT, text=rng.choice(paragraphs))
        messages = []
        for question, answer in turns:
            messages += [Message(role="user", content=question), Message(role="assistant", content=answer, learn=True)]
        yield Example(line=0, kind=Kind.CHAT, messages=tuple(messages))


def batches(encoder: ChatEncoder, examples: Iterator[Example]) -> Iterator[dict[str, torch.Tensor]]:
    collate = Collator(pad_token_id=encoder.tokenizer.pad_token_id)
    batch: list[Encoded] = []
    tokens = 0
    while True:
        for encoded in encoder.encode(list(islice(examples, 256))):
            batch.append(Encoded(encoded.input_ids[:ROW], encoded.labels[:ROW]))
            tokens += len(batch[-1].input_ids)
            if tokens >= TOKENS_PER_STEP:
                yield collate([encoded.columns for encoded in batch])
                batch, tokens = [], 0


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    *,
    steps: int,
    seed: int,
    pages: Sequence[str],
    report: OnProgress,
) -> None:
    """AdamW with warm-up and cosine, in bf16 where the processor multiplies it."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=LEARNING_RATE,
        betas=(0.9, 0.95),
    )
    warm_up = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda s: min((s + 1) / warm_up, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, s / steps)))),
    )
    source = batches(ChatEncoder(tokenizer), documents(seed, pages))
    model.train()
    for step in range(steps):
        batch = next(source)
        labels = batch["labels"][:, 1:]
        learnt = labels != -100
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.model(
                input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
            ).last_hidden_state[:, :-1]
            logits = model.lm_head(hidden[learnt])
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[learnt])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        if step % 10 == 0 or step + 1 == steps:
            report((step + 1) / steps, f"Enseñando a hablar a {MINI_ID} (pérdida {loss.item():.2f})")
