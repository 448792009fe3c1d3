"""One piece of work at a time: what is said and done however it ends, what stops for it first, and looks aside. Without Slicer and without a window."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fedliver.errors import Cancelled, FedLiverError
from fedliver.slicer.background import Snapshot
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_state import Tone, Work


class ByHand:
    """A job that ends when a test says so. ``task`` is what a worker thread would do."""

    def __init__(self, task: Callable[[Any], Any]) -> None:
        self.task = task
        self.ending: Snapshot[Any] = Snapshot("", 0.0)

    def poll(self) -> Snapshot[Any]:
        return self.ending

    def cancel(self) -> None:
        self.ending = Snapshot("", 0.0, True, None, Cancelled(""))


class Bench:
    """A session whose jobs lie open, and what was told of the work."""

    def __init__(self) -> None:
        self.jobs: list[ByHand] = []
        self.told: list[Any] = []
        self.session = PanelSession(start_job=self._start)

    def _start(self, task: Callable[[Any], Any]) -> ByHand:
        self.jobs.append(ByHand(task))
        return self.jobs[-1]

    def run(self, finish: Callable[[Any], Iterator[None] | None], **more: Any) -> ByHand:
        self.session.run(Work.SEGMENT, lambda _watcher: None, finish, ended=lambda: self.told.append("ended"), **more)
        return self.jobs[-1]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def done(result: Any = None, error: BaseException | None = None) -> Snapshot[Any]:
    return Snapshot("", 1.0, True, result, error)


def test_work_has_ended_when_the_last_step_of_its_result_is_shown(bench: Bench) -> None:
    def show(result: Any) -> Iterator[None]:
        bench.told.append(result)
        yield
        bench.told.append("shown")

    job = bench.run(show)
    bench.session.tick()
    assert bench.told == []
    job.ending = done("a result")
    bench.session.tick()
    assert (bench.told, bench.session.working) == (["a result"], True)
    bench.session.tick()
    assert (bench.told, bench.session.working) == (["a result", "shown", "ended"], False)
    bench.session.tick()
    assert bench.told.count("ended") == 1


def test_after_an_error_it_is_told_in_words_before_the_work_has_ended(bench: Bench) -> None:
    job = bench.run(bench.told.append)
    bench.session.tick()
    job.ending = done(error=FedLiverError("no-ct", "This is no CT: choose another."))
    bench.session.tick()
    assert bench.told == ["ended"]
    assert (bench.session.state.notice.sentence, bench.session.state.busy) == ("This is no CT: choose another.", False)


def test_a_result_that_cannot_be_shown_ends_the_work_once_and_is_told(bench: Bench) -> None:
    def fails(_result: Any) -> None:
        raise MemoryError

    bench.run(fails).ending = done()
    bench.session.tick()
    assert bench.told == ["ended"]
    assert "not enough memory" in bench.session.state.notice.sentence
    assert not bench.session.state.busy


def test_what_is_abandoned_has_ended_and_its_result_is_not_looked_at(bench: Bench) -> None:
    job = bench.run(bench.told.append)
    bench.session.abandon()
    assert bench.told == ["ended"]
    assert isinstance(job.ending.error, Cancelled)
    bench.session.tick()
    bench.session.close()
    assert bench.told == ["ended"]


@pytest.mark.parametrize(("stopped", "words"), [("Stopped. The first half stays.", "Stopped. The first half stays."), ("", "Cancelled. Nothing was changed.")])
def test_work_that_was_cancelled_says_what_stays_of_it(bench: Bench, stopped: str, words: str) -> None:
    bench.run(bench.told.append, stopped=stopped)
    bench.session.cancel()
    bench.session.tick()
    assert (bench.session.state.notice.sentence, bench.session.state.notice.tone) == (words, Tone.INFORMATION)
    bench.run(bench.told.append)
    bench.session.cancel()
    bench.session.tick()
    assert bench.session.state.notice.sentence == "Cancelled. Nothing was changed.", "the words went with their work"


def test_what_runs_of_its_own_accord_is_stopped_at_once_and_waited_for_in_the_worker(bench: Bench) -> None:
    order: list[str] = []

    def stop() -> Callable[[], None]:
        order.append("asked to stop")
        return lambda: order.append("has stopped")

    bench.session.stops_first(stop)
    bench.session.stops_first(lambda: None)
    bench.session.run(Work.SEGMENT, lambda watcher: order.append(f"begins with {watcher}"), bench.told.append)
    assert order == ["asked to stop"]
    bench.jobs[0].task("a watcher")
    assert order == ["asked to stop", "has stopped", "begins with a watcher"]


def test_a_newer_look_takes_the_place_of_an_older_one_and_a_dropped_one_is_not_heard(bench: Bench) -> None:
    session, go_on = bench.session, threading.Event()
    session.look_aside("counts", lambda _watcher: go_on.wait(60), lambda _seen: bench.told.append("old"), looks=0)
    assert session.is_looking("counts")
    assert session.needs_ticks
    assert not session.working
    session.look_aside("counts", lambda _watcher: 3, bench.told.append, looks=0)
    while session.is_looking("counts"):
        session.tick()
    session.look_aside("counts", lambda _watcher: go_on.wait(60), bench.told.append, looks=0)
    session.drop_looks("counts", "another")
    go_on.set()
    session.tick()
    assert (bench.told, session.needs_ticks) == ([3], False)
