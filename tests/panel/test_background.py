"""Work beside the window: the worker gets on, cancel is heard, and the window's thread never waits long."""

import ctypes
import threading
import time
from collections.abc import Callable

import pytest

from fedliver.errors import Cancelled, FedLiverError
from fedliver.slicer.background import Snapshot, ThreadJob
from fedliver.watch import Watcher, report


def finish(job: ThreadJob, seconds: float = 60.0) -> Snapshot:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        snapshot = job.poll()
        if snapshot.finished:
            return snapshot
    pytest.fail("the job did not end")


def test_the_result_comes_with_the_last_progress() -> None:
    def work(watcher: Watcher) -> int:
        report(watcher, "Liver", 0.7)
        return 42

    snapshot = finish(ThreadJob(work))
    assert (snapshot.result, snapshot.error, snapshot.phase, snapshot.fraction) == (42, None, "Liver", 0.7)


def test_what_the_work_raises_is_handed_over_and_not_lost_in_a_thread() -> None:
    def work(watcher: Watcher) -> None:
        raise FedLiverError("not-a-ct", "This is no CT.")

    error = finish(ThreadJob(work)).error
    assert isinstance(error, FedLiverError)


def test_cancel_reaches_the_work_and_ends_it() -> None:
    began = threading.Event()

    def work(watcher: Watcher) -> None:
        began.set()
        while True:
            report(watcher, "Liver", 0.1)
            time.sleep(0.001)

    job = ThreadJob(work)
    assert began.wait(60)
    job.cancel()
    assert isinstance(finish(job).error, Cancelled)


def test_a_result_that_came_after_cancel_is_not_used() -> None:
    go = threading.Event()
    job = ThreadJob(lambda watcher: go.wait(60) and 42)
    job.cancel()
    go.set()
    snapshot = finish(job)
    assert snapshot.result is None
    assert isinstance(snapshot.error, Cancelled)


def test_a_poll_returns_while_the_work_goes_on() -> None:
    go = threading.Event()
    job = ThreadJob(lambda watcher: go.wait(60), lend_seconds=0.02)
    for _ in range(10):
        assert not job.poll().finished
    go.set()
    assert finish(job).result is True


def window_that_holds_the_gil(job: ThreadJob, turns: int, poll: Callable[[], Snapshot]) -> Snapshot:
    """Slicer's event loop as a worker sees it: between two timer ticks PythonQt holds the GIL. ``PyDLL`` does not let go of it either."""
    holding = ctypes.PyDLL(None)
    snapshot = poll()
    for _ in range(turns):
        holding.usleep(5000)
        snapshot = poll()
        if snapshot.finished:
            break
    return snapshot


def counting(watcher: Watcher) -> int:
    """A worker as torch is one: many short steps, each of which lets go of the GIL."""
    for n in range(150):
        report(watcher, "Liver", n / 150)
        time.sleep(0.0005)
    return 150


@pytest.mark.skipif(not hasattr(ctypes.PyDLL(None), "usleep"), reason="no usleep on this platform")
def test_the_worker_gets_on_although_the_window_holds_the_gil() -> None:
    job = ThreadJob(counting, lend_seconds=0.02)
    assert window_that_holds_the_gil(job, 60, job.poll).finished

    starved = ThreadJob(counting, lend_seconds=0.0)
    assert not window_that_holds_the_gil(starved, 60, starved.poll).finished, "without lending there is nothing to prove"
    starved.cancel()
    finish(starved)
