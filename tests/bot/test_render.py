"""What cards say: numbers, tables, bars and the limits of Discord, without Discord."""

from __future__ import annotations

import io
import math
from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.progress import view
from bot.records import Job, Model, Owner
from bot.render import evaluation as evaluation_text
from bot.render import job as job_text
from bot.render import numbers
from bot.render.cards import MAX_COMPONENTS, MAX_TEXT, Elsewhere, card, clip
from bot.render.curve import Points, draw, smooth
from bot.render.model import model_card
from bot.render.plan import memory, queue_text
from bot.render.report import lines_text
from jobs.contract import Event, EventType, Interval, JobState, Phase, Score, TrainRequest, Verdict
from tests.bot.scripted import good_evaluation

OWNER = Owner(guild_id=1, user_id=2)


def make_job(**changes: Any) -> Job:
    request = TrainRequest(
        job_id="abcdef", attempt=1, base_id="afina-mini", dataset_path="x", dataset_sha256="y", adapter_name="a"
    )
    values: dict[str, Any] = {
        "id": "abcdef",
        "owner": OWNER,
        "name": "reseñas-ana",
        "request": request,
        "state": JobState.RUNNING,
        "phase": Phase.TRAINING,
        "attempt": 1,
        "failures": 0,
        "step": 48,
        "total_steps": 114,
        "cancel_requested": False,
        "pause_requested": False,
        "lease_until": None,
        "error": None,
        "dataset_id": "d",
        "created_at": 1.7e9,
        "started_at": 1.7e9,
        "finished_at": None,
        "channel_id": None,
        "message_id": None,
    }
    return Job(**{**values, **changes})


def make_model(**changes: Any) -> Model:
    values: dict[str, Any] = {
        "id": "m1",
        "owner": OWNER,
        "name": "reseñas-ana",
        "adapter_name": "resenas-ana-abcdef",
        "adapter_path": "adapters/a",
        "adapter_sha256": "ab" * 32,
        "base_id": "afina-mini",
        "job_id": "abcdef",
        "parent_id": None,
        "dataset_id": "d",
        "dataset_sha256": "cd" * 32,
        "shared": False,
        "evaluation": good_evaluation(),
        "created_at": 1.7e9,
    }
    return Model(**{**values, **changes})


def metrics(count: int) -> list[Event]:
    return [
        Event(
            job_id="abcdef",
            attempt=1,
            seq=step,
            created_at=1.7e9 + step,
            type=EventType.METRICS,
            data={"step": step, "total_steps": 114, "loss": 2.0 - step / 100, "eta_seconds": 120.0},
        )
        for step in range(1, count + 1)
    ]


def words(layout: discord.ui.LayoutView) -> str:
    return "\n".join(item.content for item in layout.walk_children() if isinstance(item, discord.ui.TextDisplay))


def labels(layout: discord.ui.LayoutView) -> list[str | None]:
    return [item.item.label for item in layout.walk_children() if isinstance(item, discord.ui.DynamicItem)]


# Numbers


WHERE = [
    ([], 1, "todo el archivo"),
    ([3], 1, "línea 3"),
    ([3, 7, 12], 3, "líneas 3, 7 y 12"),
    ([3, 4], 2, "líneas 3 y 4"),
    ([2, 3, 4, 5], 4, "líneas 2–5"),
    ([1, 4, 5, 6, 9], 5, "líneas 1, 4–6 y 9"),
    (list(range(1, 13)), 3000, "líneas 1–12… (3\u202f000 en total)"),
]


