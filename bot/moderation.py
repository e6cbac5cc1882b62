"""The content filter of messages: what people ask, what models answer, what they call things.

Rule of this file: two steps that can be changed without touching anything else. The word lists (`jobs/moderation.py`)
run always, here and at once; a `Classifier` (an address that speaks OpenAI's moderation protocol, or a chat model as
judge, `bot/llm.py`) runs after them where the settings name one, and what happens when it does not answer is a setting.
An answer is judged before it is shown, piece by piece. Nothing of a judged text is ever logged or stored.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx

from bot.errors import BadInput
from jobs.errors import AfinaError, EngineUnavailable
from jobs.moderation import LEVELS, NAMES, Category, Level, Wishes, WordList, typed

if TYPE_CHECKING:
    from bot.engine import Chunk
    from bot.llm import Occupy
    from bot.settings import Settings
    from bot.store import Store

log = logging.getLogger(__name__)

EVERY: Final = 0.1  # seconds between two looks of the lists at a growing answer
WINDOW: Final = 240  # characters before what is new that they look at again: a phrase may have begun there
CLASSIFIED: Final = 400  # characters that an answer grows by before a classifier is asked again
MOST_PHRASES: Final = 500  # of one server
LONGEST_PHRASE: Final = 80  # characters
_KEY: Final = "moderation:"  # + server: its wishes, in the store
_COMPILED: Final = 64  # word lists that are kept compiled


class Unwelcome(AfinaError):
    """A text that is not wanted here; it says why and never repeats it."""

    code = "unwelcome"
    default = "Con eso no puedo ayudarte aquí."
    default_hint = "Prueba a decirlo de otra manera. Si crees que me equivoco, díselo a quien administra el servidor."


class FilterUnavailable(AfinaError):
    """The classifier does not answer, and the settings say that nothing passes without it."""

    code = "filter_unavailable"
    default = "Ahora mismo no puedo revisar los mensajes, así que prefiero no contestar."
    default_hint = "Prueba otra vez dentro de un momento."


class Classifier(Protocol):
    async def classify(self, text: str) -> Category | None:
        """What is the matter with a text. Raises whatever went wrong on the way."""
        ...


HELP_LINES = (
    "Siento que lo estés pasando mal. Soy un programa y no soy la ayuda que necesitas, pero hay personas que sí: llama "
    "al 024 en España, al 800 911 2000 en México, al *4141 en Chile, al 135 en Buenos Aires o al 113 (opción 5) en "
    "Perú; para otros países, findahelpline.com. Si hay peligro ahora mismo, llama a emergencias."
)


def refusal(category: Category, *, answer: bool = False) -> Unwelcome:
    """What a person is told; `answer`: it was a model that said it."""
    if answer:
        hint = "Prueba con otras palabras o con otro modelo."
        return Unwelcome(f"He retirado la respuesta: contenía {NAMES[category]}.", hint=hint)
    if category is Category.SELF_HARM:
        return Unwelcome(HELP_LINES, hint="Hablarlo hoy con alguien de confianza también ayuda.")
    return Unwelcome(f"Con eso no puedo ayudarte aquí: es {NAMES[category]}.")


class Moderation:
    """The filter of all servers. Cheap to make; `classifier` None: word lists alone."""

    def __init__(self, settings: Settings, store: Store, classifier: Classifier | None = None) -> None:
        self._settings = settings
        self._store = store
        self._classifier = classifier
        self._common = host_phrases(settings)
        self._compiled: dict[Wishes, WordList] = {}
        self._compiling = asyncio.Lock()

    # One text

    async def listed(self, text: str, guild_id: int) -> Category | None:
        """What the word lists of a server say."""
        return (await self.words(guild_id)).judge(text)

    async def judge(self, text: str, guild_id: int) -> Category | None:
        """Lists, then the classifier. Raises FilterUnavailable."""
        wishes = await self.wishes(guild_id)
        if wishes.level == "off":
            return None
        return (await self._words(wishes)).judge(text) or await self._classified(text)

    async def admit(self, text: str, guild_id: int) -> None:
        """Let a person's text pass. Raises Unwelcome, FilterUnavailable."""
        if (category := await self.judge(text, guild_id)) is not None:
            log.info("a text was turned away: %s", category, extra={"action": "moderation"})
            raise refusal(category)

    async def admit_quickly(self, text: str, guild_id: int) -> None:
        """The same by the lists alone: before an acknowledgement that everybody sees. Raises Unwelcome."""
        if (category := await self.listed(text, guild_id)) is not None:
            log.info("a text was turned away: %s", category, extra={"action": "moderation"})
            raise refusal(category)

    async def _classified(self, text: str) -> Category | None:
        if self._classifier is None or not text.strip():
            return None
        try:
            async with asyncio.timeout(self._settings.moderation_timeout):
                return await self._classifier.classify(text)
        except Exception as error:  # providers raise their own kinds
            log.warning("the classifier does not answer: %s", type(error).__name__, extra={"action": "moderation"})
            if self._settings.moderation_fail == "closed":
                raise FilterUnavailable from None
            return None

    # A growing answer

    async def growing(self, guild_id: int, *, every: float = EVERY) -> Growing:
        """A judge of one answer while it is written; `every`: seconds between two looks of the lists."""
        wishes = await self.wishes(guild_id)
        off = wishes.level == "off"
        classified = None if off or self._classifier is None else self._classified
        return Growing(await self._words(wishes), classified, every=every, off=off)

    async def screened(self, chunks: AsyncGenerator[Chunk, None], guild_id: int) -> AsyncGenerator[Chunk, None]:
        """The same answer, each piece judged before it passes. Raises Unwelcome, FilterUnavailable."""
        judge = await self.growing(guild_id)
        text, shown = "", 0
        last: Chunk | None = None
        try:
            async with aclosing(chunks):
                async for last in chunks:
                    text += last.text
                    ready = await judge.ready(text, whole=last.finish is not None)
                    if ready > shown or last.finish is not None:
                        yield replace(last, text=text[shown:ready])
                        shown = ready
        except EngineUnavailable:  # broken off half-way: what came before stands
            if last is not None and len(text) > shown and await judge.ready(text, whole=True):
                yield replace(last, text=text[shown:])
            raise

    # What a server wants

    async def wishes(self, guild_id: int) -> Wishes:
        """The machine's setting, made stricter and completed by the server's staff; never milder."""
        stored = json.loads(await self._store.get_state(f"{_KEY}{guild_id}") or "{}")
        level: Level = max(self._settings.moderation, stored.get("level", "off"), key=LEVELS.index)
        blocked, allowed = self._common
        return Wishes(
            level=level,
            blocked=(*blocked, *stored.get("blocked", ())),
            allowed=(*allowed, *stored.get("allowed", ())),
        )

    async def words(self, guild_id: int) -> WordList:
        return await self._words(await self.wishes(guild_id))

    async def _words(self, wishes: Wishes) -> WordList:
        async with self._compiling:
            if wishes not in self._compiled:
                if len(self._compiled) >= _COMPILED:
                    self._compiled.clear()
                self._compiled[wishes] = await asyncio.to_thread(WordList, wishes)
            return self._compiled[wishes]

    async def own_wishes(self, guild_id: int) -> Wishes:
        """What a server's staff decided, without what the machine's settings add; level «off»: nothing stricter."""
        stored = json.loads(await self._store.get_state(f"{_KEY}{guild_id}") or "{}")
        return Wishes(
            level=stored.get("level", "off"),
            blocked=tuple(stored.get("blocked", ())),
            allowed=tuple(stored.get("allowed", ())),
        )

    async def change(
        self,
        guild_id: int,
        *,
        level: Level | None = None,
        block: Iterable[str] = (),
        allow: Iterable[str] = (),
        forget: Iterable[str] = (),
    ) -> Wishes:
        """Change what a server's staff wants; `forget`: phrases that leave both lists. What it is now. BadInput."""
        now = await self.own_wishes(guild_id)
        gone = {typed(phrase) for phrase in forget}
        lists = {}
        for name, more in (("blocked", block), ("allowed", allow)):
            kept = [phrase for phrase in getattr(now, name) if phrase not in gone]
            lists[name] = tuple(dict.fromkeys([*kept, *map(_checked, more)]))
            if len(lists[name]) > MOST_PHRASES:
                raise BadInput(f"Como mucho {MOST_PHRASES} frases en cada lista.", hint="Quita alguna antes.")
        changed = replace(now, level=level or now.level, **lists)
        await self._store.set_state(f"{_KEY}{guild_id}", json.dumps(asdict(changed), ensure_ascii=False))
        return changed


