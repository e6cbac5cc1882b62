"""`/admin filtro`: staff makes the content filter stricter for its server, and the log says who."""

from __future__ import annotations

from bot.client import Afina
from bot.services import Services
from playground import Playground


async def test_staff_makes_the_filter_stricter_here_and_nobody_else_can(
    place: Playground, services: Services, bot: Afina
) -> None:
    boss, ana = place.person("Jefa", admin=True), place.person("Ana")
    await place.wait_bot("admin")
    guild_id = next(iter(place.world.guilds))
    changed = await (await boss.slash("admin filtro", nivel="strict", prohibir="patata frita, *ñoqui*")).done()
    assert changed.ephemeral
    assert "estricto" in changed.text
    assert "«patata frita»" in changed.text
    refused = await (await ana.slash("preguntar", pregunta="¿una Patata-Frita?")).done()
    assert "algo que este servidor no permite" in refused.text
    assert [entry.action for entry in await services.store.audit(guild_id)] == ["filter"]
    again = await (await boss.slash("admin filtro", olvidar="patata frita")).done()
    assert "patata" not in again.text
    assert (await services.moderation.own_wishes(guild_id)).level == "strict"


async def test_a_phrase_without_words_is_refused_and_changes_nothing(
    place: Playground, services: Services, bot: Afina
) -> None:
    boss = place.person("Jefa", admin=True)
    await place.wait_bot("admin")
    refused = await (await boss.slash("admin filtro", prohibir="bien, ...")).done()
    assert "no vale como frase" in refused.text
    guild_id = next(iter(place.world.guilds))
    assert (await services.moderation.own_wishes(guild_id)).blocked == ()
    assert await services.store.audit(guild_id) == []
