"""Asking the course in Discord, and caring for it, as people do it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.client import Afina
from bot.lessons import Lessons
from bot.services import Services
from bot.settings import Settings
from bot.store import Store
from playground import Playground
from tests.bot.conftest import make_services, running
from tests.course.openai_server import openai_server

QUESTION = "q diferencia hay entre lora y qlora??"


@pytest.fixture
async def settings(settings: Settings, tmp_path: Path) -> Settings:
    """A small course of two pages."""
    from tests.course.conftest import LORA, OVERFITTING

    folder = tmp_path / "curso"
    folder.mkdir()
    (folder / "lora.md").write_text(LORA, encoding="utf-8")
    (folder / "sobreajuste.md").write_text(OVERFITTING, encoding="utf-8")
    return settings.model_copy(update={"course_dir": folder})


async def asked(ana: Any, place: Playground, question: str = QUESTION) -> Any:
    await place.wait_bot("preguntar")
    return await (await ana.slash("preguntar", pregunta=question)).done()


async def test_an_answer_shows_the_question_the_course_and_its_sources(place: Playground, bot: Afina) -> None:
    answer = await asked(place.person("Ana"), place)
    assert QUESTION in answer.text
    assert "QLoRA guarda el modelo base en 4 bits" in answer.text
    assert "Fuentes" in answer.text
    assert "LoRA en dos minutos" in answer.text
    assert {button.label for button in answer.buttons} == {"Más detalle", "👍", "👎"}
    assert not answer.ephemeral


async def test_more_detail_is_for_whoever_asks_and_works_after_a_restart(place: Playground, services: Services) -> None:
    ana = place.person("Ana")
    async with running(services):
        answer = await asked(ana, place)
    async with running(services):
        more = await (await answer.click("Más detalle")).done()
    assert "Cuándo elegir QLoRA" in more.text
    assert more.ephemeral


async def test_votes_are_kept_once_a_person(
    place: Playground, bot: Afina, store: Store, owner_of: Callable[..., Any]
) -> None:
    ana = place.person("Ana")
    answer = await asked(ana, place)
    await (await answer.click("👍")).done()
    await (await answer.click("👎")).done()
    votes = await store.votes("answer", owner_of(ana).guild_id)
    assert [(vote["user_id"], vote["value"]) for vote in votes] == [(ana.id, "-1")]
    (feedback,) = await store.feedback(owner_of(ana).guild_id)
    assert feedback["question"] == QUESTION


async def test_what_the_course_does_not_cover_has_no_sources(place: Playground, bot: Afina) -> None:
    answer = await asked(place.person("Ana"), place, "¿cuánto cuesta una A100 en la nube?")
    assert "El curso no habla de eso" in answer.text
    assert "Fuentes" not in answer.text
    assert "👍" not in {button.label for button in answer.buttons}


async def test_a_near_question_is_one_click_away(place: Playground, bot: Afina) -> None:
    answer = await asked(place.person("Ana"), place, "receta de lora a la plancha con tomate")
    (label,) = [button.label for button in answer.buttons if "QLoRA" in button.label]
    near = await (await answer.click(label)).done()
    assert "4 bits" in near.text


async def test_the_questions_of_the_pages_complete_what_is_typed(place: Playground, bot: Afina) -> None:
    ana = place.person("Ana")
    await asked(ana, place)
    assert "¿Cómo sé si mi modelo memoriza?" in str(await ana.autocomplete("preguntar", "pregunta", "memor"))


async def test_a_mention_is_answered_by_a_reply_that_pings_nobody(place: Playground, bot: Afina) -> None:
    ana = place.person("Ana")
    await place.wait_bot("preguntar")
    await ana.say(f"<@{bot.user.id}> que es el sobreajuste")
    answer = await ana.wait_message(contains="pérdida de validación", button="Más detalle")
    assert not answer.notified


async def test_a_reply_to_an_answer_is_a_follow_up_question(place: Playground, bot: Afina) -> None:
    ana = place.person("Ana")
    answer = await asked(ana, place, "¿qué es el sobreajuste?")
    await answer.reply("¿y qué hago?")
    await ana.wait_message(contains="menos épocas", button="Más detalle")


async def test_other_messages_are_left_alone(place: Playground, bot: Afina) -> None:
    ana = place.person("Ana")
    await place.wait_bot("preguntar")
    await ana.say("¿alguien sabe qué es LoRA?")
    await ana.no_message(1.0)


async def test_the_menu_of_a_message_asks_the_course(place: Playground, bot: Afina) -> None:
    ana = place.person("Ana")
    await place.wait_bot("preguntar")
    said = await ana.say("no entiendo qué diferencia hay entre lora y qlora")
    answer = await (await said.menu("Preguntar al curso")).done()
    assert "4 bits" in answer.text


async def test_too_many_questions_a_minute_are_refused_with_the_time_to_wait(
    place: Playground, settings: Settings, store: Store, queue: Any, engine: Any
) -> None:
    few = settings.model_copy(update={"questions_per_minute": 1})
    async with running(make_services(few, store, queue, engine)):
        ana = place.person("Ana")
        await asked(ana, place)
        refusal = await ana.slash("preguntar", pregunta=QUESTION)
        assert "máximo" in refusal.text
        assert "Puedes seguir en" in refusal.text


async def test_a_worded_answer_is_streamed_into_the_card(
    place: Playground, settings: Settings, store: Store, queue: Any, engine: Any
) -> None:
    async with openai_server() as script:
        worded = settings.model_copy(update={"llm": "openai:x", "llm_url": script.url, "stream_edit_every": 0.0})
        lessons = Lessons(worded)
        services = make_services(worded, store, queue, engine, lessons=lessons, answerer=lessons)
        script.will_say("QLoRA guarda el modelo base en 4 bits y va algo más despacio [1].")
        async with running(services):
            await lessons.course(None)  # the first load may take longer than a person is waited for
            answer = await asked(place.person("Ana"), place)
            await answer.wait_edit(contains="y va algo más despacio")
            assert any("✍️" in edit.text for edit in answer.edits)
        for _, answerer in lessons._answerers.values():
            await answerer._inner._model.http_async_client.aclose()


async def test_staff_add_a_document_and_take_it_away(place: Playground, bot: Afina) -> None:
    boss, ana = place.person("Jefa", admin=True), place.person("Ana")
    await place.wait_bot("curso")
    document = ("zepelin.md", "# Zepelín\n\nEl método zepelín entrena el adaptador por las noches.".encode())
    added = await (await boss.slash("curso agregar", archivo=document)).done()
    assert "Agregado" in added.text
    assert "por las noches" in (await asked(ana, place, "qué es el método zepelín")).text
    assert "zepelin.md" in (await (await ana.slash("curso fuentes")).done()).text.replace("\\", "")
    await (await boss.slash("curso quitar", documento="zepelin.md")).done()
    assert "por las noches" not in (await asked(ana, place, "qué es el método zepelín")).text


async def test_only_staff_change_the_course(place: Playground, bot: Afina) -> None:
    ana = place.person("Ana")
    await place.wait_bot("curso")
    answer = await (await ana.slash("curso agregar", archivo=("a.md", b"# Hola\n\nTexto."))).done()
    assert "Solo quien administra" in answer.text


async def test_a_document_that_cannot_be_read_is_refused_with_the_reason(place: Playground, bot: Afina) -> None:
    boss = place.person("Jefa", admin=True)
    await place.wait_bot("curso")
    answer = await (await boss.slash("curso agregar", archivo=("roto.pdf", b"%PDF-1.4 nada"))).done()
    assert "dañado" in answer.text


async def test_reindexing_reads_the_folder_again(place: Playground, bot: Afina, settings: Settings) -> None:
    boss = place.person("Jefa", admin=True)
    await asked(boss, place)
    page = "# Zepelín\n\nEl método zepelín entrena el adaptador por las noches."
    await asyncio.to_thread((settings.course_dir / "zepelin.md").write_text, page, encoding="utf-8")
    await (await boss.slash("curso reindexar")).done()
    assert "por las noches" in (await asked(boss, place, "qué es el método zepelín")).text


async def test_the_guide_recommends_with_reasons_pages_and_the_next_command(place: Playground, bot: Afina) -> None:
    ana = place.person("Ana")
    await place.wait_bot("guia")
    form = (await ana.slash("guia")).form
    advice = await (
        await form.submit(
            caso="Que clasifique reseñas en estrellas",
            datos=["Más de 500 ejemplos"],
            probado=["Un prompt trabajado", "Prompt con ejemplos (few-shot)"],
            costos=["Una GPU gratuita o unas horas alquiladas"],
        )
    ).done()
    assert "Afina un modelo" in advice.text
    assert "/afinar" in advice.text
    assert "LoRA en dos minutos" in advice.text


async def test_a_new_post_in_the_chosen_forum_is_answered_when_the_course_knows(place: Playground, bot: Afina) -> None:
    boss, ana = place.person("Jefa", admin=True), place.person("Ana")
    await place.wait_bot("curso")
    forum = next(channel for channel in await boss.channels() if channel.name == "ayuda")
    await (await boss.slash("curso foro", canal=forum)).done()
    known = await ana.start_thread("No entiendo el sobreajuste", channel=forum, content="¿qué es?")
    await ana.wait_message(contains="pérdida de validación", button="Más detalle", channel=known)
    unknown = await ana.start_thread("Receta de tortilla", channel=forum, content="¿con cebolla?")
    await asyncio.sleep(0.5)
    assert len(await ana.history(channel=unknown)) == 1


async def test_in_direct_messages_the_course_answers_too(place: Playground, bot: Afina) -> None:
    ana = place.person("Ana")
    await place.wait_bot("preguntar")
    answer = await (await ana.slash("preguntar", channel=await ana.direct(), pregunta=QUESTION)).done()
    assert "4 bits" in answer.text
