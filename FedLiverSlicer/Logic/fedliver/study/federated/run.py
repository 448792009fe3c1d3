"""A whole study: every arm with every seed that is not there yet."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedliver.study.federated.arm_run import run_arm
from fedliver.study.federated.engine import Engine, InProcess
from fedliver.study.federated.prepared import prepare
from fedliver.study.federated.reading import reader_of
from fedliver.study.federated.results import ArmResult, ResultFolder
from fedliver.study.federated.side_by_side import side_by_side
from fedliver.study.federated.site_work import SiteWork
from fedliver.study.federated.task import Arm, Task
from fedliver.teacher.device import PROCESSOR, Device
from fedliver.watch import Watcher

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
        yield from side_by_side(_AnArm(task, out, device), missing, workers, watcher)
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


@dataclass(frozen=True)
class _AnArm:
    """An arm's work, as it is sent to another process."""

    task: Task
    out: Path
    device: Device

    def __call__(self, job: Job, watcher: Watcher) -> ArmResult:
        return run_job(self.task, self.out, job, InProcess(), watcher, self.device)


class _Part:
    """A job's part of the bar."""

    def __init__(self, watcher: Watcher, number: int, total: int) -> None:
        self._watcher, self._number, self._total = watcher, number, total

    def report(self, phase: str, fraction: float) -> None:
        self._watcher.report(f"{phase} ({self._number + 1} of {self._total})", (self._number + fraction) / self._total)

    def cancelled(self) -> bool:
        return self._watcher.cancelled()
