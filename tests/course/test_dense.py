"""Search by meaning: the same promises for vectors in files and in a real embedded Qdrant.

The embedding service is the scripted one, for which «felino» and «gato» are one word: only vectors find the cat.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings

from bot.course import Course
from bot.course.dense import DenseIndex, Outage, fuse
from bot.course.library import Library
from bot.course.meaning import Meaning
from bot.llm import make_embeddings
from bot.settings import Settings
from tests.course.openai_server import ScriptedOpenAI, openai_server

pytest.importorskip("langchain_qdrant")

Make = Callable[..., Meaning]
CAT = "# Mascota del curso\n\nEl gato duerme."
LOSS = "# Otra página\n\nLa pérdida baja."


@pytest.fixture
async def script() -> AsyncIterator[ScriptedOpenAI]:
    async with openai_server() as server:
        yield server


@pytest.fixture
def embeddings(script: ScriptedOpenAI) -> Iterator[Embeddings]:
    made = make_embeddings(Settings(_env_file=None, embeddings="v", embeddings_url=script.url, llm_timeout=5))
    yield made
    made.http_client.close()


@pytest.fixture(params=["files", "qdrant"])
def make(request: pytest.FixtureRequest, embeddings: Embeddings, tmp_path: Path) -> Iterator[Make]:
    """A new process's search by meaning over what the place of vectors still has."""
    made: list[Meaning] = []

    def new(**kwargs: bool) -> Meaning:
        for old in made:
            old.close()
        place: dict[str, Any] = {"cache": tmp_path / "vectors"}
        if request.param == "qdrant":
            place = {"qdrant": str(tmp_path / "qdrant")}
        made.append(Meaning(embeddings, model="vectores", **place, **kwargs))
        return made[-1]

    yield new
    for meaning in made:
        meaning.close()


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    root = tmp_path / "animales"
    root.mkdir()
    (root / "a.md").write_text(CAT, encoding="utf-8")
    (root / "b.md").write_text(LOSS, encoding="utf-8")
    return root


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def texts_sent(script: ScriptedOpenAI) -> list[str]:
    return [text for request in script.requests for text in request["input"]]


async def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came")


async def test_a_word_that_no_page_has_is_found_by_its_meaning(make: Make, animals: Path) -> None:
    assert Course.load(animals).search("felino", 1) == []
    course = await asyncio.to_thread(Course.load, animals, meaning=make())
    assert [passage.file for passage in await asyncio.to_thread(course.search, "felino", 1)] == ["a.md"]


async def test_only_what_changed_is_embedded_again(make: Make, animals: Path, script: ScriptedOpenAI) -> None:
    await asyncio.to_thread(Course.load, animals, meaning=make())
    (animals / "b.md").write_text("# Otra página\n\nLa pérdida sube.", encoding="utf-8")
    script.requests.clear()
    await asyncio.to_thread(Course.load, animals, meaning=make())
    passages = [text for text in texts_sent(script) if text != "Afina"]  # Qdrant asks for the length of a vector
    assert len(passages) == 1
    assert "sube" in passages[0]


async def test_what_one_server_adds_is_never_found_by_another(make: Make, animals: Path, tmp_path: Path) -> None:
    library = Library(animals, tmp_path / "data", make())
    await asyncio.to_thread(library.add, 1, "secreto.md", b"# Plan\n\nEl felino secreto del servidor uno.")
    await asyncio.to_thread(library.add, 2, "otro.md", b"# Plan\n\nNada que ver.")
    for guild, expected in ((1, True), (2, False), (None, False)):
        course = await asyncio.to_thread(library.course, guild)
        found = await asyncio.to_thread(course.search, "felino secreto", 10)
        assert any("secreto" in passage.text for passage in found) is expected


