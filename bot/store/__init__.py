"""All SQL of the project: people, servers, datasets, jobs, models, chats, in one SQLite file.

Rule of this package: the truth about jobs is here, and only here does anybody speak SQL; each module holds one noun.
The schema is in `bot/migrations/`. Every method raises `StoreUnavailable` when the file is locked or the disk full.
"""

from __future__ import annotations

from bot.store.chats import ChatRows
from bot.store.database import StoreUnavailable, new_id
from bot.store.datasets import DatasetRows
from bot.store.dispatch import DispatchRows
from bot.store.events import EventRows
from bot.store.jobs import JobRows
from bot.store.models import ModelRows
from bot.store.notes import NoteRows
from bot.store.people import PeopleRows
from bot.store.privacy import PrivacyRows
from bot.store.servers import ServerRows
from bot.store.spending import SpendingRows
from bot.store.waiting import WaitingRows

__all__ = ["Store", "StoreUnavailable", "new_id"]


class Store(
    DatasetRows,
    JobRows,
    DispatchRows,
    EventRows,
    ModelRows,
    ChatRows,
    NoteRows,
    PeopleRows,
    PrivacyRows,
    ServerRows,
    SpendingRows,
    WaitingRows,
):
    """The store: `async with Store.open(path) as store`."""