@pytest.mark.parametrize(("lines", "total", "shown"), WHERE)
def test_lines_are_told_briefly(lines: list[int], total: int, shown: str) -> None:
    assert lines_text(lines, total) == shown


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (numbers.number(1234567), "1 234 567"),
        (numbers.number(0.5, 2), "0,50"),
        (numbers.number(-1234.5, 1), "-1 234,5"),
        (numbers.number(math.nan), "—"),
        (numbers.percent(0.934), "93 %"),
        (numbers.loss(1.923), "1,92"),
        (numbers.loss(0.0521), "0,052"),
        (numbers.small(2e-4), "2e-4"),
        (numbers.small(1.5e-5), "1,5e-5"),
        (numbers.small(3e-3), "3e-3"),
        (numbers.size(900), "900 B"),
        (numbers.size(5.1 * 2**30), "5,1 GB"),
        (numbers.size(25 * 2**20), "25,0 MB"),
        (numbers.duration(0.3), "menos de 1 s"),
        (numbers.duration(45), "45 s"),
        (numbers.duration(240), "4 min"),
        (numbers.duration(4 * 3600 + 1200), "4 h 20 min"),
        (numbers.duration(3 * 86400), "3 d"),
        (numbers.duration(math.inf), "—"),
        (numbers.count(1, "ejemplo", "ejemplos"), "1 ejemplo"),
        (numbers.count(2140, "ejemplo", "ejemplos"), "2 140 ejemplos"),
        (numbers.ordinal(2), "2.º"),
        (numbers.moment(1.7e9), "<t:1700000000:R>"),
    ],
)
def test_numbers_read_as_in_spanish(made: str, shown: str) -> None:
    assert made.replace(numbers.THIN, " ") == shown


@pytest.mark.parametrize(
    ("typed", "safe"),
    [
        ("hola", "hola"),
        ("**fuerte** _y_ `x`", r"\*\*fuerte\*\* \_y\_ \`x\`"),
        ("una\nlínea\t más", "una línea más"),
        ("[pincha](http://malo)", r"\[pincha\]\(http://malo\)"),
        ("<@123> <#4> </x:5>", r"\<@123\> \<\#4\> \</x:5\>"),
        ("\u202eal revés", "al revés"),
    ],
)
def test_text_of_people_is_shown_and_does_nothing(typed: str, safe: str) -> None:
    assert numbers.plain(typed) == safe


@given(st.text(max_size=400))
def test_no_text_of_people_mentions_anyone_or_leaves_its_code_block(text: str) -> None:
    for shown in (numbers.plain(text), numbers.quoted(text)):
        assert "@everyone" not in shown
        assert "@here" not in shown
    assert numbers.quoted(text).count("```") == 2
    assert "\n" not in numbers.plain(text)


# Cards


@given(st.lists(st.text(max_size=3000), max_size=12), st.integers(0, 12))
def test_every_card_fits_discord(texts: list[str], buttons: int) -> None:
    actions = [Elsewhere(f"afina:x:y:{index}", label="Botón") for index in range(buttons)]
    layout = card(*texts, actions=actions, footer="pie", outside="<@1>")
    assert layout.content_length() <= MAX_TEXT
    assert layout.total_children_count <= MAX_COMPONENTS
    for item in layout.walk_children():
        if isinstance(item, discord.ui.ActionRow):
            assert len(item.children) <= 5


def test_a_cut_ends_at_a_line_and_closes_its_code_block() -> None:
    text = "```\n" + "\n".join(f"línea {number}" for number in range(100)) + "\n```"
    cut = clip(text, 300)
    assert len(cut) <= 300
    assert cut.count("```") == 2
    assert cut.endswith("…")


def test_buttons_of_other_cogs_are_never_dispatched_by_their_stand_in() -> None:
    pattern = Elsewhere.__discord_ui_compiled_template__
    assert pattern.match("afina:chat:open:1")
    assert pattern.fullmatch("afina:chat:open:1") is None


# Jobs


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({}, "entrenando 48/114"),
        ({"phase": Phase.LOADING}, "cargando el modelo base"),
        ({"phase": Phase.EVALUATING}, "evaluando"),
        ({"cancel_requested": True}, "cancelándose"),
        ({"state": JobState.PAUSED}, "en pausa en el paso 48/114"),
        ({"state": JobState.CANCELLED}, "cancelado"),
    ],
)
def test_the_card_says_honestly_what_a_job_does(changes: dict[str, Any], phrase: str) -> None:
    job = make_job(**changes)
    assert phrase in words(job_text.job_card(job, view(job, metrics(48))))