class Growing:
    """One answer while it is written: how much of it may be shown.

    Never its last word, which may not be over: so the word that completes an unwanted phrase is never seen.
    """

    def __init__(self, words: WordList, classified: Any, *, every: float, off: bool) -> None:
        self._words = words
        self._classified = classified
        self._every = every
        self._off = off
        self._listed = 0  # characters that the lists have looked at
        self._at = 0.0  # monotonic; when they did
        self._asked = 0  # characters that the classifier has looked at

    async def ready(self, text: str, *, whole: bool) -> int:
        """How many characters of `text` so far may be shown. Raises Unwelcome, FilterUnavailable."""
        if self._off:
            return len(text)
        if whole or time.monotonic() - self._at >= self._every:
            self._refuse(self._words.judge(text[max(0, self._listed - WINDOW) :]))
            self._listed, self._at = len(text), time.monotonic()
        if self._classified is None:
            return len(text) if whole else max(text.rfind(" ", 0, self._listed), text.rfind("\n", 0, self._listed)) + 1
        if whole or len(text) - self._asked >= CLASSIFIED:
            self._refuse(await self._classified(text))
            self._asked = len(text)
        return self._asked

    def _refuse(self, category: Category | None) -> None:
        if category is not None:
            log.info("an answer was withdrawn: %s", category, extra={"action": "moderation"})
            raise refusal(category, answer=True)


