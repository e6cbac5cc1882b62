"""A campaign of random kills over a stream of short jobs, and the audit: 0 lost, 0 doubled, 0 torn.

`python -m benchmarks.crash --folder DIR [--kills 500] [--seed 1]`. The same folder goes on where an interrupted
campaign stopped (`campaign.json`). Real processes: embedded Redis, a bot without Discord, two workers whose trainer is
the fake one of the tests (it sleeps, checkpoints and publishes). Victims, by a fixed mix: the bot, a worker, a worker's
child, Redis; a worker is also asked to leave, and Redis emptied. Prints one JSON object; exit code 1 when the audit
finds anything.
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
from dataclasses import dataclass, field
from pathlib import Path

import redis

from bot.records import Job, Owner
from jobs.contract import JobState
from tests.faults.stage import Stage

VICTIMS = {"bot": 30, "worker": 25, "child": 20, "redis": 15, "sigterm": 5, "flush": 5}
OPEN_JOBS = 4  # as many are open at any time
WORKERS = 2
OWNERS = [Owner(guild_id=1, user_id=number) for number in range(3)]
# Kills are far denser than in life: a job may die more often here before it counts as its own fault.
MAX_ATTEMPTS = 1000


@dataclass
class Campaign:
    """What has happened so far; kept in a file after every kill."""

    path: Path
    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    jobs: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def load(cls, path: Path, seed: int) -> Campaign:
        if not path.exists():
            return cls(path, seed)
        kept = json.loads(path.read_text())
        return cls(path, kept["seed"], Counter(kept["kills"]), kept["jobs"], kept["seconds"])

    def save(self) -> None:
        temporary = self.path.with_suffix(".tmp")
        kept = {"seed": self.seed, "kills": self.kills, "jobs": self.jobs, "seconds": self.seconds}
        temporary.write_text(json.dumps(kept))
        temporary.replace(self.path)

    @property
    def count(self) -> int:
        return sum(self.kills.values())


class Killer:
    def __init__(self, stage: Stage, campaign: Campaign) -> None:
        self.stage = stage
        self.campaign = campaign
        self.random = random.Random(f"{campaign.seed}-{campaign.count}")
        self.bot = self._bot()
        self.workers = [stage.start_worker() for _ in range(WORKERS)]

    def _bot(self) -> subprocess.Popen:
        return self.stage.start_bot(max_attempts=MAX_ATTEMPTS)

    async def top_up(self) -> None:
        """Keep people submitting."""
        while len(await self.stage.store.open_jobs()) < OPEN_JOBS:
            number = len(self.campaign.jobs)
            steps, pause = self.random.randint(2, 25), self.random.choice([0.005, 0.02, 0.05])
            owner = OWNERS[number % len(OWNERS)]
            job = await self.stage.submit(f"steps={steps}&pause={pause}", owner=owner, name=f"modelo {number}")
            self.campaign.jobs.append(job.id)

    async def kill_one(self) -> None:
        victim = self.random.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        act: dict[str, Callable[[], bool]] = {
            "bot": self._kill_bot,
            "worker": lambda: self._kill_worker(signal.SIGKILL),
            "sigterm": lambda: self._kill_worker(signal.SIGTERM),
            "child": self._kill_child,
            "redis": self._kill_redis,
            "flush": self._flush,
        }
        if await asyncio.to_thread(act[victim]):
            self.campaign.kills[victim] += 1
            self.campaign.save()

    def _kill_bot(self) -> bool:
        self.stage.kill(self.bot)
        time.sleep(self.random.random() * 0.5)
        self.bot = self._bot()
        return True

    def _kill_worker(self, number: int) -> bool:
        index = self.random.randrange(WORKERS)
        self.stage.kill(self.workers[index], number)
        time.sleep(self.random.random() * 0.3)
        self.workers[index] = self.stage.start_worker()
        return True

    def _kill_child(self) -> bool:
        children = [child for worker in self.workers for child in self.stage.horses(worker)]
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


async def run(folder: Path, *, kills: int, seed: int, show: Callable[[str], None] = lambda line: None) -> dict:
    """Kill so many times (those of earlier runs in this folder count), let everything end, audit."""
    folder.mkdir(parents=True, exist_ok=True)
    campaign = Campaign.load(folder / "campaign.json", seed)
    async with Stage.open(folder) as stage:
        killer = Killer(stage, campaign)
        for owner in OWNERS:  # also those that were submitted just before an interruption
            known = {job.id for job in await stage.store.jobs(owner)}
            campaign.jobs += sorted(known - set(campaign.jobs))
        while campaign.count < kills:
            started = time.monotonic()
            await killer.top_up()
            await asyncio.sleep(killer.random.random() * 0.8)
            await killer.kill_one()
            campaign.seconds += time.monotonic() - started
            if campaign.count % 25 == 0:
                show(f"{campaign.count} kills, {len(campaign.jobs)} jobs, {campaign.seconds:.0f} s")
        campaign.save()
        findings, states = await audit(stage, campaign)
    return {
        "kills": dict(campaign.kills),
        "total_kills": campaign.count,
        "jobs": len(campaign.jobs),
        "states": states,
        "seconds": round(campaign.seconds, 1),
        **{name: len(found) for name, found in findings.items()},
        "findings": findings,
    }


async def audit(stage: Stage, campaign: Campaign) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Wait for the end of every job; what is lost, doubled or torn, and how the jobs ended."""
    findings: dict[str, list[str]] = {"lost": [], "doubled": [], "torn": []}
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
    return findings, dict(states)


async def _examine(stage: Stage, job: Job, findings: dict[str, list[str]]) -> None:
    models = [model for model in await stage.store.models(job.owner) if model.job_id == job.id]
    results = [event for event in await stage.store.events(job.id) if event.type == "result"]
    if len(models) != 1 or len(results) != 1:
        findings["doubled" if models else "lost"].append(f"{job.id}: {len(models)} models, {len(results)} results")
        return
    weights = stage.artifacts.adapter(models[0].adapter_name) / "adapter_model.safetensors"
    if weights.read_bytes() != f"{job.id} {job.attempt}".encode() * 1000:
        findings["torn"].append(models[0].adapter_name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    def show(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    figures = asyncio.run(run(args.folder, kills=args.kills, seed=args.seed, show=show))
    print(json.dumps(figures, ensure_ascii=False))
    return 1 if figures["lost"] or figures["doubled"] or figures["torn"] else 0


if __name__ == "__main__":
    sys.exit(main())
