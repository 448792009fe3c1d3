"""What scans without labels are worth: with few labelled patients and the rest unlabelled, supervised against semi-supervised, side by side.

Both arms of a pair start from the same weights, see the same labelled patients, take the same steps and use the same seed; they are scored on the
same test patients, whom no arm trains on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fedliver.evaluation.confidence import bootstrap_interval
from fedliver.evaluation.metrics import liver_dice
from fedliver.study.patients import drawn_patients
from fedliver.study.rows import KeptRows
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.inference import segment
from fedliver.training.layouts import DatasetImage
from fedliver.training.settings import ConsistencySettings, TrainingSettings
from fedliver.training.sources import read_volume
from fedliver.training.student import TrainingWatcher, train
from fedliver.watch import report

SUPERVISED = "supervised"
SEMI_SUPERVISED = "semi-supervised"
ARMS = (SUPERVISED, SEMI_SUPERVISED)


class LabelsStudy(BaseModel):
    """What is compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labelled: tuple[int, ...] = (1, 2, 4)
    """Numbers of labelled patients; all of them is added, as the upper end."""
    seeds: int = Field(3, ge=1, le=100)
    test_share: float = Field(0.34, gt=0, lt=1)
    steps: int = Field(200, ge=1)
    batch_size: int = Field(1, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    average_decay: float = Field(0.99, gt=0, lt=1)
    consistency: ConsistencySettings = ConsistencySettings()


class ArmRow(BaseModel):
    """One arm of one seed: the liver Dice of every test image."""

    model_config = ConfigDict(frozen=True)

    seed: int
    labelled: int
    arm: str
    dice: dict[str, float]
    loss: float
    seconds: float

    @property
    def mean(self) -> float:
        """Over the test images."""
        return float(np.mean(list(self.dice.values())))


@dataclass(frozen=True)
class Division:
    """Who is labelled, who is not, who tests, for one seed and one number of labelled patients."""

    labelled: tuple[DatasetImage, ...]
    unlabelled: tuple[DatasetImage, ...]
    test: tuple[DatasetImage, ...]


def divide(images: Sequence[DatasetImage], study: LabelsStudy, seed: int, labelled: int) -> Division:
    """By patient. The test patients of a seed are the same for every number of labelled ones, and fewer labelled are a part of more."""
    order, test = drawn_patients(images, study.test_share, seed)
    return Division(*(tuple(image for image in images if image.patient in group) for group in (set(order[:labelled]), set(order[labelled:]), test)))


def arms(images: Sequence[DatasetImage], study: LabelsStudy) -> list[tuple[int, int, str]]:
    """Every (seed, labelled, arm) of the study. With all labelled nothing is unlabelled, so that only the supervised arm is left."""
    everyone = divide(images, study, 0, 0)
    most = len({image.patient for image in everyone.unlabelled})
    numbers = sorted({number for number in study.labelled if 0 < number < most} | {most})
    return [(seed, number, arm) for seed in range(study.seeds) for number in numbers for arm in (ARMS if number < most else ARMS[:1])]


def run_labels_study(images: Sequence[DatasetImage], start: Teacher, study: LabelsStudy, results: Path, watcher: TrainingWatcher) -> Iterator[ArmRow]:
    """Rows as they are ready. Rows that ``results`` (JSON) holds from an earlier run of the same study are taken from there and not run again."""
    kept = KeptRows(results, study, ArmRow)
    wanted = arms(images, study)
    for number, (seed, labelled, arm) in enumerate(wanted):
        report(watcher, f"{arm}, {labelled} labelled, seed {seed} ({number + 1} of {len(wanted)})", number / len(wanted))
        row = next((one for one in kept.rows if (one.seed, one.labelled, one.arm) == (seed, labelled, arm)), None)
        if row is None:
            row = _run(divide(images, study, seed, labelled), start, study, (seed, labelled, arm), watcher)
            kept.add([row])
        yield row


def _run(division: Division, start: Teacher, study: LabelsStudy, which: tuple[int, int, str], watcher: TrainingWatcher) -> ArmRow:
    seed, labelled, arm = which
    settings = TrainingSettings(
        steps=study.steps,
        batch_size=study.batch_size,
        learning_rate=study.learning_rate,
        average_decay=study.average_decay,
        seed=seed,
        consistency=study.consistency if arm == SEMI_SUPERVISED else None,
    )
    examples = [image.example for image in division.labelled] + [replace(image.example, labels=None) for image in division.unlabelled]
    outcome = train(start, examples, settings, watcher)
    student = replace(start, network=outcome.network)
    scores = {}
    for image in division.test:
        if image.example.labels is not None:
            scores[image.name] = liver_dice(segment(student, read_volume(image.example.ct)).labels.array, read_volume(image.example.labels).array)
    return ArmRow(seed=seed, labelled=labelled, arm=arm, dice=scores, loss=outcome.loss, seconds=outcome.seconds)


@dataclass(frozen=True)
class ArmSummary:
    """One arm over seeds: mean Dice with its 95 % interval over seeds and test images, and the part of the gap to all labels that it closes."""

    labelled: int
    arm: str
    runs: int
    mean: float
    low: float | None
    high: float | None
    gap_closed: float | None


def summarise_arms(rows: Sequence[ArmRow]) -> list[ArmSummary]:
    """By number of labelled patients, supervised first. ``gap_closed`` is (semi - supervised) / (all labels - supervised), of the means."""
    groups: dict[tuple[int, str], list[ArmRow]] = {}
    for row in rows:
        groups.setdefault((row.labelled, row.arm), []).append(row)
    means = {key: float(np.mean([row.mean for row in group])) for key, group in groups.items()}
    full = max((labelled for labelled, _ in means), default=0)
    best = means.get((full, SUPERVISED))
    summaries = []
    for (labelled, arm), group in sorted(groups.items(), key=lambda item: (item[0][0], ARMS.index(item[0][1]))):
        values = np.array([value for row in group for value in row.dice.values()])
        interval = bootstrap_interval(values, np.ones(len(values)))
        own, other = means[labelled, arm], means.get((labelled, SUPERVISED))
        gap = None
        if arm == SEMI_SUPERVISED and best is not None and other is not None and best > other:
            gap = (own - other) / (best - other)
        low, high = interval or (None, None)
        summaries.append(ArmSummary(labelled, arm, len(group), own, low, high, gap))
    return summaries
