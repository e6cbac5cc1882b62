"""An attempt's event file is the truth; Redis gets copies."""

import math
import os
import resource
import signal

import pytest

from jobs.attempt import Control, EventWriter, connect, hold, read_event_file, stop_key
from jobs.contract import EventType
from jobs.queue import Queue


@pytest.fixture
def writer(tmp_path, redis_server):
    writer = EventWriter(tmp_path / "work", redis_server.url, "trabajo", 1)
    yield writer
    writer.close()


def types(events) -> list[str]:
    return [event.type.value for event in events]


def carried(server) -> list[int]:
    return [event.seq for _, event in Queue(server.url).read_events("0", 1)]


def test_events_are_in_the_file_and_in_the_stream(writer, redis_server, tmp_path):
    writer.emit("phase", phase="starting")
    writer.emit("failed", "No pudo ser.", "error", code="x", hint="y")
    events = read_event_file(tmp_path / "work")
    assert events == [event for _, event in Queue(redis_server.url).read_events("0", 1)]
    assert [event.seq for event in events] == [1, 2]
    assert events[1].data == {"code": "x", "message": "No pudo ser.", "hint": "y"}


def test_numbers_that_json_does_not_know_become_none(writer):
    event = writer.emit("metrics", step=1, total_steps=2, loss=math.nan, grad_norm=math.inf)
    assert (event.data["loss"], event.data["grad_norm"], event.data["step"]) == (None, None, 1)


def test_a_writer_goes_on_where_another_stopped(writer, tmp_path, redis_server):
    writer.emit("phase", phase="starting")
    later = EventWriter(tmp_path / "work", redis_server.url, "trabajo", 1)
    assert later.emit("heartbeat").seq == 2
    later.close()
    assert carried(redis_server) == [1, 2]


@pytest.mark.parametrize("torn", [b'{"object":"fine_tuning', b"\xff\xfe", b"{}\n"])
def test_a_line_torn_by_a_crash_is_cut_off(tmp_path, torn):
    first = EventWriter(tmp_path, None, "trabajo", 1)
    first.emit("phase", phase="starting")
    first.close()
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(torn)
    second = EventWriter(tmp_path, None, "trabajo", 1)
    second.emit("message", "sigo")
    second.close()
    assert [(event.seq, event.type.value) for event in read_event_file(tmp_path)] == [(1, "phase"), (2, "message")]


def test_a_whole_event_without_its_line_end_is_torn_too(tmp_path):
    first = EventWriter(tmp_path, None, "trabajo", 1)
    first.emit("phase", phase="starting")
    first.emit("message", "medio")
    first.close()
    path = tmp_path / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    second = EventWriter(tmp_path, None, "trabajo", 1)
    assert second.emit("message", "entero").seq == 2
    second.close()
    assert [event.message for event in read_event_file(tmp_path)] == ["", "entero"]


def test_what_redis_missed_or_lost_is_sent_again(writer, redis_server):
    writer.emit("phase", phase="starting")
    connect(redis_server.url).flushall()
    writer.emit("phase", phase="loading")
    assert carried(redis_server) == [1, 2]
    connect(redis_server.url).flushall()
    assert writer.flush()
    assert carried(redis_server) == [1, 2]


def test_without_redis_nothing_is_raised_and_the_file_is_complete(tmp_path):
    with EventWriter(tmp_path, f"unix://{tmp_path}/nobody.sock", "trabajo", 1, heartbeat_seconds=0.05) as writer:
        for step in range(20):
            writer.emit("metrics", step=step, total_steps=20)
        writer.emit("stopped", kind="paused", step=20)
    assert types(read_event_file(tmp_path))[-1] == "stopped"


def test_on_a_full_disk_nothing_half_is_written_and_the_last_word_is_still_heard(tmp_path, redis_server):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = EventWriter(tmp_path, redis_server.url, "trabajo", 1)
    writer.emit("phase", phase="training")
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "events.jsonl").stat().st_size + 20, limit[1]))
    try:
        with pytest.raises(OSError):
            writer.emit("metrics", step=1, total_steps=2)
        with pytest.raises(OSError):
            writer.emit("failed", "No queda disco.", "error", code="disk", hint="")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
        writer.close()
    assert types(read_event_file(tmp_path)) == ["phase"]
    assert (tmp_path / "events.jsonl").read_bytes().count(b"\n") == 1
    assert types(event for _, event in Queue(redis_server.url).read_events("0", 1)) == ["phase", "failed"]


def test_heartbeats_come_while_nothing_is_said(tmp_path, redis_server):
    queue, cursor, beats = Queue(redis_server.url), "0", 0
    with EventWriter(tmp_path, redis_server.url, "trabajo", 1, heartbeat_seconds=0.02):
        while beats < 3:
            entries = queue.read_events(cursor, 1000)
            beats += sum(event.type is EventType.HEARTBEAT for _, event in entries)
            cursor = entries[-1][0] if entries else cursor


def test_a_folder_is_held_by_one_process(tmp_path):
    with hold(tmp_path) as mine:
        assert mine
        child = os.fork()
        if child == 0:
            with hold(tmp_path) as also:
                os._exit(3 if also else 4)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    with hold(tmp_path) as again:
        assert again


class TestControl:
    @pytest.fixture(autouse=True)
    def signals(self):
        before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
        yield
        for number, handler in before.items():
            signal.signal(number, handler)

    def test_says_nothing_when_nothing_is_asked(self, redis_server):
        assert Control(redis_server.url, "trabajo", 1).requested() is None

    @pytest.mark.parametrize("kind", ["cancelled", "paused"])
    def test_sees_the_flag_of_its_own_attempt(self, redis_server, kind):
        control = Control(redis_server.url, "trabajo", 1, poll_seconds=0)
        connect(redis_server.url).set(stop_key("trabajo", 2), kind)
        assert control.requested() is None
        connect(redis_server.url).set(stop_key("trabajo", 1), kind)
        assert control.requested() == kind

    def test_a_signal_makes_it_look_at_once(self, redis_server):
        control = Control(redis_server.url, "trabajo", 1, poll_seconds=3600)
        assert control.requested() is None
        connect(redis_server.url).set(stop_key("trabajo", 1), "paused")
        assert control.requested() is None
        os.kill(os.getpid(), signal.SIGUSR2)
        assert control.requested() == "paused"

    def test_a_machine_that_goes_away_interrupts_but_a_persons_wish_counts_more(self, redis_server):
        control = Control(redis_server.url, "trabajo", 1, poll_seconds=3600)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert control.requested() == "interrupted"
        connect(redis_server.url).set(stop_key("trabajo", 1), "cancelled")
        assert control.requested() == "cancelled"

    @pytest.mark.parametrize("url", [None, "unix:///nobody/here.sock"])
    def test_works_as_far_as_it_can_without_redis(self, url):
        control = Control(url, "trabajo", 1)
        assert control.requested() is None
        os.kill(os.getpid(), signal.SIGUSR1)
        assert control.requested() == "interrupted"

    def test_a_flag_that_says_nonsense_is_no_flag(self, redis_server):
        connect(redis_server.url).set(stop_key("trabajo", 1), "explode")
        assert Control(redis_server.url, "trabajo", 1).requested() is None
