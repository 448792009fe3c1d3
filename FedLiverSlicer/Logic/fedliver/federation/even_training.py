"""A site's training in a round: as the student's, but every patient's turn comes before anyone's second, and the patients that really had one are counted.

By chance alone a round of few steps may draw one patient only, and a scan in which the received model sees no liver teaches nothing: neither may be counted
among those who trained an update.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np

from fedliver.cases.examples import Example
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.device import choose_device
from fedliver.training.savepoint import Standing
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import MOST_IN_MEMORY, Patch, PatchSource, PatientPatches, UnlabelledPatches
from fedliver.training.student import TrainingOutcome, TrainingWatcher, train_on_patches


class InTurn:
    """Patches of patients in turn, in an order drawn anew each time round; of a patient with several scans a random one. ``drawn``: who had a turn."""

    def __init__(self, scans: Mapping[str, Sequence[PatchSource]], drawn: set[str], rng: np.random.Generator) -> None:
        self._scans = scans
        self._drawn = drawn
        self._rng = rng
        self._waiting: list[str] = []

    def draw(self, rng: np.random.Generator) -> Patch:
        if not self._waiting:
            self._waiting = [str(patient) for patient in self._rng.permutation(sorted(self._scans))]
        patient = self._waiting.pop()
        scans = self._scans[patient]
        patch = scans[int(rng.integers(len(scans)))].draw(rng)
        self._drawn.add(patient)
        return patch


class EvenTraining:
    """Takes the place of :func:`fedliver.training.student.train`.

    Parameters
    ----------
    patient_of:
        The patient of a CT; a scan that is not in it is a patient of its own.
    """

    def __init__(self, patient_of: Mapping[Path, str]) -> None:
        self._patient_of = patient_of
        self._drawn: set[str] = set()

    @property
    def patients(self) -> int:
        """So many have trained the last outcome."""
        return len(self._drawn)

    def __call__(
        self, teacher: Teacher, examples: Sequence[Example], settings: TrainingSettings, watcher: TrainingWatcher, *, before: Standing | None = None
    ) -> TrainingOutcome:
        """Raises what :func:`fedliver.training.student.train` raises."""
        self._drawn = set()
        rng, device = np.random.default_rng(settings.seed), choose_device()
        unlabelled = None
        if settings.consistency is not None:
            without = [example for example in examples if example.labels is None]
            unlabelled = self._in_turn(without, lambda example: UnlabelledPatches.of([example], teacher, watcher, rng, device), rng)
        with_labels = [example for example in examples if example.labels is not None]
        labelled: PatchSource | None = self._in_turn(with_labels, lambda example: PatientPatches.of([example], teacher.plan, watcher, rng), rng)
        if labelled is None and unlabelled is None:
            labelled = PatientPatches.of([], teacher.plan, watcher)  # says that there is no case to train on
        return train_on_patches(deepcopy(teacher.network), labelled, settings, watcher, unlabelled=unlabelled, before=before, device=device)

    def _in_turn(self, examples: Sequence[Example], read: Callable[[Example], PatchSource | None], rng: np.random.Generator) -> InTurn | None:
        chosen = examples
        if len(examples) > MOST_IN_MEMORY:
            chosen = [examples[int(index)] for index in sorted(rng.choice(len(examples), MOST_IN_MEMORY, replace=False))]
        scans: dict[str, list[PatchSource]] = {}
        for example in chosen:
            source = read(example)
            if source is not None:
                scans.setdefault(self._patient_of.get(example.ct, str(example.ct)), []).append(source)
        return InTurn(scans, self._drawn, rng) if scans else None
