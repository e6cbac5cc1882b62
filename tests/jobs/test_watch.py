"""When a child has to be killed."""

import os

from jobs.attempt import EVENTS_FILE
from jobs.watch import Watch


def test_a_child_that_speaks_in_its_time_may_live(tmp_path):
    watch = Watch(tmp_path, timeout=60, hang_seconds=60)
    assert (watch.overdue(), watch.timed_out) == (None, False)


def test_who_was_asked_to_leave_has_so_long_and_no_longer(tmp_path):
    watch = Watch(tmp_path, timeout=60)
    watch.leave_within(0.0)
    watch.leave_within(30.0)
    assert "asked to stop" in watch.overdue()


def test_a_timeout_alone_is_the_childs_own_business(tmp_path):
    watch = Watch(tmp_path, timeout=0.0)
    assert (watch.overdue(), watch.timed_out) == (None, True)


def test_long_after_its_timeout_it_is_killed_even_if_it_speaks(tmp_path):
    watch = Watch(tmp_path, timeout=0.0, hang_seconds=0.0)
    (tmp_path / EVENTS_FILE).write_text("{}")
    assert "long over" in watch.overdue()


def test_silence_is_noticed_and_any_word_ends_it(tmp_path):
    watch = Watch(tmp_path, timeout=60, hang_seconds=0.001)
    watch.overdue()
    os.sched_yield()
    end = next(said for _ in range(10_000) if (said := watch.overdue()))
    assert "silent" in end
    (tmp_path / EVENTS_FILE).write_text("{}")
    assert watch.overdue() is None