@pytest.mark.parametrize(
    ("position", "wait", "phrase"),
    [
        (2, 360.0, "2.º, empieza en unos 6 min"),
        (1, None, "será el siguiente"),
        (3, None, "3.º"),
        (1, 0.0, "empieza enseguida"),
    ],
)
def test_a_place_in_the_queue_is_never_surer_than_what_is_known(position: int, wait: float | None, phrase: str) -> None:
    assert queue_text(position, wait).replace(numbers.THIN, " ") == phrase


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, ["Pausar", "Cancelar", "Ver curva"]),
        ({"step": 0}, ["Pausar", "Cancelar"]),
        ({"pause_requested": True}, ["Cancelar", "Ver curva"]),
        ({"cancel_requested": True}, []),
        ({"state": JobState.PAUSED}, ["Reanudar", "Cancelar", "Ver curva"]),
        ({"state": JobState.SUCCEEDED}, []),
    ],
)
def test_only_what_is_possible_has_a_button(changes: dict[str, Any], shown: list[str]) -> None:
    job = make_job(**changes)
    assert labels(job_text.job_card(job, view(job, metrics(48)))) == shown


def test_progress_shows_bar_time_losses_and_shape() -> None:
    job = make_job()
    text = words(job_text.job_card(job, view(job, metrics(48)))).replace(numbers.THIN, " ")
    assert "████████░░░░░░░░░░" in text
    assert "quedan 2 min" in text
    assert "pérdida 1,99 → 1,52" in text
    assert "█" in text.splitlines()[-3] or "▇" in text


def test_a_machine_that_died_is_told_without_alarm() -> None:
    job = make_job(attempt=2, failures=1)
    assert "No se ha perdido nada" in words(job_text.job_card(job, view(job, ())))


@pytest.mark.parametrize(("share", "blocks"), [(0.0, 0), (0.5, 9), (1.0, 18), (7.0, 18), (-1.0, 0)])
def test_the_bar_never_lies(share: float, blocks: int) -> None:
    assert job_text.bar(share).count("█") == blocks
    assert len(job_text.bar(share)) == 18


@pytest.mark.parametrize(
    ("needed", "there", "phrase"),
    [
        (5.1e9, 24e9, "unos 5,1 de 24 GB, cabe de sobra"),
        (21e9, 24e9, "unos 21,0 de 24 GB, cabe justo"),
        (30e9, 24e9, "unos 30,0 de 24 GB, no cabe"),
        (5.1e9, None, "unos 5,1 GB"),
    ],
)
def test_memory_says_whether_it_fits(needed: float, there: float | None, phrase: str) -> None:
    assert memory(int(needed), None if there is None else int(there)) == phrase


# Evaluations


def test_the_table_is_narrow_enough_for_a_phone_and_leaves_no_invented_zero() -> None:
    lines = evaluation_text.table(good_evaluation()).splitlines()[1:-1]
    assert max(map(len, lines)) <= 34
    assert "93" in lines[1]
    assert "—" in next(line for line in lines if line.startswith("pérdida"))


def test_the_end_of_a_job_mentions_its_person_and_shows_the_verdict() -> None:
    job = make_job(state=JobState.SUCCEEDED, finished_at=1.7e9 + 240)
    layout = job_text.end_card(job, view(job, metrics(114)), make_model(), curve=True)
    text = words(layout)
    assert text.startswith("<@2>, tu modelo está listo.")
    assert "Mejora clara" in text
    assert labels(layout) == ["Charlar", "Comparar", "Ver fallos", "Compartir"]


@pytest.mark.parametrize("verdict", [Verdict.WORSE, Verdict.NO_DIFFERENCE, Verdict.NOT_MEASURED])
def test_a_model_that_is_no_better_is_not_praised(verdict: Verdict) -> None:
    job = make_job(state=JobState.SUCCEEDED)
    model = make_model(evaluation=good_evaluation().model_copy(update={"verdict": verdict, "summary": "Pues no."}))
    layout = job_text.end_card(job, view(job, metrics(114)), model, curve=False)
    assert "Va bien" not in words(layout)
    assert evaluation_text.HEADLINES[verdict] in words(layout)
    assert labels(layout)[-2:] == ["Cambiar y repetir", "Leer en el curso"]