async def test_a_removed_document_is_gone_and_the_others_stay(make: Make, animals: Path, tmp_path: Path) -> None:
    library = Library(animals, tmp_path / "data", make())
    await asyncio.to_thread(library.add, 1, "perro.md", b"# Perro\n\nEl perro ladra mucho.")
    old = await asyncio.to_thread(library.course, 1)
    await asyncio.to_thread(library.remove, 1, "perro.md")
    new = await asyncio.to_thread(library.course, 1)
    assert not any("ladra" in p.text for p in await asyncio.to_thread(new.search, "perro ladra", 10))
    assert [p.file for p in await asyncio.to_thread(new.search, "felino", 1)] == ["a.md"]
    assert (await asyncio.to_thread(old.search, "perro", 1))[0].file == "perro.md"  # whoever still holds it can go on


async def test_a_service_that_is_away_costs_the_vectors_and_nothing_else(
    make: Make, animals: Path, script: ScriptedOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    meaning = make()
    course = await asyncio.to_thread(Course.load, animals, meaning=meaning)
    script.embeddings_away = True
    with caplog.at_level(logging.WARNING, "bot.course"):
        for _ in range(3):
            found = await asyncio.to_thread(course.search, "¿qué pasa con la pérdida?", 3)
            assert found[0].text == Course.load(animals).search("¿qué pasa con la pérdida?", 3)[0].text
    assert len([record for record in caplog.records if "away" in record.message]) == 1
    assert meaning.outage.reason is not None


async def test_vectors_come_when_the_service_does(make: Make, animals: Path, script: ScriptedOpenAI) -> None:
    script.embeddings_away = True
    meaning = make(aside=True)
    course = await asyncio.to_thread(Course.load, animals, meaning=meaning)
    await wait_for(lambda: meaning.outage.reason is not None)
    assert course.search("pérdida", 1)
    script.embeddings_away = False
    meaning.outage._until = 0.0  # the pause is over

    def found() -> bool:
        return [passage.file for passage in course.search("felino", 1)] == ["a.md"]

    for _ in range(200):
        if await asyncio.to_thread(found):
            break
        await asyncio.sleep(0.02)
    assert await asyncio.to_thread(found)
    assert meaning.outage.reason is None


async def test_a_qdrant_server_that_is_not_there_leaves_the_lexical_ranking(
    embeddings: Embeddings, animals: Path, unused_port: int
) -> None:
    meaning = Meaning(embeddings, model="v", qdrant=f"http://127.0.0.1:{unused_port}")
    course = await asyncio.to_thread(Course.load, animals, meaning=meaning)
    assert course.search("pérdida", 1)
    assert meaning.outage.reason


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # qdrant-client leaves its lock file open
async def test_a_qdrant_folder_in_use_by_another_process_leaves_the_lexical_ranking(
    embeddings: Embeddings, animals: Path, tmp_path: Path
) -> None:
    first, second = (Meaning(embeddings, model="v", qdrant=str(tmp_path / "q")) for _ in range(2))
    await asyncio.to_thread(Course.load, animals, meaning=first)
    course = await asyncio.to_thread(Course.load, animals, meaning=second)
    assert course.search("pérdida", 1)
    assert second.outage.reason
    first.close()
    second.close()


def test_while_a_service_rests_nobody_waits_for_it() -> None:
    now = [0.0]
    outage = Outage(pause=60, clock=lambda: now[0])
    calls = []

    def fails() -> None:
        calls.append(now[0])
        raise ConnectionError

    for second in (0.0, 1.0, 59.0, 61.0):
        now[0] = second
        assert outage.attempt(fails) is None
    assert calls == [0.0, 61.0]
    now[0] = 130.0
    assert outage.attempt(lambda: "back") == "back"
    assert outage.reason is None


def test_a_course_without_vectors_yet_answers_by_words() -> None:
    class Slow:
        def fill(self) -> None:
            raise TimeoutError

        def closest(self, question: str, k: int) -> list[int]:
            raise AssertionError("it is not ready")

        def prune(self) -> None:
            raise AssertionError("it is not ready")

    index = DenseIndex(Slow(), Outage())
    assert (index.ready, index.ranking("¿qué es LoRA?")) == (False, [])
    index.prune()


def test_reciprocal_ranks_prefer_what_both_rankings_hold() -> None:
    scores = fuse(([1, 2, 3], 1.0), ([4, 2], 1.0))
    assert max(scores, key=lambda number: scores[number]) == 2
