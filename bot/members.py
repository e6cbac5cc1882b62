"""Who somebody is in a server and what they may use there.

Rule of this file: it puts together what the settings say, what the server's staff decided and which role the person was
last seen with. A role is refreshed by everything that a person does (`bot/cogs/entrance.py`), so what is remembered is
only asked where nobody is there to look at: in direct messages and by the scheduler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.limits import Limits, Usage, check_datasets, check_job
from bot.records import Owner

if TYPE_CHECKING:
    from bot.services import Services
    from bot.settings import Settings
    from bot.store import Store


async def limits_for(settings: Settings, store: Store, owner: Owner) -> Limits:
    """The limits of one person in one server."""
    policy = await store.policy(owner.guild_id)
    return policy.limits_of(await store.role(owner), settings)


async def allowance(services: Services, owner: Owner) -> tuple[Limits, Usage]:
    """What one person may use, and what they use now."""
    return await limits_for(services.settings, services.store, owner), await services.store.usage(owner)


async def may_train(services: Services, owner: Owner, seconds: float) -> Limits:
    """The limits to promise a job of about so many device seconds under. Raises LimitReached."""
    limits, usage = await allowance(services, owner)
    check_job(limits, usage, seconds)
    return limits


async def may_keep(services: Services, owner: Owner, *, bytes: int, files: int = 1) -> Limits:
    """The limits to keep so many more bytes of data under. Raises LimitReached."""
    limits, usage = await allowance(services, owner)
    check_datasets(limits, usage, bytes=bytes, files=files)
    return limits
