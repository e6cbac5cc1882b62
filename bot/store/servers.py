"""Servers: what their staff decided, who has which role there, and the log of who changed what.

Rule of this file: a change and its line in the log are one transaction. A line says what was done in Spanish, names
people and channels by id only, and is kept for a year.
"""

from __future__ import annotations

from collections.abc import Callable

import aiosqlite

from bot.policy import Policy
from bot.records import AuditEntry, Owner
from bot.roles import Role
from bot.store.database import Database

KEPT_SECONDS = 365 * 24 * 3600.0


class ServerRows(Database):
    async def policy(self, guild_id: int) -> Policy:
        """What is decided in a server; nothing, where nobody has decided anything."""
        row = await self._one("SELECT policy FROM servers WHERE guild_id = ?", (guild_id,))
        return Policy.model_validate_json(row["policy"]) if row else Policy()

    async def change_policy(
        self, guild_id: int, change: Callable[[Policy], Policy], *, actor_id: int, action: str, text: str
    ) -> Policy:
        """Apply `change` and note it; a change that changes nothing leaves no line. Raises what `change` raises."""
        async with self.transaction() as tx:
            rows = await tx.execute_fetchall("SELECT policy FROM servers WHERE guild_id = ?", (guild_id,))
            before = next((Policy.model_validate_json(row["policy"]) for row in rows), Policy())
            after = change(before)
            if after == before:
                return before
            await tx.execute(
                "INSERT INTO servers (guild_id, policy) VALUES (?, ?)"
                " ON CONFLICT DO UPDATE SET policy = excluded.policy",
                (guild_id, after.model_dump_json()),
            )
            if after.roles != before.roles:  # everybody is seen anew with the next thing they do
                await tx.execute("UPDATE people SET role = NULL WHERE guild_id = ?", (guild_id,))
            await self._note(tx, guild_id, actor_id=actor_id, action=action, text=text)
        return after

    async def note_action(
        self, guild_id: int, *, actor_id: int, action: str, text: str, subject_id: int | None = None
    ) -> None:
        """One line in the log of a server. `subject_id`: the person whom it was done to."""
        async with self.transaction() as tx:
            await self._note(tx, guild_id, actor_id=actor_id, action=action, text=text, subject_id=subject_id)

    async def _note(
        self,
        tx: aiosqlite.Connection,
        guild_id: int,
        *,
        actor_id: int,
        action: str,
        text: str,
        subject_id: int | None = None,
    ) -> None:
        now = self.clock()
        await tx.execute("DELETE FROM audit WHERE at < ?", (now - KEPT_SECONDS,))
        await tx.execute(
            "INSERT INTO audit (guild_id, at, actor_id, action, text, subject_id) VALUES (?, ?, ?, ?, ?, ?)",
            (guild_id, now, actor_id, action, text, subject_id),
        )

    async def audit(self, guild_id: int, *, limit: int = 20, before: int | None = None) -> list[AuditEntry]:
        """The newest lines of a server's log, newest first; `before`: only lines older than this one."""
        rows = await self._all(
            "SELECT * FROM audit WHERE guild_id = ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3",
            (guild_id, before, limit),
        )
        return [AuditEntry(**{name: row[name] for name in row.keys() if name != "guild_id"}) for row in rows]  # noqa: SIM118

    async def role(self, owner: Owner) -> Role:
        """As last seen."""
        row = await self._one(
            "SELECT role FROM people WHERE guild_id = ? AND user_id = ?", (owner.guild_id, owner.user_id)
        )
        return Role(row["role"]) if row and row["role"] else Role.MEMBER

    async def set_role(self, owner: Owner, role: Role) -> None:
        """Remember what somebody is; about members nothing is kept that is not there already."""
        if role is await self.role(owner):
            return
        async with self.transaction() as tx:
            await tx.execute(
                "INSERT INTO people (guild_id, user_id, role) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET role = excluded.role",
                (owner.guild_id, owner.user_id, role),
            )
