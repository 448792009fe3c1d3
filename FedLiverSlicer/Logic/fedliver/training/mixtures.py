"""What a teacher is trained on, and how it is mixed: annotated patients, scans with pseudo-labels, images made from label maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from fedliver.ct_reader import read_ct
from fedliver.datasets.layouts import DatasetImage
from fedliver.errors import FedLiverError
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.device import Device
from fedliver.teacher.plan import StagePlan
from fedliver.training.cropping import CroppedScans
from fedliver.training.pseudo_labels import pseudo_labelled
from fedliver.training.sources import AROUND_MM, Patch, PatchSource, PatientPatches, PreparedPatient, of_a_stranger, prepared_example
from fedliver.training.synthesis import SynthesisedPatches
from fedliver.watch import Watcher, report

ANYWHERE_MOSTLY = (0.7, 0.3, 0.0)
WITH_LESIONS = 0.2
CROPPED = 0.4


@dataclass(frozen=True)
class TrainingData:
    """What there is to train on: annotated images, scans without annotation, organ label maps without scans."""

    images: tuple[DatasetImage, ...]
    unlabelled: tuple[Path, ...] = ()
    label_maps: tuple[Path, ...] = ()
    validation: tuple[DatasetImage, ...] = ()
    """Annotated images that do not train: the last stage ends when their liver Dice stops rising, and keeps its best weights."""

    def __post_init__(self) -> None:
        if not self.images:
            raise FedLiverError("no-training-data", "There is no annotated image to train on: `fedliver dataset check` says what was found and what is wrong.")

    def folds(self, wanted: int) -> int:
        """How many folds there can be: no more than patients, and none of one patient."""
        folds = min(wanted, len({image.patient for image in self.images}))
        return folds if folds > 1 else 0

    def fold(self, number: int, folds: int) -> tuple[DatasetImage, ...]:
        """The images that fold ``number`` holds out: those of every ``folds``-th patient by name."""
        patients = sorted({image.patient for image in self.images})
        held_out = {patient for index, patient in enumerate(patients) if index % folds == number}
        return tuple(image for image in self.images if image.patient in held_out)

    @property
    def key(self) -> str:
        """Tells this data from other data: names and sizes of all files, hashed."""
        lines = [f"{image.name} {image.patient} {image.example.tumour_labelled}" for image in (*self.images, *self.validation)]
        annotated = [path for image in (*self.images, *self.validation) for path in (image.example.ct, image.example.labels) if path is not None]
        lines += [f"{path.parent.name}/{path.name} {path.stat().st_size}" for path in (*annotated, *self.unlabelled, *self.label_maps)]
        return sha256("\n".join([*lines, str(len(self.validation))]).encode()).hexdigest()


class MixedPatches:
    """Draws from each source with its probability."""

    def __init__(self, sources: Sequence[tuple[PatchSource | None, float]]) -> None:
        there = [(source, share) for source, share in sources if source is not None]
        self._sources = [source for source, _ in there]
        self._shares = np.array([share for _, share in there]) / sum(share for _, share in there)

    def draw(self, rng: np.random.Generator) -> Patch:
        return self._sources[int(rng.choice(len(self._sources), p=self._shares))].draw(rng)


@dataclass(frozen=True)
class Workplace:
    """What the sources work with: who labels what nobody annotated, where that teacher runs, how many processes may help, and who watches."""

    watcher: Watcher
    believe: Teacher | None = None
    device: Device | None = None
    processes: int | None = None


def finder_source(data: TrainingData, plan: StagePlan, workplace: Workplace, seed: int) -> PatchSource:
    """For the finder: everything there is, some of it ending early."""
    patients = [prepared_example(image.example, plan, read=of_a_stranger) for image in data.images]
    pseudo = _pseudo(data, plan, workplace, None)
    mixed = MixedPatches(
        [
            (PatientPatches(patients, plan, ANYWHERE_MOSTLY), 0.3),
            (PatientPatches(pseudo, plan, ANYWHERE_MOSTLY) if pseudo else None, 0.3),
            (_made_up(data, plan, workplace, seed, None), 0.4),
        ]
    )
    return CroppedScans(mixed, CROPPED, plan.padding_value)


def _pseudo(data: TrainingData, plan: StagePlan, workplace: Workplace, around_mm: float | None) -> list[PreparedPatient]:
    if workplace.believe is None:
        return []
    patients = []
    for number, path in enumerate(data.unlabelled):
        report(workplace.watcher, "Labelling scans nobody annotated", number / len(data.unlabelled))
        patients.append(pseudo_labelled(workplace.believe, read_ct(path).volume, plan, around_mm, workplace.device))
    return [patient for patient in patients if patient is not None]


def _made_up(data: TrainingData, plan: StagePlan, workplace: Workplace, seed: int, around_mm: float | None) -> SynthesisedPatches | None:
    if not data.label_maps:
        return None
    return SynthesisedPatches(data.label_maps, plan, workplace.watcher, seed=seed, around_mm=around_mm, processes=workplace.processes)


class FineSources:
    """Patches for the fine network, everything read once and mixed anew for each stage."""

    def __init__(self, data: TrainingData, plan: StagePlan, workplace: Workplace, seed: int) -> None:
        self._plan = plan
        self._patients = {}
        for number, image in enumerate(data.images):
            report(workplace.watcher, "Reading annotated patients", number / len(data.images))
            self._patients[image.name] = prepared_example(image.example, plan, AROUND_MM, read=of_a_stranger)
        pseudo = _pseudo(data, plan, workplace, AROUND_MM)
        self._pseudo = PatientPatches(pseudo, plan, (0.8, 0.2, 0.0)) if pseudo else None
        self._made_up = _made_up(data, plan, workplace, seed, AROUND_MM)

    def without_patients(self) -> PatchSource:
        """All but the annotated patients; these too where there is nothing else."""
        if self._pseudo is None and self._made_up is None:
            return self.with_patients(set(self._patients))
        return MixedPatches([(self._made_up, 0.85), (self._pseudo, 0.15)])

    def with_patients(self, names: set[str]) -> PatchSource:
        """Everything, of the annotated patients those named."""
        patients = PatientPatches([self._patients[name] for name in sorted(names)], self._plan, with_lesions=WITH_LESIONS)
        return MixedPatches([(patients, 0.62), (self._made_up, 0.26), (self._pseudo, 0.12)])
