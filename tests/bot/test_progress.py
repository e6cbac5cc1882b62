"""What people see of a job, and the feed that keeps it true."""

import pytest

from bot.progress import CURSOR, ProgressFeed, view
from bot.store import Store
from jobs.attempt import EventWriter, connect
from jobs.contract import Event, EventType, JobState, Phase
from jobs.errors import QueueUnavailable
from jobs.queue import Queue
from jobs.redis_server import RedisServer
from tests.bot.test_scheduler import job as plain_job
from tests.bot.test_scheduler import submit


def job(state=JobState.RUNNING, phase=Phase.TRAINING, step=0, total=0, **changes):
    from dataclasses import replace

    return replace(plain_job(1), state=state, phase=phase, step=step, total_steps=total, **changes)


def metrics(step: int, at: float = 100.0, **data) -> Event:
    return Event(
        job_id="trabajo1", attempt=1, seq=step + 1, created_at=at, type=EventType.METRICS,
        data={"step": step, "total_steps": 100, **data},
    )  # fmt: skip


class TestWords:
    @pytest.mark.parametrize(
        ("job", "position", "status"),
        [
            (job(JobState.QUEUED), 0, "en cola"),
            (job(JobState.QUEUED), 2, "en cola (2.º)"),
            (job(JobState.DISPATCHED), 1, "en cola (1.º)"),
            (job(phase=None), 0, "arrancando"),
            (job(phase=Phase.LOADING), 0, "cargando el modelo base"),
            (job(step=120, total=300), 0, "entrenando 120/300"),
            (job(phase=Phase.EVALUATING, step=300, total=300), 0, "evaluando"),
            (job(cancel_requested=True), 0, "cancelándose"),
            (job(pause_requested=True), 0, "guardando el avance para la pausa"),
            (job(JobState.PAUSED, step=4, total=9), 0, "en pausa en el paso 4/9"),
            (job(JobState.SUCCEEDED), 0, "terminado"),
            (job(JobState.CANCELLED), 0, "cancelado"),
            (job(JobState.FAILED, error={"message": "no cabe."}), 0, "ha fallado: no cabe."),
        ],
    )
    def test_say_what_a_job_is_doing(self, job, position, status):
        assert view(job, [], position=position).status == status


class TestNumbers:
    def test_the_bar_shows_training_steps_and_nothing_before_there_are_any(self):
        assert view(job(phase=Phase.LOADING), []).bar is None
        assert view(job(step=30, total=100), []).bar == pytest.approx(0.3)
        assert view(job(phase=Phase.EVALUATING, step=100, total=100), []).bar == 1.0
        assert view(job(JobState.PAUSED, phase=None, step=30, total=100), []).bar == pytest.approx(0.3)

    def test_the_eta_counts_down_between_reports_and_ends_with_training(self):
        events = [metrics(1, at=100.0, eta_seconds=60.0)]
        assert view(job(step=1, total=100), events, now=110.0).eta_seconds == 50.0
        assert view(job(step=1, total=100), events, now=500.0).eta_seconds == 0.0
        assert view(job(phase=Phase.EVALUATING, step=100, total=100), events, now=110.0).eta_seconds is None

    def test_the_series_are_by_step_and_a_repeated_step_counts_once(self):
        events = [metrics(1, loss=3.0), metrics(2, loss=2.0, eval_loss=2.5), metrics(1, loss=2.9), metrics(3)]
        found = view(job(step=3, total=100), events)
        assert found.losses == ((1, 2.9), (2, 2.0))
        assert found.eval_losses == ((2, 2.5),)

    def test_a_long_curve_is_thinned_and_keeps_its_shape(self):
        events = [metrics(step, loss=float(1000 - step)) for step in range(1000)]
        line = view(job(step=999, total=1000), events).sparkline
        assert len(line) == 32
        assert line == tuple(sorted(line, reverse=True))

    def test_garbled_metrics_are_left_out(self):
        broken = metrics(1).model_copy(update={"data": {"step": "x"}})
        assert view(job(step=1, total=100), [broken, metrics(2, loss=1.0)]).losses == ((2, 1.0),)


def falling(count: int = 30, start: float = 3.0, end: float = 1.0):
    return tuple((step, start + (end - start) * step / (count - 1)) for step in range(count))


class TestTheFeed:
    @pytest.fixture
    async def store(self, tmp_path):
        async with Store.open(tmp_path / "db") as store:
            yield store

    @pytest.fixture
    def server(self, tmp_path):
        with RedisServer(tmp_path / "redis") as server:
            yield server

    @pytest.fixture
    def feed(self, store, server):
        return ProgressFeed(store, Queue(server.url))

    async def test_applies_events_and_tells_whoever_asked(self, feed, store, server, tmp_path):
        told = []

        async def listen(job):
            told.append((job.state, job.phase))

        async def broken(job):
            raise RuntimeError("a card that cannot be edited")

        feed.subscribe(broken)
        feed.subscribe(listen)
        submitted = await submit(store)
        writer = EventWriter(tmp_path / "work", server.url, submitted.id, 1)
        writer.emit("phase", phase="loading")
        writer.emit("heartbeat")
        writer.close()
        assert await feed.step() == 2
        assert told == [(JobState.RUNNING, Phase.LOADING)]
        assert await feed.step(block_ms=0) == 0

    async def test_goes_on_where_the_bot_before_it_stopped(self, feed, store, server, tmp_path):
        submitted = await submit(store)
        writer = EventWriter(tmp_path / "work", server.url, submitted.id, 1)
        writer.emit("phase", phase="loading")
        await feed.step()
        writer.emit("phase", phase="training")
        assert await ProgressFeed(store, Queue(server.url)).step() == 1
        writer.close()
        assert (await store.job(submitted.id)).phase is Phase.TRAINING

    async def test_events_that_are_read_twice_count_once(self, feed, store, server, tmp_path):
        submitted = await submit(store)
        writer = EventWriter(tmp_path / "work", server.url, submitted.id, 1)
        for step in range(5):
            writer.emit("metrics", step=step, total_steps=5)
        writer.close()
        await feed.step()
        await store.set_state(CURSOR, "0")  # as after a crash before the cursor was kept
        await feed.step()
        assert len(await store.events(submitted.id)) == 5

    async def test_a_flushed_stream_is_read_on(self, feed, store, server, tmp_path):
        submitted = await submit(store)
        writer = EventWriter(tmp_path / "work", server.url, submitted.id, 1)
        writer.emit("phase", phase="loading")
        await feed.step()
        connect(server.url).flushall()
        writer.emit("phase", phase="training")
        writer.close()
        await feed.step()
        assert (await store.job(submitted.id)).phase is Phase.TRAINING

    async def test_waits_for_a_redis_that_is_away(self, feed, server):
        server.stop()
        with pytest.raises(QueueUnavailable):
            await feed.step()
