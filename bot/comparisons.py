"""Blind comparisons: one message, two to four voices in a shuffled order, votes, a table.

Rule of this file: what a comparison is and what its votes mean; it knows neither Discord nor how answers are shown.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bot.errors import BadInput, NotFound, WrongState
from bot.ranking import Ballot, Standing, rank
from bot.records import Owner
from bot.store import Store
from bot.voices import Voice, Voices
from jobs.errors import ModelNotFound

LETTERS = "ABCD"
TIE = "empate"
SEEN = "visto"  # looked who is who before voting
VOTES = "compare"  # kind of these votes in the store
MAX_MESSAGE = 2000  # characters


@dataclass(frozen=True, kw_only=True, slots=True)
class Contest:
    """One comparison, in the order in which it is shown."""

    id: str
    message: str
    voices: tuple[str, ...]  # values of `Voice`, A first
    titles: tuple[str, ...]  # as they were called then
    guild_id: int = 0  # where, by whom and when (Unix seconds) it was asked for; 0: before this was kept
    user_id: int = 0
    created_at: float = 0.0

    @property
    def letters(self) -> str:
        return LETTERS[: len(self.voices)]

    def title(self, letter: str) -> str:
        return self.titles[LETTERS.index(letter)]


def shuffled(message: str, voices: Sequence[Voice], dice: random.Random | None = None) -> tuple[Contest, list[Voice]]:
    """A new comparison and its voices in the order of the letters. Raises BadInput."""
    distinct = list({voice.value: voice for voice in voices}.values())
    if not 2 <= len(distinct) <= len(LETTERS):
        raise BadInput("Elige entre dos y cuatro modelos distintos.", hint="")
    if not message.strip():
        raise BadInput("Falta el mensaje para los modelos.", hint="")
    if len(message) > MAX_MESSAGE:
        raise BadInput(f"El mensaje no puede pasar de {MAX_MESSAGE} caracteres.", hint="Acórtalo.")
    (dice or secrets.SystemRandom()).shuffle(distinct)
    contest = Contest(
        id=secrets.token_hex(6),
        message=message.strip(),
        voices=tuple(voice.value for voice in distinct),
        titles=tuple(voice.title for voice in distinct),
    )
    return contest, distinct


async def save(store: Store, contest: Contest, owner: Owner) -> None:
    kept = replace(contest, guild_id=owner.guild_id, user_id=owner.user_id, created_at=store.clock())
    await store.set_state(f"compare:{contest.id}", json.dumps(asdict(kept)))


async def load(store: Store, contest_id: str) -> Contest:
    """Raises NotFound."""
    found = await store.get_state(f"compare:{contest_id}")
    if found is None:
        raise NotFound("Esa comparación ya no está.", hint="Haz otra con /comparar.")
    data = json.loads(found)
    return Contest(**{**data, "voices": tuple(data["voices"]), "titles": tuple(data["titles"])})


async def vote(store: Store, contest: Contest, message_id: int, voter: Owner, letter: str) -> None:
    """Keep a vote: a letter, TIE or SEEN (they looked who is who).

    Whoever has voted or looked knows who is who: another vote would not be blind. Raises WrongState.
    """
    given = await store.votes(VOTES, voter.guild_id)
    mine = [v["value"] for v in given if v["data"].get("contest") == contest.id and v["user_id"] == voter.user_id]
    if letter == SEEN and mine:
        return
    if SEEN in mine:
        raise WrongState("Ya miraste quién es quién, así que tu voto no sería a ciegas.", hint="Haz otra comparación.")
    if mine:
        raise WrongState(
            "Ya votaste aquí y sabes quién es quién, así que tu voto se queda como está.", hint="Haz otra comparación."
        )
    winner = contest.voices[LETTERS.index(letter)] if letter in contest.letters else None
    data = {"contest": contest.id, "voices": list(contest.voices), "winner": winner}
    await store.add_vote(message_id, voter, letter, VOTES, data)


async def table(store: Store, voices: Voices, owner: Owner) -> list[tuple[str, Standing]]:
    """The server's ranking as this person may see it: (title, standing), best first."""
    given = await store.votes(VOTES, owner.guild_id)
    ballots = [ballot(v) for v in given if v["value"] != SEEN]
    titles = {voice.value: voice.title for voice in await voices.all(owner)}
    return [(titles[s.model], s) for s in rank(ballots) if s.model in titles]


def ballot(row: Mapping[str, Any]) -> Ballot:
    return Ballot(models=tuple(row["data"]["voices"]), winner=row["data"]["winner"])


async def base_and(voices: Voices, model_id: str, owner: Owner) -> list[Voice]:
    """A model and the base that it was made over. Raises ModelNotFound."""
    tuned = await voices.find(model_id, owner)
    if tuned.model is None:
        raise ModelNotFound
    return [tuned, Voice(base_id=tuned.base_id, title=f"{tuned.base_id} (sin afinar)")]
