"""The engine's thread: takes requests in, moves the batches, hands tokens out.

Rule of this file: all torch work of serving happens on this one thread; what has to be computed beside it, such as
reading a base, happens on threads that end (`aside`). Others put requests into its inbox, set
`cancelled`, or ask it to call a function between two passes; it answers through `Request.deliver` and futures. A pass
that fails ends the requests of that batch with an error and never the thread.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from jobs.gpu.engine.batch import Batch, Delivery, Request

log = logging.getLogger(__name__)

T = TypeVar("T")


async def aside(function: Callable[..., T], *arguments: Any) -> T:
    """`asyncio.to_thread` for what computes with torch, on a thread that ends afterwards.

    OpenMP keeps a pool for each thread that has ever computed. With more of them than there are cores it lets them fall
    asleep between two products, and a step of the engine, which has hundreds of small ones, takes a third longer.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="afina-aside")
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)
    finally:
        pool.shutdown(wait=False)


class QueueFull(Exception):
    """More requests wait than the engine may keep waiting."""


class Loop:
    """Runs any number of batches (one a base) in turn on one thread."""

    def __init__(self, *, max_waiting: int = 256, cells: int = 65_536, prefill_tokens: int = 2048) -> None:
        self._inbox: queue.SimpleQueue[tuple[Batch, Request] | Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting: dict[Batch, deque[Request]] = {}
        self._max_waiting = max_waiting
        self._cells = cells
        self._prefill_tokens = prefill_tokens
        self._pending = 0  # submitted and not yet joined
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="afina-engine", daemon=True)

    def start(self, threads: int | None = None) -> None:
        """`threads`: of torch's own pool; None leaves its default."""
        if threads:
            torch.set_num_threads(threads)
        self._thread.start()

    def close(self) -> None:
        self._inbox.put(None)
        self._thread.join()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        return self._pending

    def submit(self, batch: Batch, request: Request) -> None:
        """Let `request` join `batch` as soon as there is room.

        Raises:
            QueueFull: too many wait already.
        """
        with self._lock:
            if self._pending >= self._max_waiting:
                raise QueueFull
            self._pending += 1
        self._inbox.put((batch, request))

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """Run `function` on this thread between two passes."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self._inbox.put(run)
        return future

    def idle(self, batch: Batch) -> bool:
        """No request runs or waits in `batch`; ask on this thread."""
        return batch.idle and not self._waiting.get(batch)

    def drop(self, batch: Batch, message: str) -> None:
        """End whatever runs and waits in `batch`; ask on this thread."""
        batch.fail(message)
        for request in self._waiting.pop(batch, ()):
            self._joined(1)
            request.deliver(Delivery(finish="error", error=message))

    def _run(self) -> None:
        while self._receive():
            for batch in [batch for batch in self._waiting if not self.idle(batch)]:
                try:
                    self._admit(batch)
                    if batch.rows:
                        batch.step()
                except Exception:
                    log.exception("a pass of the engine failed")
                    batch.fail("The engine failed while it computed this answer.")
            for batch in [batch for batch in self._waiting if self.idle(batch)]:
                del self._waiting[batch]

    def _receive(self) -> bool:
        """Empty the inbox, waiting only if there is nothing to do; False: the end."""
        while True:
            try:
                item = self._inbox.get(block=not self._waiting)
            except queue.Empty:
                return True
            if item is None:
                return False
            if callable(item):
                item()
            else:
                batch, request = item
                self._waiting.setdefault(batch, deque()).append(request)

    def _admit(self, batch: Batch) -> None:
        """Let waiting requests join, up to so many prompt tokens before the others get their next token."""
        waiting = self._waiting[batch]
        read = batch.read_on()
        while waiting and read < self._prefill_tokens:
            for request in [request for request in waiting if request.cancelled]:
                waiting.remove(request)
                self._joined(1)
                request.deliver(Delivery(finish="abort"))
            chosen = batch.admit(waiting, self._cells)
            if not chosen:
                return
            for request in chosen:
                waiting.remove(request)
            self._joined(len(chosen))
            try:
                read += batch.join(chosen)
            except Exception:
                for request in chosen:
                    if not batch.holds(request):
                        request.deliver(Delivery(finish="error", error="The engine could not read this prompt."))
                raise

    def _joined(self, count: int) -> None:
        with self._lock:
            self._pending -= count
