"""Chat threads: which model a thread talks to, and how.

Rule of this file: the settings of a conversation, never its messages; those stay in Discord.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields, replace
from typing import Any

import aiosqlite

from bot.errors import NotFound
from bot.records import ChatThread, Owner
from bot.store.database import Database, to_json

_CHANGEABLE = {field.name for field in fields(ChatThread)} - {"thread_id", "owner", "created_at"}


class ChatRows(Database):
    async def open_chat(self, chat: ChatThread) -> ChatThread:
        """Remember the thread; opening the same one again replaces its settings."""
        async with self.transaction() as tx:
            chat = replace(chat, created_at=chat.created_at or self.clock())
            await _write(tx, chat)
        return chat

    async def chat(self, thread_id: int) -> ChatThread | None:
        row = await self._one("SELECT * FROM chats WHERE thread_id = ?", (thread_id,))
        return _chat(row) if row else None

    async def chats(self, owner: Owner) -> list[ChatThread]:
        """Their threads that are not closed, newest first."""
        rows = await self._all(
            "SELECT * FROM chats WHERE guild_id = ? AND user_id = ? AND NOT closed ORDER BY created_at DESC",
            (owner.guild_id, owner.user_id),
        )
        return [_chat(row) for row in rows]

    async def users_of(self, *model_ids: str) -> list[Owner]:
        """Who has a thread open with one of these models; once a thread."""
        marks = ", ".join("?" for _ in model_ids)
        rows = await self._all(
            f"SELECT guild_id, user_id FROM chats WHERE NOT closed AND model_id IN ({marks})",  # noqa: S608  # only marks
            model_ids,
        )
        return [Owner(guild_id=row["guild_id"], user_id=row["user_id"]) for row in rows]

    async def update_chat(self, thread_id: int, **changes: Any) -> ChatThread:
        """Change fields of `ChatThread` by name. Raises NotFound."""
        if unknown := set(changes) - _CHANGEABLE:
            raise TypeError(f"not changeable: {sorted(unknown)}")
        async with self.transaction() as tx:
            for row in await tx.execute_fetchall("SELECT * FROM chats WHERE thread_id = ?", (thread_id,)):
                chat = replace(_chat(row), **changes)
                await _write(tx, chat)
                return chat
        raise NotFound("Aquí no hay ninguna conversación abierta.", hint="Abre una con /charlar.")

    async def close_chat(self, thread_id: int) -> None:
        """Nothing more is answered in this thread; closing twice is fine."""
        async with self.transaction() as tx:
            await tx.execute("UPDATE chats SET closed = 1 WHERE thread_id = ?", (thread_id,))


async def _write(tx: aiosqlite.Connection, chat: ChatThread) -> None:
    await tx.execute(
        "INSERT OR REPLACE INTO chats (thread_id, guild_id, user_id, model_id, base_id, instructions, parameters,"
        " since_message_id, closed, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            chat.thread_id,
            chat.owner.guild_id,
            chat.owner.user_id,
            chat.model_id,
            chat.base_id,
            chat.instructions,
            to_json(chat.parameters),
            chat.since_message_id,
            chat.closed,
            chat.created_at,
        ),
    )


def _chat(row: sqlite3.Row) -> ChatThread:
    return ChatThread(
        thread_id=row["thread_id"],
        owner=Owner(guild_id=row["guild_id"], user_id=row["user_id"]),
        model_id=row["model_id"],
        base_id=row["base_id"],
        instructions=row["instructions"],
        parameters=json.loads(row["parameters"]),
        since_message_id=row["since_message_id"],
        closed=bool(row["closed"]),
        created_at=row["created_at"],
    )
