"""An example is shown as the exact text that the model will see, with what it learns marked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.dataset import Example, read_examples
from jobs.dataset.preview import Piece, Template, learns_something, preview
from tests.dataset.clean import as_jsonl, chat, multi_turn, preference_strings, running_text, tool_use

WITHOUT_MARKS = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
REFUSING = "{{ raise_exception('solo usuarios') }}"


def read(row: dict[str, Any], folder: Path) -> Example:
    path = folder / "a.jsonl"
    path.write_bytes(as_jsonl([row]))
    return next(read_examples(path))


def learnt(pieces: tuple[Piece, ...]) -> list[str]:
    return [piece.text for piece in pieces if piece.learnt]


def test_the_pieces_together_are_the_whole_text(tmp_path: Path) -> None:
    pieces = preview(read(chat("Hola", "Buenas", system="Sé breve."), tmp_path), Template())
    assert "".join(piece.text for piece in pieces) == (
        "<|im_start|>system\nSé breve.<|im_end|>\n<|im_start|>user\nHola<|im_end|>\n"
        "<|im_start|>assistant\nBuenas<|im_end|>\n"
    )
    assert learnt(pieces) == ["Buenas<|im_end|>"]


@pytest.mark.parametrize("marks", [True, False], ids=["marked template", "plain template"])
def test_a_turn_of_weight_0_is_read_and_not_learnt(marks: bool, tmp_path: Path) -> None:
    row = multi_turn()[0]
    template = Template() if marks else Template(source=WITHOUT_MARKS, tokens=(("bos_token", "^"), ("eos_token", "$")))
    pieces = preview(read(row, tmp_path), template)
    answers = [turn["content"] for turn in row["messages"] if turn["role"] == "assistant"]
    end = "<|im_end|>" if marks else "$"
    assert learnt(pieces) == [f"{answers[1]}{end}", f"{answers[2]}{end}"]
    assert answers[0] in "".join(piece.text for piece in pieces if not piece.learnt)


def test_running_text_is_learnt_whole(tmp_path: Path) -> None:
    row = running_text()[0]
    assert preview(read(row, tmp_path), Template()) == (Piece(text=row["text"], learnt=True),)


def test_a_preference_shows_both_answers(tmp_path: Path) -> None:
    row = preference_strings()[0]
    text = "".join(piece.text for piece in preview(read(row, tmp_path), Template()))
    assert text.index(row["chosen"]) < text.index("rechazada") < text.index(row["rejected"])


def test_tool_calls_are_part_of_what_is_learnt(tmp_path: Path) -> None:
    pieces = preview(read(tool_use()[0], tmp_path), Template())
    assert '"ciudad": "Lima"' in learnt(pieces)[0]
    assert learns_something(pieces)


def test_the_template_of_a_base_is_taken_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": WITHOUT_MARKS, "bos_token": "<s>", "eos_token": {"content": "</s>"}})
    )
    pieces = preview(read(chat("Hola", "Buenas"), tmp_path), Template.load(tmp_path))
    assert "".join(piece.text for piece in pieces) == "<s><user>Hola</s><assistant>Buenas</s>"
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert Template.load(tmp_path).render(read(chat("Hola", "Buenas"), tmp_path).messages) == "Hola"


def test_a_template_that_refuses_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="solo usuarios"):
        preview(read(chat("Hola", "Buenas"), tmp_path), Template(source=REFUSING))


@pytest.mark.parametrize("source", ["{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{% for"])
def test_a_hostile_template_gets_nowhere(source: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plantilla"):
        preview(read(chat("Hola", "Buenas"), tmp_path), Template(source=source))
