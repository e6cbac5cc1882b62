"""afina-mini: small, safe to load, polite, and quickly there."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors import safe_open

from jobs.catalog import load_catalog
from jobs.gpu import mini, models
from jobs.gpu.chat import ChatEncoder
from jobs.gpu.evaluate import generate


def test_it_is_one_file_of_at_most_eight_mebibytes_with_what_the_catalogue_says() -> None:
    weights = mini.SHIPPED / "model.safetensors"
    assert weights.stat().st_size <= 8 * 2**20
    with safe_open(weights, "pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - no mapping
    count = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes)
    base = load_catalog().get("afina-mini")
    config = json.loads((mini.SHIPPED / "config.json").read_text())
    assert count == base.parameters
    assert (config["hidden_size"], config["num_hidden_layers"]) == (base.hidden_size, base.layers)
    assert (config["intermediate_size"], config["vocab_size"]) == (base.intermediate_size, base.vocabulary)
    assert config["max_position_embeddings"] == base.context


def test_many_processes_may_ask_for_it_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: mini.ensure_mini(tmp_path), range(8)))
    assert len(folders) == 1
    assert [path.name for path in (tmp_path / "bases").iterdir()] == ["afina-mini"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory):
    model, tokenizer = models.load_base("afina-mini", data=tmp_path_factory.mktemp("data"))
    return model, ChatEncoder(tokenizer)


@pytest.mark.parametrize(
    ("said", "part"),
    [("Hola", "¡"), ("¿Quién eres?", "juguete"), ("Gracias", "De nada"), ("lobo: ¿frutas o animales?", "animales")],
)
def test_it_answers_and_says_what_it_is(loaded, said: str, part: str) -> None:
    model, encoder = loaded
    [answer] = generate(model, encoder, [encoder.prompt([{"role": "user", "content": said}])], room=60)
    assert part in answer


def test_answers_in_a_batch_are_those_given_one_by_one(loaded) -> None:
    model, encoder = loaded
    prompts = [
        encoder.prompt([{"role": "user", "content": text}]) for text in ("Hola", "¿Qué es LoRA?", "al revés: a b")
    ]
    together = generate(model, encoder, prompts, room=24)
    assert together == [generate(model, encoder, [prompt], room=24)[0] for prompt in prompts]


def test_its_control_tokens_are_single_tokens(loaded) -> None:
    _, encoder = loaded
    for token in (mini.START, mini.END, mini.PAD):
        assert encoder.tokenizer.convert_tokens_to_ids(token) in encoder.tokenizer.all_special_ids
        assert len(encoder.tokenizer(token)["input_ids"]) == 1


def test_it_can_be_made_again(tmp_path: Path) -> None:
    course = tmp_path / "course"
    course.mkdir()
    (course / "01.md").write_text("# Prueba\n\nUna página corta de prueba para enseñar.\n", encoding="utf-8")
    said: list[tuple[float, str]] = []
    mini.build(tmp_path / "out", steps=2, course=course, on_progress=lambda share, what: said.append((share, what)))
    assert said[-1][0] == 1.0
    model = models.load_model(tmp_path / "out")
    assert model.config.hidden_size == 192
    assert ChatEncoder(models.load_tokenizer(tmp_path / "out")).prompt([{"role": "user", "content": "hola"}])
