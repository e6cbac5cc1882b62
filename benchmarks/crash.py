"""A campaign of random kills over a stream of short jobs and chats, and the audit: 0 lost, 0 doubled, 0 torn.

`python -m benchmarks.crash --folder DIR [--kills 500] [--seed 1] [--engine] [--real 0.1 --pause 20]`. The same folder
goes on where an interrupted campaign stopped (`campaign.json`). Real processes: embedded Redis, the bot on the loopback
Discord, an engine, two workers. Victims, by a fixed mix: the bot, a worker, a worker's child, Redis, the engine; a
worker is also asked to leave, and Redis emptied. Meanwhile people ask for jobs and talk in threads, to a base and to
their own models.

The trainer is the fake one of the tests (it sleeps, checkpoints and publishes) and the engine one that speaks slowly;
with `--engine` it is the embedded engine on afina-mini, and `--real` is the share of jobs that really train afina-mini.
Prints one JSON object; exit code 1 when the audit finds anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import redis

from bot.records import Job, Owner
from jobs.contract import JobState
from playground import Limits, Playground
from tests.faults.cast import Cast
from tests.faults.stage import Stage

VICTIMS = {"bot": 28, "worker": 22, "child": 18, "redis": 12, "engine": 10, "sigterm": 5, "flush": 5}
OPEN_JOBS = 4  # as many are open at any time
WORKERS = 2


@dataclass(kw_only=True)
class Campaign:
    """What has happened so far; kept in a file after every kill."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    jobs: list[str] = field(default_factory=list)
    owners: list[tuple[int, int]] = field(default_factory=list)  # server and person, of every run
    chats: Counter[str] = field(default_factory=Counter)  # of the runs that came to their end
    findings: dict[str, list[str]] = field(default_factory=lambda: {"lost": [], "doubled": [], "torn": []})
    seconds: float = 0.0

    @classmethod
    def load(cls, path: Path, seed: int) -> Campaign:
        if not path.exists():
            return cls(seed=seed)
        kept = json.loads(path.read_text())
        return cls(**{**kept, "kills": Counter(kept["kills"]), "chats": Counter(kept["chats"])})

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(vars(self)))
        temporary.replace(path)

    @property
    def count(self) -> int:
        return sum(self.kills.values())


class Killer:
    """Keeps people submitting, and kills."""

    def __init__(self, cast: Cast, campaign: Campaign, *, real: float) -> None:
        self.cast = cast
        self.stage = cast.stage
        self.campaign = campaign
        self.real = real
        self.random = random.Random(f"{campaign.seed}-{campaign.count}")
        self.struck = False  # the last blow hit somebody

    async def top_up(self) -> None:
        while len(await self.stage.store.open_jobs()) < OPEN_JOBS:
            number = len(self.campaign.jobs)
            owner = self.cast.owners[number % len(self.cast.owners)]
            if self.random.random() < self.real:
                job = await self.stage.submit_real(owner=owner, name=f"modelo {number}")
            else:
                steps, pause = self.random.randint(2, 25), self.random.choice([0.005, 0.02, 0.05])
                job = await self.stage.submit(f"steps={steps}&pause={pause}", owner=owner, name=f"modelo {number}")
            self.campaign.jobs.append(job.id)

    async def kill_one(self) -> None:
        victim = self.random.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        act: dict[str, Callable[[], bool]] = {
            "bot": lambda: self._replace(self.cast.bots, self.cast.start_bot),
            "engine": self._kill_engine,
            "worker": lambda: self._replace(self.cast.workers, self.cast.start_worker),
            "sigterm": lambda: self._replace(self.cast.workers, self.cast.start_worker, signal.SIGTERM),
            "child": self._kill_child,
            "redis": self._kill_redis,
            "flush": self._flush,
        }
        self.struck = await asyncio.to_thread(act[victim])
        self.campaign.kills[victim] += self.struck

    def _replace(
        self,
        running: list[subprocess.Popen],
        start: Callable[[], subprocess.Popen],
        number: signal.Signals = signal.SIGKILL,
    ) -> bool:
        index = self.random.randrange(len(running))
        self.stage.kill(running[index], number)
        time.sleep(self.random.random() * 0.4)
        running[index] = start()
        return True

    def _kill_engine(self) -> bool:
        """Mostly one that answers by now: one that loads its model takes long to be worth a kill again."""
        if self.random.random() < 0.8 and not self.cast.engine_answers():
            return False
        return self._replace(self.cast.engines, self.cast.start_engine)

    def _kill_child(self) -> bool:
        children = [child for worker in self.cast.workers for child in self.stage.horses(worker)]
        return bool(children) and _kill(self.random.choice(children).pid)

    def _kill_redis(self) -> bool:
        pid = self.stage.redis.pid
        return pid is not None and _kill(pid)

    def _flush(self) -> bool:
        try:
            return bool(self.stage.client().flushall())
        except redis.RedisError:
            return False


