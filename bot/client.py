"""The Discord client: an explicit list of cogs, and the place where every error becomes a reply.

Rule of this file: no feature lives here. It wires discord.py so that the traps of that library cannot hurt: doubled
events are dropped, nothing pings anyone by default, forms and buttons that nobody knows any more are answered, a
gateway that is away at the start is tried again, and an exception in the library's own event parser ends the process
(`bot/__main__.py` exits non-zero and a supervisor starts it again) instead of leaving it half alive.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import aiohttp
import discord
import yarl
from discord import app_commands
from discord.ext import commands
from discord.gateway import DiscordWebSocket

from bot.cogs.board import Board
from bot.cogs.entrance import enter
from bot.cogs.keeping import KeepingCog
from bot.cogs.replies import answer_error, tell

if TYPE_CHECKING:
    from bot.services import Services
    from bot.settings import Settings

log = logging.getLogger(__name__)

REMEMBERED_EVENTS = 10_000  # ids of interactions and messages already seen, newest kept
FAREWELL = 5.0  # seconds to finish answering people when the process is asked to stop
ORPHANED_AFTER = 1.5  # seconds; an interaction that nobody acknowledged by then is answered for them


def load_cogs(client: Afina) -> list[tuple[commands.Cog, list[type[discord.ui.DynamicItem[Any]]]]]:
    """Every cog with its persistent buttons. What the bot can do in Discord is this list."""
    from bot.cogs import admin, ask, chat, compare, course, datasets, help, jobs, keeping, models, training

    services = client.services
    return [
        (help.HelpCog(services), help.dynamic_items()),
        (ask.AskCog(services), ask.dynamic_items()),
        (course.CourseCog(services), course.dynamic_items()),
        (datasets.DatasetsCog(services), datasets.dynamic_items()),
        (training.TrainingCog(services), training.dynamic_items()),
        (jobs.JobsCog(services), jobs.dynamic_items()),
        (models.ModelsCog(services), models.dynamic_items()),
        (admin.AdminCog(services), admin.dynamic_items()),
        (chat.ChatCog(services, client), chat.dynamic_items()),
        (compare.CompareCog(services), compare.dynamic_items()),
        (keeping.KeepingCog(services), keeping.dynamic_items()),
    ]


def redirect(settings: Settings) -> None:
    """Point discord.py at a compatible server. The library offers only these process-wide hooks for it."""
    if settings.discord_api:
        discord.http.Route.BASE = settings.discord_api.rstrip("/")
    if settings.discord_gateway:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.discord_gateway)


class CommandTree(app_commands.CommandTree["Afina"]):
    """Slash commands, with doubled deliveries dropped and errors answered."""

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        if interaction.type is discord.InteractionType.autocomplete:
            return True
        try:
            return await self.client.admit(interaction)
        except Exception as error:  # the library would only log it
            await answer_error(interaction, error)
            return False

    async def on_error(self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError, /) -> None:
        if interaction.type is discord.InteractionType.autocomplete:
            log.warning("autocomplete failed", exc_info=error)
            return
        await answer_error(interaction, error)


class Afina(commands.Bot):
    """The bot. `services` is what its cogs work with."""

    def __init__(self, services: Services) -> None:
        intents = discord.Intents.none()
        intents.guilds = True
        intents.messages = True
        intents.reactions = True
        intents.message_content = services.settings.message_content
        intents.members = services.settings.members_intent
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=intents,
            tree_cls=CommandTree,
            allowed_mentions=discord.AllowedMentions.none(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            guild_ready_timeout=0.2,  # the default waits 2 s for servers that are already there
            max_messages=200,
        )
        self.services = services
        self.online = asyncio.Event()  # READY seen once and every cog loaded
        self.board = Board(self, services)
        self.homes: dict[int, int] = {}  # person → server whose workshop is in their direct messages
        self._seen: OrderedDict[int, None] = OrderedDict()
        self._door = asyncio.Lock()
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._handling: set[asyncio.Task[Any]] = set()  # what people asked for and is being done

    # Wiring

    async def setup_hook(self) -> None:
        for cog, items in load_cogs(self):
            await self.add_cog(cog)
            self.add_dynamic_items(*items)
            for menu in getattr(cog, "context_menus", ()):
                self.tree.add_command(menu)
        if self.services.arbiter is not None:
            from bot.cogs.rest import RestCog

            await self.add_cog(RestCog(self, self.services.arbiter))
        self.background(self._sync_commands)

    def background(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` beside the events; what it raises is logged and nothing else dies of it."""

        async def guarded() -> None:
            try:
                await work()
            except Exception:
                log.exception("background work %s failed", getattr(work, "__qualname__", work))

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def lock(self, *key: Hashable) -> asyncio.Lock:
        """The lock called `key`: one thing at a time for one person, card or draft."""
        return self._locks.setdefault(key, asyncio.Lock())

    async def _sync_commands(self) -> None:
        """Register the commands where they changed; Discord limits how often, so a hash of them is kept."""
        guild = discord.Object(self.services.settings.guild_id) if self.services.settings.guild_id else None
        if guild:
            self.tree.copy_global_to(guild=guild)
        shape = [command.to_dict(self.tree) for command in self.tree.get_commands(guild=guild)]
        where = f"{self.application_id}:{guild.id if guild else 'global'}"
        digest = hashlib.sha256(json.dumps(shape, sort_keys=True, default=str).encode()).hexdigest()
        key = f"commands:{where}"
        if await self.services.store.get_state(key) == digest:
            log.info("commands unchanged (%s)", where)
            return
        await self.tree.sync(guild=guild)
        await self.services.store.set_state(key, digest)
        log.info("commands registered (%s): %d", where, len(shape))

    # Events

    def first_time(self, event_id: int) -> bool:
        """Whether the interaction or message `event_id` is new. Discord may deliver one twice around a resume."""
        if event_id in self._seen:
            log.info("event %s was delivered twice", event_id)
            return False
        self._seen[event_id] = None
        if len(self._seen) > REMEMBERED_EVENTS:
            self._seen.popitem(last=False)
        return True

    async def admit(self, interaction: discord.Interaction[Any]) -> bool:
        """False for an interaction that was delivered before. In direct messages, find out which server is meant.

        Raises NotAllowed where the server's staff does not want this done (`bot/cogs/entrance.py`).
        """
        if not self.first_time(interaction.id):
            return False
        if task := asyncio.current_task():
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)
        async with self._door:  # one a turn of the loop: a crowd that asks at once would make each of its turns long
            await asyncio.sleep(0)
        person = interaction.user.id
        if interaction.guild_id is None and person not in self.homes:
            home = await self.services.store.get_state(f"home:{person}")
            if home:
                self.homes[person] = int(home)
        await enter(self, interaction)
        return True

    async def make_home(self, person: int, guild_id: int) -> None:
        """From now on this person's direct messages belong to that server."""
        self.homes[person] = guild_id
        await self.services.store.set_state(f"home:{person}", str(guild_id))

    def dispatch(self, event_name: str, /, *args: Any, **kwargs: Any) -> None:
        if event_name == "message" and not self.first_time(args[0].id):
            return
        super().dispatch(event_name, *args, **kwargs)

    async def on_ready(self) -> None:
        log.info("ready as %s in %d servers", self.user, len(self.guilds))
        self.online.set()
        await self.board.start()
        keeping = self.get_cog("KeepingCog")
        if isinstance(keeping, KeepingCog):
            keeping.start(self)

    async def on_message(self, message: discord.Message, /) -> None:
        """No prefix commands: the cogs listen to messages themselves."""

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Answer for a button or form that nobody knows any more (a form from before a restart, an old button)."""
        if interaction.type not in (discord.InteractionType.component, discord.InteractionType.modal_submit):
            return
        await asyncio.sleep(ORPHANED_AFTER)
        if interaction.response.is_done() or interaction.id in self._seen:
            return
        if interaction.type is discord.InteractionType.modal_submit:
            await tell(interaction, "⚠️ Me reinicié mientras escribías. Abre el formulario otra vez, por favor.")
        else:
            await tell(interaction, "⚠️ Ese botón ya no sirve. Vuelve a pedirlo con el comando.")

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        log.exception("error in %s", event_method)

    # Life

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Discord wants 5 s between identifications; a compatible server of one's own does not."""
        if not initial and not self.services.settings.discord_gateway:
            await asyncio.sleep(5.0)

    async def run_forever(self, token: str) -> None:
        """Log in and stay connected until `close()`; retries while Discord cannot be reached at the start.

        Raises `discord.LoginFailure`, `discord.PrivilegedIntentsRequired`, or whatever broke the library's event
        parser: then this process cannot go on and must be started again.
        """
        backoff = discord.backoff.ExponentialBackoff()
        while True:
            try:
                await self.login(token)
                break
            except (OSError, aiohttp.ClientError, TimeoutError, discord.DiscordServerError) as error:
                delay = min(backoff.delay(), 30.0)
                log.warning("Discord does not answer (%s); trying again in %.1f s", error, delay)
                await asyncio.sleep(delay)
        while not self.is_closed():
            try:
                await self.connect()
                return
            except AttributeError as error:
                # discord.py asks for the session of a socket that never opened when the first connection fails.
                if self.ws is not None:
                    raise
                delay = min(backoff.delay(), 30.0)
                log.warning("the gateway does not answer (%s); trying again in %.1f s", error, delay)
                await asyncio.sleep(delay)

    async def close(self) -> None:
        """Let what people asked for come to its end, then go."""
        if self._handling and not self.is_closed():
            await asyncio.wait(self._handling, timeout=FAREWELL)
        for task in list(self._tasks):
            task.cancel()
        await self.board.close()
        await super().close()


class ShardedAfina(Afina, commands.AutoShardedBot):
    """The same bot over several connections, each of which hears of a part of the servers. One process, one store."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.shard_count = services.settings.shards or None  # type: ignore[assignment]  # None: discord.py asks Discord


def make_client(services: Services) -> Afina:
    """The client that the settings ask for."""
    return Afina(services) if services.settings.shards == 1 else ShardedAfina(services)
