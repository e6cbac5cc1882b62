"""Which base models there are to work with: on the machine, and on offer in one server.

Rule of this file: the machine's are those that a worker can load; a server offers all of them until its staff says
otherwise (`/admin catalogo`).
"""

from __future__ import annotations

from bot.errors import NotAllowed
from bot.policy import default_base
from bot.services import Services
from jobs.catalog import Base, is_downloaded


def available_bases(services: Services) -> list[Base]:
    """Bases that a worker can load: downloaded here, or built on first use. With remote artifacts, all of them."""
    if services.settings.artifacts_url:
        return list(services.catalog)
    return [base for base in services.catalog if is_downloaded(services.settings.data_dir, base)]


async def offered_bases(services: Services, guild_id: int) -> list[Base]:
    """Those that this server offers, the one that it proposes first."""
    policy = await services.store.policy(guild_id)
    offered = [base for base in available_bases(services) if policy.offers(base.id)]
    first = default_base(policy, services.settings, [base.id for base in offered])
    return sorted(offered, key=lambda base: base.id != first)


async def check_offered(services: Services, guild_id: int, base_id: str) -> Base:
    """The base, where this server offers it. Raises BaseNotAvailable for one that does not exist, and NotAllowed."""
    base = services.catalog.get(base_id)
    if not (await services.store.policy(guild_id)).offers(base_id):
        raise NotAllowed(
            f"En este servidor no se entrena sobre {base.name}.", hint="Elige otra base de las que salen en /afinar."
        )
    return base
