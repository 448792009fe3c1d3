"""Work beside the window: one worker thread that computes on arrays, asked by a timer how far it is.

Slicer's window holds Python's global lock (the GIL) while it waits for events: PythonQt never releases it. A worker thread would
stand still until Python code happens to run in the window. So :meth:`Job.poll`, which a timer calls in the window's thread, *lends*
the lock: it waits a few milliseconds without holding it. The window stays alive between the waits, and the worker gets its share.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fedliver.errors import Cancelled
from fedliver.watch import Watcher

T = TypeVar("T")

POLL_MILLISECONDS = 5
LEND_SECONDS = 0.02
_LOWER_PRIORITY = 5


@dataclass(frozen=True)
class Snapshot(Generic[T]):
    """How work stands. ``error`` is set when it ended without a result; :class:`Cancelled` among them."""

    phase: str
    fraction: float
    finished: bool = False
    result: T | None = None
    error: BaseException | None = None


class Job(Protocol[T]):
    """Seam between the panel and whatever does the work."""

    def poll(self) -> Snapshot[T]:
        """How far it is. Called by a timer in the window's thread; returns within some 20 ms."""

    def cancel(self) -> None:
        """Ask it to stop at the next safe place; returns at once."""


class ThreadJob(Generic[T]):
    """Runs ``work`` in a thread, at once. ``work`` gets a watcher and must touch neither Qt nor MRML.

    Example
    -------
    >>> job = ThreadJob(lambda watcher: segment(teacher, ct, watcher))   # doctest: +SKIP

    ``gentle``: at a lower priority, where the system has one per thread (Linux); torch's own threads, which this one starts, have it from it.
    """

    def __init__(self, work: Callable[[Watcher], T], lend_seconds: float = LEND_SECONDS, *, gentle: bool = False) -> None:
        self._work = work
        self._gentle = gentle
        self._lend_seconds = lend_seconds
        self._progress: tuple[str, float] = ("", 0.0)
        self._stop = threading.Event()
        self._finished = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fedliver-work", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if self._gentle:
            _step_back()
        try:
            self._result = self._work(self)
        except BaseException as error:  # it belongs to the one who polls
            self._error = error
        finally:
            self._finished.set()

    # The worker's side: a Watcher.
    def report(self, phase: str, fraction: float) -> None:
        self._progress = (phase, fraction)

    def cancelled(self) -> bool:
        return self._stop.is_set()

    # The window's side: a Job.
    def poll(self) -> Snapshot[T]:
        self._finished.wait(self._lend_seconds)
        phase, fraction = self._progress
        if not self._finished.is_set():
            return Snapshot(phase, fraction)
        error = self._error
        if error is None and self._stop.is_set():
            error = Cancelled(phase)  # it was too late to stop, but the user does not want the result any more
        return Snapshot(phase, fraction, True, None if error else self._result, error)

    def cancel(self) -> None:
        self._stop.set()

    def wait(self) -> None:
        """Until it has ended, with or without a result: for another worker."""
        self._finished.wait()


def _step_back() -> None:
    """The calling thread lets others go first, but not all others: the window waits for it whenever it holds Python's lock."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWER_PRIORITY)
