"""Pages of the course in Discord: read here, opened from a problem or an advice, or linked where they are public."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.client import Afina
from bot.lessons import Lessons
from bot.render.pages import page_button
from bot.services import Services
from bot.settings import ROOT, Settings
from bot.tutor import LESSONS
from jobs.dataset.rules import RULES
from playground import Playground
from tests.bot.conftest import running
from tests.course.conftest import LORA
from tests.course.conftest import OVERFITTING as OVERFITTING_PAGE

LONG = "# Página larga\n\n" + "\n\n".join(
    f"## Parte {n}\n\nTexto de la parte {n}. {'Frase de relleno. ' * 40}" for n in range(9)
)


@pytest.fixture
async def settings(settings: Settings, tmp_path: Path) -> Settings:
    folder = tmp_path / "curso"
    folder.mkdir()
    (folder / "05-formatos-de-datos.md").write_text(LORA, encoding="utf-8")
    (folder / "sobreajuste.md").write_text(OVERFITTING_PAGE, encoding="utf-8")
    (folder / "larga.md").write_text(LONG, encoding="utf-8")
    return settings.model_copy(update={"course_dir": folder})


async def test_a_page_is_read_in_parts_and_goes_on_after_a_restart(place: Playground, services: Services) -> None:
    ana = place.person("Ana")
    async with running(services):
        await place.wait_bot("curso")
        first = await (await ana.slash("curso leer", pagina="larga.md")).done()
        assert first.ephemeral
        assert "Página larga · 1 de" in first.text
        assert "Texto de la parte 0" in first.text
    async with running(services):
        second = await (await first.click("Seguir leyendo")).done()
    assert "· 2 de" in second.text
    assert "Texto de la parte 0" not in second.text


async def test_a_page_that_is_not_there_is_told(place: Playground, bot: Afina) -> None:
    await place.wait_bot("curso")
    answer = await (await place.person("Ana").slash("curso leer", pagina="../secreto.md")).done()
    assert "no tiene esa página" in answer.text


async def test_the_public_address_becomes_a_link(place: Playground, services: Services, settings: Settings) -> None:
    with_url = settings.model_copy(update={"course_url": "https://example.org/curso/"})
    public = replace(services, settings=with_url, lessons=Lessons(with_url))
    async with running(public):
        await place.wait_bot("curso")
        page = await (await place.person("Ana").slash("curso leer", pagina="sobreajuste.md")).done()
        assert "Abrir en la web" in {button.label for button in page.buttons}
        answer = await (await place.person("Bea").slash("preguntar", pregunta="¿qué es el sobreajuste?")).done()
    assert "(<https://example.org/curso/sobreajuste.md>)" in answer.text


async def test_the_guide_opens_the_pages_that_it_names(place: Playground, bot: Afina) -> None:
    await place.wait_bot("guia")
    form = (await place.person("Ana").slash("guia")).form
    advice = await (
        await form.submit(
            caso="Que clasifique reseñas en estrellas",
            datos=["Más de 500 ejemplos"],
            probado=["Un prompt trabajado", "Prompt con ejemplos (few-shot)"],
            costos=["Una GPU gratuita o unas horas alquiladas"],
        )
    ).done()
    page = await (await advice.click("Leer: LoRA en dos minutos")).done()
    assert "Qué se entrena" in page.text


@pytest.mark.parametrize(
    "file", sorted({*(lesson.page for lesson in LESSONS.values()), *(rule.page for rule in RULES.values())})
)
def test_every_page_that_a_problem_points_to_exists(file: str) -> None:
    assert (ROOT / "course" / file).is_file()


def test_without_an_address_the_button_opens_the_page_here() -> None:
    here: Any = page_button("05-formatos-de-datos.md")
    there: Any = page_button("05-formatos-de-datos.md", "https://example.org/curso")
    assert here.item.custom_id == "afina:course:read:05-formatos-de-datos.md"
    assert there.url == "https://example.org/curso/05-formatos-de-datos.md"
    assert here.item.label == there.label == "Leer en el curso"
