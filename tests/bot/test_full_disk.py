"""A disk without room, met by a person with a file: a clear word, nothing half, and the bot goes on."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bot.client import Afina
from bot.records import Owner
from bot.settings import Settings
from bot.store import Store
from playground import Playground
from tests.dataset.clean import as_jsonl, capitals


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow above `size` bytes, as with a quota that is used up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


async def test_a_file_that_finds_no_room_is_refused_and_leaves_nothing(
    bot: Afina, place: Playground, store: Store, settings: Settings, owner_of: Callable[..., Owner]
) -> None:
    ana = place.person("Ana")
    await place.wait_bot("datos")
    large = b"".join(as_jsonl(capitals()) for _ in range(3000))
    assert len(large) > 2_000_000
    with files_of_at_most(2_000_000):
        answer = await (await ana.slash("datos subir", archivo=("grande.jsonl", large), tengo_derecho=True)).done(
            timeout=30
        )
        assert "No queda sitio en el disco" in answer.text
    assert await store.datasets(owner_of(ana)) == []
    assert [path for path in (settings.data_dir / "datasets").rglob("*") if path.is_file()] == []
    answer = await ana.slash("datos subir", archivo=("buena.jsonl", as_jsonl(capitals())), tengo_derecho=True)
    await answer.done(timeout=30)
    assert "No queda sitio" not in answer.text
