"""What was deleted for good: nothing of it stays in Redis or in the work folders of any worker.

Rule of this file: the bot says which jobs are to be forgotten (`forget`), Redis remembers their ids for a while, and
every worker clears its own disk of them (`clear_work`). An attempt that a living process holds is left until it ends.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import redis

from jobs.attempt import ERASED, KEEP_SECONDS, STREAM, hold
from jobs.contract import JOB_ID_PATTERN

_TRIES = 20  # of rewriting the stream while workers write to it


def erased_jobs(connection: redis.Redis) -> list[str]:
    """Ids of the jobs that no worker may keep anything of."""
    found: Any = connection.zrange(ERASED, 0, -1)
    return [job_id for raw in found if re.match(JOB_ID_PATTERN, job_id := raw.decode("utf-8", "replace"))]


def clear_work(data: Path, job_id: str) -> bool:
    """Delete the work folders of a job on this machine; False while one of them is in use."""
    folder = data / "jobs" / job_id
    clear = True
    for attempt in sorted(folder.glob("[0-9]*")):
        with hold(attempt) as free:
            clear = clear and free
    if clear:
        shutil.rmtree(folder, ignore_errors=True)
    return clear


def forget(connection: redis.Redis, job_ids: Collection[str]) -> None:
    """Take everything about these jobs out of Redis: keys, places in queues and registries, events.

    The file that Redis appends to is rewritten, where its rules let us, so that it does not hold them either. Raises
    redis.RedisError.
    """
    now = time.time()
    connection.zadd(ERASED, dict.fromkeys(job_ids, now))
    connection.zremrangebyscore(ERASED, 0, now - KEEP_SECONDS)
    marks = [job_id.encode() for job_id in job_ids]
    for key in list(connection.scan_iter("rq:*", count=1000)) + list(connection.scan_iter("afina:*", count=1000)):
        if any(mark in key for mark in marks):
            connection.unlink(key)
        elif key.startswith(b"rq:"):
            _forget_members(connection, key, marks)
    _forget_events(connection, marks)
    with contextlib.suppress(redis.ResponseError):  # one is being written, or it is not ours to ask for
        connection.bgrewriteaof()


def _forget_members(connection: redis.Redis, key: bytes, marks: Collection[bytes]) -> None:
    """Out of the lists and sets of RQ."""
    kind: Any = connection.type(key)
    found: Any = []
    if kind == b"list":
        found = connection.lrange(key, 0, -1)
    elif kind == b"zset":
        found = connection.zrange(key, 0, -1)
    elif kind == b"set":
        found = connection.smembers(key)
    for member in [one for one in found if any(mark in one for mark in marks)]:
        if kind == b"list":
            connection.lrem(key, 0, member)
        elif kind == b"zset":
            connection.zrem(key, member)
        else:
            connection.srem(key, member)


def _forget_events(connection: redis.Redis, marks: Collection[bytes]) -> None:
    """Out of the stream. A deleted entry stays in its block until all of the block is, so the stream is made anew."""
    for _ in range(_TRIES):
        with connection.pipeline(transaction=True) as pipeline:
            pipeline.watch(STREAM)  # type: ignore[no-untyped-call]
            entries: Any = pipeline.xrange(STREAM)
            kept = [entry for entry in entries if not any(mark in _text(entry) for mark in marks)]
            if len(kept) == len(entries):
                return
            pipeline.multi()
            pipeline.delete(STREAM)
            for entry_id, fields in kept:
                pipeline.xadd(STREAM, fields, id=entry_id)
            with contextlib.suppress(redis.WatchError):
                pipeline.execute()
                return


def _text(entry: tuple[bytes, dict[bytes, bytes]]) -> bytes:
    return b"\n".join(entry[1].values())