@pytest.mark.parametrize(
    ("code", "buttons"),
    [
        ("diverged", ["Cambiar y repetir", "Leer en el curso"]),
        ("worker_died", ["Repetir", "Cambiar y repetir", "Leer en el curso"]),
    ],
)
def test_a_failure_says_what_to_change_and_where_to_read_about_it(code: str, buttons: list[str]) -> None:
    job = make_job(state=JobState.FAILED, error={"code": code, "message": "Se ha roto.", "hint": "Baja la tasa."})
    layout = job_text.end_card(job, view(job, ()), None, curve=False)
    assert labels(layout) == buttons
    for words_of_it in ("Se ha roto.", "Baja la tasa.", "En el curso: "):
        assert words_of_it in words(layout)


def test_preferences_are_not_called_right_or_wrong_answers() -> None:
    score = Score(accuracy=Interval(value=0.9, low=0.8, high=1.0))
    result = good_evaluation().model_copy(update={"labels": (), "majority": 0.5, "base": score, "tuned": score})
    assert "prefiere" in evaluation_text.table(result)
    assert "cara o cruz" in evaluation_text.details(result)
    shown = "".join(evaluation_text.samples(result))
    assert "✗" not in shown
    assert "La preferida: " in shown
    assert "qué respuesta prefiere" in evaluation_text.samples_head(result)


@pytest.mark.parametrize(
    ("verdict", "said", "shown"),
    [
        (Verdict.NO_DIFFERENCE, "Sin diferencia clara: 0 % → 30 %. Prueba más.", "0 % → 30 %. Prueba más."),
        (Verdict.WORSE, "Ha empeorado: 40 % → 10 %.", "40 % → 10 %."),
        (Verdict.BETTER, "Acierta mucho más.", "Acierta mucho más."),
    ],
)
def test_the_verdict_is_said_once(verdict: Verdict, said: str, shown: str) -> None:
    evaluation = good_evaluation().model_copy(update={"verdict": verdict, "summary": said})
    assert evaluation_text.summary(evaluation) == shown


def test_the_shape_of_the_curve_shows_late_progress_too() -> None:
    blocks = job_text.sparkline([7.0, 3.0, 1.0, 0.6, 0.45, 0.35, 0.3])
    assert blocks[0] == "█"
    assert len(set(blocks[3:])) > 1


def test_what_models_answer_is_escaped_in_cards() -> None:
    sample = good_evaluation().samples[0].model_copy(update={"tuned": "@everyone **hola** [x](http://y)"})
    text = "\n".join(evaluation_text.samples(good_evaluation().model_copy(update={"samples": (sample,)})))
    assert "@everyone" not in text
    assert "**hola**" not in text


def test_the_card_of_a_model_hides_the_data_from_others() -> None:
    stranger = Owner(guild_id=1, user_id=9)
    text = words(model_card(make_model(), None, viewer=stranger, dataset="reseñas.jsonl"))
    assert "reseñas.jsonl" not in text
    assert "privados" in text


# The curve


@pytest.mark.parametrize(
    ("losses", "drawn"),
    [
        ([2.0, 1.5], [2.0, 1.5]),
        ([3.0, 2.0, 1.0], [3.0, 2.0, 1.0]),
        ([4.0, 1.0, 1.0, 0.0], [4.0, 2.0, 2 / 3, 0.0]),
        ([2.0, math.nan, 1.0], [2.0, math.nan, 1.0]),
        ([2.0], [2.0]),
        ([], []),
    ],
)
def test_the_smooth_curve_starts_and_ends_where_the_training_did(losses: list[float], drawn: list[float]) -> None:
    assert smooth(losses) == pytest.approx(drawn, nan_ok=True)


@pytest.mark.parametrize(
    "points",
    [
        Points(train=[(step, 3 / step) for step in range(1, 200)], validation=[(50, 0.5), (100, 0.3)]),
        Points(train=[], validation=[(1, 1.0), (2, 0.9)]),
        Points(train=[(1, 1.0), (2, 1.0)]),
    ],
    ids=["both", "validation only", "two equal points"],
)
def test_the_curve_is_a_png_that_a_phone_shows_whole(points: Points) -> None:
    from PIL import Image

    picture = Image.open(io.BytesIO(draw(points, title="reseñas 🎉 日本 $x^$")))
    assert picture.size == (1000, 600)
    assert len({picture.getpixel((x, y)) for x in range(0, 1000, 5) for y in range(0, 600, 5)}) > 3