class ModerationApi:
    """A server that speaks OpenAI's moderation protocol: `POST {url}/moderations`."""

    def __init__(
        self, url: str, *, model: str | None, key: str | None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = f"{url.rstrip('/')}/moderations"
        self._model = model
        self._headers = {"Authorization": f"Bearer {key}"} if key else None
        self._transport = transport

    async def classify(self, text: str) -> Category | None:
        body = {"input": text} | ({"model": self._model} if self._model else {})
        async with httpx.AsyncClient(headers=self._headers, transport=self._transport, timeout=30) as client:
            response = await client.post(self._url, json=body)
        response.raise_for_status()
        (result,) = response.json()["results"]
        return worst(name for name, yes in result["categories"].items() if yes) if result["flagged"] else None


def make_classifier(
    settings: Settings, engine_url: str | None = None, *, occupy: Occupy = nullcontext
) -> Classifier | None:
    """The second step that the settings ask for: an address, else a chat model, else none.

    `occupy`: around what the engine does, when it is the judge.
    """
    if settings.moderation_url:
        key = settings.moderation_key.get_secret_value() if settings.moderation_key else None
        return ModerationApi(settings.moderation_url, model=settings.moderation_model, key=key)
    if settings.moderation_llm:
        from bot.llm import make_judge  # langchain is heavy

        return make_judge(settings, engine_url, occupy=occupy)
    return None


# Categories of OpenAI's protocol; violence alone (a story, the news) is none of ours.
_THEIRS: Final[Mapping[str, Category]] = {
    "sexual/minors": Category.MINORS,
    "self-harm": Category.SELF_HARM,
    "self-harm/intent": Category.SELF_HARM,
    "self-harm/instructions": Category.SELF_HARM,
    "harassment": Category.HARASSMENT,
    "harassment/threatening": Category.HARASSMENT,
    "hate": Category.HATE,
    "hate/threatening": Category.HATE,
    "sexual": Category.SEXUAL,
    "illicit": Category.DANGEROUS,
    "illicit/violent": Category.DANGEROUS,
}


def worst(names: Iterable[str]) -> Category | None:
    """The gravest of our categories among names of that protocol."""
    ours = {_THEIRS[name] for name in names if name in _THEIRS}
    return next((category for category in Category if category in ours), None)


def host_phrases(settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(not wanted, allowed) of the file of the settings: a phrase a line, «+» before what is allowed, «#» a comment.

    Raises BadInput when it cannot be read.
    """
    if settings.moderation_words is None:
        return (), ()
    try:
        lines = Path(settings.moderation_words).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"No puedo leer {settings.moderation_words}.", hint="Revisa AFINA_MODERATION_WORDS: un texto en UTF-8."
        ) from error
    phrases = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    allowed = tuple(_checked(phrase[1:]) for phrase in phrases if phrase.startswith("+"))
    return tuple(_checked(phrase) for phrase in phrases if not phrase.startswith("+")), allowed


def _checked(phrase: str) -> str:
    """A phrase as it is kept. Raises BadInput for one without letters, or too long a one."""
    if len(phrase) > LONGEST_PHRASE or not typed(phrase):
        raise BadInput(
            f"«{phrase.strip()[:40]}» no vale como frase.",
            hint=f"Escribe una o varias palabras, hasta {LONGEST_PHRASE} caracteres; un * al final abarca lo que siga.",
        )
    return typed(phrase)
