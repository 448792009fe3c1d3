"""Jobs in processes of their own, some at a time, with one bar for all of them."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, TypeVar

from fedliver.errors import FedLiverError
from fedliver.watch import Silent, Watcher, report

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import SynchronizedArray

Job = TypeVar("Job")
Result = TypeVar("Result")
_LOOK_SECONDS = 0.5

_parts: "SynchronizedArray[float] | None" = None
"""In a worker process: how far every job is."""


def side_by_side(work: Callable[[Job, Watcher], Result], jobs: Sequence[Job], workers: int, watcher: Watcher) -> Iterator[Result]:
    """What ``work`` makes of every job, as it is ready. ``work`` is sent to the processes: it must be picklable.

    Raises
    ------
    FedLiverError
        What ``work`` raises; ``worker-died`` where a process ended of itself.
    Cancelled
        The watcher wished so; the processes are gone.
    """
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")
    parts = context.Array("d", len(jobs))
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_keep, initargs=(parts,))
    try:
        waiting = {pool.submit(_aside, work, job, number) for number, job in enumerate(jobs)}
        while waiting:
            done, waiting = wait(waiting, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            report(watcher, f"{len(jobs) - len(waiting)} of {len(jobs)} arms", min(1.0, sum(parts[:]) / len(jobs)))
            yield from (one.result() for one in done)
    except BrokenProcessPool as error:
        raise FedLiverError("worker-died", "A process of the study ended, probably for want of memory: go on with fewer --workers.") from error
    finally:
        # Nobody waits for arms that nobody wants any more.
        for child in multiprocessing.active_children():
            child.terminate()
        pool.shutdown(cancel_futures=True)


def _keep(parts: "SynchronizedArray[float]") -> None:
    global _parts
    _parts = parts


def _aside(work: Callable[[Job, Watcher], Result], job: Job, number: int) -> Result:
    told = _Told(number)
    result = work(job, told)
    told.report("", 1.0)
    return result


class _Told(Silent):
    """In a worker process: tells the one that waits how far a job is."""

    def __init__(self, number: int) -> None:
        self._number = number

    def report(self, phase: str, fraction: float) -> None:
        if _parts is not None:
            _parts[self._number] = fraction