def _kill(pid: int) -> bool:
    """False when it was quicker."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


async def run(
    folder: Path,
    *,
    kills: int,
    seed: int,
    engine: bool = False,
    real: float = 0.0,
    pause: float = 0.8,
    show: Callable[[str], None] = lambda line: None,
) -> dict:
    """Kill so many times (those of earlier runs in this folder count), let everything end, audit."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "campaign.json"
    campaign = Campaign.load(kept, seed)
    async with AsyncExitStack() as opened:
        place = await opened.enter_async_context(Playground(limits=Limits(enabled=False), acknowledge_within=60))
        stage = await opened.enter_async_context(Stage.open(folder))
        cast = Cast(stage, place, workers=WORKERS, real=real > 0, embedded_engine=engine)
        await cast.begin()
        opened.push_async_callback(cast.leave)
        campaign.owners += [(owner.guild_id, owner.user_id) for owner in cast.owners]
        for guild_id, user_id in campaign.owners:  # also jobs that were submitted just before an interruption
            known = {job.id for job in await stage.store.jobs(Owner(guild_id=guild_id, user_id=user_id))}
            campaign.jobs += sorted(known - set(campaign.jobs))
        killer = Killer(cast, campaign, real=real)
        while campaign.count < kills:
            started = time.monotonic()
            await killer.top_up()
            await asyncio.sleep(killer.random.random() * pause)
            await killer.kill_one()
            campaign.seconds += time.monotonic() - started
            campaign.save(kept)
            if campaign.count % 25 == 0 and killer.struck:
                show(f"{campaign.count} kills, {len(campaign.jobs)} jobs, {campaign.seconds:.0f} s")
        states = await audit(stage, campaign)
        await cast.audit_chats(campaign.findings, campaign.chats)
        campaign.save(kept)
    return {
        "kills": dict(campaign.kills),
        "total_kills": campaign.count,
        "jobs": len(campaign.jobs),
        "states": states,
        "chats": dict(campaign.chats),
        "seconds": round(campaign.seconds, 1),
        **{name: len(found) for name, found in campaign.findings.items()},
        "findings": campaign.findings,
    }


async def audit(stage: Stage, campaign: Campaign) -> dict[str, int]:
    """Wait for the end of every job; what is lost, doubled or torn, and how the jobs ended."""
    findings = campaign.findings
    states: Counter[str] = Counter()
    for job_id in campaign.jobs:
        job = await stage.until_state(await stage.store.job(job_id), *(s for s in JobState if s.terminal))
        states[job.state] += 1
        if job.state is not JobState.SUCCEEDED:
            findings["lost"].append(f"{job_id}: {job.state} {job.error}")
            continue
        await _examine(stage, job, findings)
    for path in (stage.folder / "adapters").iterdir():
        if not path.name.startswith(".tmp-") and stage.artifacts.manifest(path.name) is None:
            findings["torn"].append(path.name)
    return dict(states)


async def _examine(stage: Stage, job: Job, findings: dict[str, list[str]]) -> None:
    models = [model for model in await stage.store.models(job.owner) if model.job_id == job.id]
    results = [event for event in await stage.store.events(job.id) if event.type == "result"]
    if len(models) != 1 or len(results) != 1:
        findings["doubled" if models else "lost"].append(f"{job.id}: {len(models)} models, {len(results)} results")
    elif not stage.whole(job, models[0]):
        findings["torn"].append(models[0].adapter_name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", action="store_true", help="the embedded engine, on afina-mini")
    parser.add_argument("--real", type=float, default=0.0, help="share of jobs that train afina-mini, 0 to 1")
    parser.add_argument("--pause", type=float, default=0.8, help="seconds between two kills, at most")
    args = parser.parse_args()

    def show(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    options = {name: getattr(args, name) for name in ("kills", "seed", "engine", "real", "pause")}
    figures = asyncio.run(run(args.folder, **options, show=show))
    print(json.dumps(figures, ensure_ascii=False))
    return 1 if figures["lost"] or figures["doubled"] or figures["torn"] else 0


if __name__ == "__main__":
    sys.exit(main())
