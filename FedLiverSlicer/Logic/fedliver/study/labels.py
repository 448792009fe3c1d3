"""What scans without labels are worth: with few labelled patients and the rest unlabelled, supervised against semi-supervised, side by side.

Both arms of a pair start from the same weights, see the same labelled patients, take the same steps and use the same seed; they are scored on the
same test patients, whom no arm trains on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fedliver.datasets.layouts import DatasetImage
from fedliver.evaluation.confidence import bootstrap_interval
from fedliver.evaluation.metrics import liver_dice
from fedliver.study.patients import drawn_patients
from fedliver.study.rows import KeptRows
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.inference import segment
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
    """One arm over seeds and test images: mean Dice with its 95 % interval.

    Of a semi-supervised arm also ``gain``, its paired difference to supervised with the same labels (same seeds, same images) with its interval, and
    ``gap_closed``, the part of the way from there to all labels.
    """

    labelled: int
    arm: str
    runs: int
    mean: float
    interval: tuple[float, float] | None
    gain: float | None = None
    gain_interval: tuple[float, float] | None = None
    gap_closed: float | None = None


def summarise_arms(rows: Sequence[ArmRow]) -> list[ArmSummary]:
    """By number of labelled patients, supervised first. ``gap_closed`` is (semi - supervised) / (all labels - supervised), of the means over the same seeds."""
    groups: dict[tuple[int, str], dict[tuple[int, str], float]] = {}
    for row in rows:
        groups.setdefault((row.labelled, row.arm), {}).update({(row.seed, image): dice for image, dice in row.dice.items()})
    full = groups.get((max((labelled for labelled, _ in groups), default=0), SUPERVISED), {})
    return [_summary(key, groups, full) for key in sorted(groups, key=lambda key: (key[0], ARMS.index(key[1])))]


def _summary(key: tuple[int, str], groups: "dict[tuple[int, str], dict[tuple[int, str], float]]", full: dict[tuple[int, str], float]) -> ArmSummary:
    labelled, arm = key
    own, other = groups[key], groups.get((labelled, SUPERVISED), {})
    summary = ArmSummary(labelled, arm, len({seed for seed, _ in own}), *_mean(list(own.values())))
    both = [cell for cell in own if cell in other]
    if arm != SEMI_SUPERVISED or not both:
        return summary
    gain, interval = _mean([own[cell] - other[cell] for cell in both])
    three = [cell for cell in both if cell in full]
    gap = sum(full[cell] - other[cell] for cell in three)
    closed = sum(own[cell] - other[cell] for cell in three) / gap if gap > 0 else None
    return replace(summary, gain=gain, gain_interval=interval, gap_closed=closed)


def _mean(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    array = np.asarray(values)
    return float(array.mean()), bootstrap_interval(array, np.ones(len(array)))
