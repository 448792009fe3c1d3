"""What tests of training share: patients that never lived, a tiny teacher that never learned anything, and a watcher that pulls the plug."""

from pathlib import Path

import SimpleITK as sitk
import torch

from fedliver.cases.examples import Example
from fedliver.image import Volume, to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.student import SilentTraining


def patient(seed: int) -> tuple[Volume, Volume]:
    """CT and labels at 5 mm."""
    return generate(PhantomSettings(seed=seed, spacing_mm=(5.0, 5.0, 5.0), lesions=2))


def on_disk(folder: Path, seed: int, annotated: bool = True) -> Example:
    ct, labels = folder / f"ct{seed}.nii.gz", folder / f"labels{seed}.nii.gz"
    for path, volume in zip((ct, labels), patient(seed), strict=True):
        sitk.WriteImage(to_sitk(volume), str(path))
    return Example(ct, labels if annotated else None)


def untrained() -> Teacher:
    torch.manual_seed(0)
    plan = TeacherPlan.tiny()
    return Teacher(build_network(plan), plan, "untrained", "0", "none")


class StopAfter(SilentTraining):
    """Cancels once so many steps are done; ``last`` is the last one that it was told of."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self.last = 0

    def step(self, n: int, total: int, loss: float) -> None:
        self._done += 1
        self.last = n

    def cancelled(self) -> bool:
        return self._done >= self._steps
