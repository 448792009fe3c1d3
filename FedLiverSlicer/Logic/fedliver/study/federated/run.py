"""A whole study: every arm with every seed that is not there yet."""

import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from fedliver.errors import FedLiverError
from fedliver.study.federated.arm_run import run_arm
from fedliver.study.federated.engine import Engine, InProcess
from fedliver.study.federated.prepared import prepare
from fedliver.study.federated.reading import reader_of
from fedliver.study.federated.results import ArmResult, ResultFolder
from fedliver.study.federated.site_work import SiteWork
from fedliver.study.federated.task import Arm, Task
from fedliver.teacher.device import PROCESSOR, Device
from fedliver.watch import Silent, Watcher, report

PREPARED, SCRATCH = "prepared", "scratch"
Job = tuple[Arm, int]


def run_study(task: Task, out: Path, engine: Engine, watcher: Watcher, workers: int = 1, device: Device = PROCESSOR) -> Iterator[ArmResult]:
    """Results as they are ready. What ``out`` holds from an earlier run of the same task is not run again.

    Parameters
    ----------
    workers:
        Arms at a time, each in a process of its own; only with the in-process engine.
    device:
        Where networks run.

    Raises
    ------
    FedLiverError
        ``other-study``, ``no-data`` and what the readers, the arms and the engine raise.
    """
    folder = ResultFolder(out, task)
    folder.check()
    folder.begin(prepare(task, lambda: reader_of(task), out / PREPARED, watcher))
    missing = folder.missing()
    if workers > 1:
        yield from _side_by_side(task, out, missing, workers, watcher, device)
        return
    for number, job in enumerate(missing):
        yield run_job(task, out, job, engine, _Part(watcher, number, len(missing)), device)


def run_job(task: Task, out: Path, job: Job, engine: Engine, watcher: Watcher, device: Device = PROCESSOR) -> ArmResult:
    """One arm with one seed, kept."""
    arm, seed = job
    scratch = out / SCRATCH / f"{arm.name}.seed-{seed}"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        result = run_arm(SiteWork(task, arm, seed, out / PREPARED, scratch, device), engine, watcher)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    ResultFolder(out, task).put(arm, result)
    return result


def _side_by_side(task: Task, out: Path, jobs: Sequence[Job], workers: int, watcher: Watcher, device: Device) -> Iterator[ArmResult]:
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        running = [pool.submit(run_job, task, out, job, InProcess(), Silent(), device) for job in jobs]
        for number, done in enumerate(as_completed(running), start=1):
            result = done.result()
            report(watcher, f"{number} of {len(jobs)} arms", number / len(jobs))
            yield result
    except BrokenProcessPool as error:
        raise FedLiverError("worker-died", "A process of the study ended, probably for want of memory: go on with fewer --workers.") from error
    finally:
        # Nobody waits for arms that nobody wants any more.
        for child in multiprocessing.active_children():
            child.terminate()
        pool.shutdown(cancel_futures=True)


class _Part:
    """A job's part of the bar."""

    def __init__(self, watcher: Watcher, number: int, total: int) -> None:
        self._watcher, self._number, self._total = watcher, number, total

    def report(self, phase: str, fraction: float) -> None:
        self._watcher.report(f"{phase} ({self._number + 1} of {self._total})", (self._number + fraction) / self._total)

    def cancelled(self) -> bool:
        return self._watcher.cancelled()
