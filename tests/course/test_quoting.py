"""Quoted answers: complete, in the course's own order, and readable on a phone."""

from __future__ import annotations

import re

import pytest

from bot.course import Course
from bot.course.blocks import blocks
from bot.course.evaluate import read_items
from bot.course.quoting import leans
from bot.llm import QuotingAnswerer
from bot.settings import ROOT

PAGE = """## Memoria

La memoria la marcan los pesos. Un modelo de 7B ocupa 14 GB en 16 bits. Para ahorrar hay dos caminos:

- Cargarlo en 4 bits.
- Elegir uno
  más pequeño.

| GPU | memoria | cabe |
|---|---|---|
| T4 | 16 GB | QLoRA de 7B |

La fórmula es:

```text
bytes = parámetros × 2
```

**¿Y sin GPU?** Se puede usar llama.cpp. Eso va despacio.

Es libre.
"""


@pytest.fixture(scope="module")
def shipped() -> Course:
    return Course.load(ROOT / "course")


def test_a_passage_is_read_as_complete_blocks() -> None:
    assert [(block.kind, block.heading, block.lead, block.parts) for block in blocks(PAGE)] == [
        ("prose", "Memoria", "", ("La memoria la marcan los pesos.", "Un modelo de 7B ocupa 14 GB en 16 bits.")),
        ("list", "Memoria", "Para ahorrar hay dos caminos:", ("• Cargarlo en 4 bits.", "• Elegir uno más pequeño.")),
        ("list", "Memoria", "", ("• **T4**: memoria: 16 GB · cabe: QLoRA de 7B",)),
        ("code", "Memoria", "La fórmula es:", ("```text\nbytes = parámetros × 2\n```",)),
        ("prose", "¿Y sin GPU?", "", ("Se puede usar llama.cpp.", "Eso va despacio.")),
        ("prose", "Memoria", "", ("Es libre.",)),
    ]


@pytest.mark.parametrize(
    "broken", ["", "```python\nx = 1", "- ", "|", "| a |\n|---|", "##", "**", "texto que acaba en:"]
)
def test_broken_text_gives_no_half_block(broken: str) -> None:
    assert all(block.text and not block.text.endswith(":") for block in blocks(broken))


@pytest.mark.parametrize(
    ("sentence", "does"),
    [
        ("Eso va despacio.", True),
        ("Además, ocupa menos.", True),
        ("Por eso conviene menos rango.", True),
        ("La pérdida baja.", False),
        ("Los adaptadores ocupan poco.", False),
        ("LoRA congela el modelo.", False),
    ],
)
def test_a_sentence_that_leans_on_another_is_known(sentence: str, does: bool) -> None:
    assert leans(sentence) is does


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("q es lora?", "LoRA (Low-Rank Adaptation) deja congelado"),
        ("diferencia entre lora y qlora", "La diferencia entre LoRA y QLoRA está en"),
        ("qué es una época", "Una época es una pasada completa"),
        ("puedo entrenar sin gpu", "En CPU se puede entrenar"),
        ("what is perplexity", "es la exponencial de la pérdida media"),
        ("qué hago si la pérdida sale nan", "Algún número se desbordó"),
        ("cómo preparo mis datos", "1. **Define la tarea**"),
        ("cómo genero datos sintéticos", "Para cada pasaje de un texto fiable"),
        ("cómo borro mis datos", "`/misdatos descargar`"),
        ("para qué sirve bleu", "BLEU (2002) nació para traducción"),
        ("cómo entreno con afina", "1. **Datos**: uno de tus conjuntos"),
    ],
)
def test_an_answer_begins_with_what_was_asked(shipped: Course, question: str, said: str) -> None:
    assert said in QuotingAnswerer(shipped).quote(question).text[:160]


@pytest.mark.parametrize(
    ("question", "sides"),
    [
        ("dpo o ppo, cuál elijo", ("**PPO** (Proximal", "**DPO** (Direct")),
        ("unsloth o axolotl", ("Unsloth es una biblioteca", "Axolotl es una herramienta")),
    ],
)
def test_a_comparison_hears_both_sides(shipped: Course, question: str, sides: tuple[str, str]) -> None:
    text = QuotingAnswerer(shipped).quote(question).text
    assert all(side in text for side in sides)


def test_a_definition_of_one_short_sentence_goes_on(shipped: Course) -> None:
    text = QuotingAnswerer(shipped).quote("qué es deepspeed").text
    assert text.startswith("DeepSpeed es una biblioteca de Microsoft.")
    assert "ZeRO-2" in text


def test_steps_keep_their_numbers() -> None:
    (block,) = blocks("1. Abre.\n2. Cierra\n   bien.\n")
    assert block.parts == ("1. Abre.", "2. Cierra bien.")


def test_no_answer_ends_with_an_announcement_or_says_a_thing_twice(shipped: Course) -> None:
    answerer = QuotingAnswerer(shipped)
    leaning: list[str] = []
    for item in read_items(ROOT / "benchmarks" / "preguntas.jsonl")[::4]:
        answer = answerer.quote(item.question)
        if not answer.found:
            continue
        parts = [part.strip() for part in re.split(r"\[\d\]", answer.text) if part.strip()]
        assert not any(part.endswith(":") for part in parts), item.question
        assert "#" not in answer.text.split("```")[0][:2], item.question
        assert answer.text.count("```") % 2 == 0, item.question
        lines = [line for line in "".join(answer.text.split("```")[::2]).splitlines() if len(line) > 40]
        assert len(lines) == len(set(lines)), item.question
        assert len(answer.text) <= 900, item.question
        leaning += [answer.text] if leans(answer.text) else []
    assert len(leaning) <= 1, leaning
