"""Which case to annotate next: how good a teacher becomes with so many approved cases, by the worklist's strategies and by chance.

Everything but the clinician is what a site uses: the case store, the worklist's strategies, the teacher's own expectation, the training. The clinician is
simulated and approves the reference as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fedliver.cases.case import Case
from fedliver.cases.worklist import Strategy, diversity, uncertainty
from fedliver.datasets.layouts import DatasetImage
from fedliver.evaluation.confidence import bootstrap_interval
from fedliver.evaluation.metrics import liver_dice
from fedliver.study.patients import drawn_patients
from fedliver.study.rows import KeptRows
from fedliver.study.simulated_site import SimulatedSite
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.inference import segment
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import read_volume
from fedliver.training.student import TrainingWatcher, train
from fedliver.watch import report

CHANCE = "random"
STRATEGIES = ("uncertainty", "diversity", CHANCE)


class OrderStudy(BaseModel):
    """What is compared. Every training starts from the same network and takes as many steps, on all cases approved until then."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    most_approved: int = Field(6, ge=2)
    seeds: int = Field(3, ge=1, le=100)
    test_share: float = Field(0.34, gt=0, lt=1)
    steps: int = Field(200, ge=1)
    batch_size: int = Field(1, ge=1)
    learning_rate: float = Field(1e-2, gt=0)
    average_decay: float = Field(0.95, ge=0, lt=1)


class OrderRow(BaseModel):
    """One strategy of one seed with so many approved cases: the liver Dice of every test image."""

    model_config = ConfigDict(frozen=True)

    seed: int
    strategy: str
    approved: int
    dice: dict[str, float]

    @property
    def mean(self) -> float:
        """Over the test images."""
        return float(np.mean(list(self.dice.values())))


def run_order_study(images: Sequence[DatasetImage], start: Teacher, study: OrderStudy, results: Path, watcher: TrainingWatcher) -> Iterator[OrderRow]:
    """Rows as they are ready. A strategy of a seed that ``results`` (JSON) holds whole is not run again."""
    kept = KeptRows(results, study, OrderRow)
    wanted = [(seed, strategy) for seed in range(study.seeds) for strategy in STRATEGIES]
    for number, (seed, strategy) in enumerate(wanted):
        report(watcher, f"{strategy}, seed {seed} ({number + 1} of {len(wanted)})", number / len(wanted))
        rows = [row for row in kept.rows if (row.seed, row.strategy) == (seed, strategy)]
        if not rows:
            rows = list(_run(images, start, study, seed, strategy, watcher))
            kept.add(rows)
        yield from rows


def _run(images: Sequence[DatasetImage], start: Teacher, study: OrderStudy, seed: int, strategy: str, watcher: TrainingWatcher) -> Iterator[OrderRow]:
    pool, test = _divide(images, study, seed)
    rng = np.random.default_rng([seed, 1])
    with TemporaryDirectory() as home:
        site = SimulatedSite(Path(home), secret=rng.bytes(32))
        site.admit(pool)
        order = _strategies(rng)[strategy]
        teacher = start
        for approved in range(1, min(study.most_approved, len(pool)) + 1):
            # Nobody has judged a first case: it is the same for every strategy of a seed.
            chosen = next((order if approved > 1 else _by_chance(np.random.default_rng([seed, 2])))(site.waiting, site.store.cases()))
            site.approve(chosen, site.reference(chosen))
            settings = TrainingSettings(
                steps=study.steps, batch_size=study.batch_size, learning_rate=study.learning_rate, average_decay=study.average_decay, seed=seed
            )
            teacher = replace(start, network=train(start, site.examples, settings, watcher).network, sha256=f"{approved:064x}")
            for case in site.waiting:  # what the next choice looks at: the teacher's expectation for every case that waits
                site.presegment(case, teacher)
            scores = {image.name: _dice(teacher, image) for image in test}
            yield OrderRow(seed=seed, strategy=strategy, approved=approved, dice=scores)


def _strategies(rng: np.random.Generator) -> dict[str, Strategy]:
    return {"uncertainty": uncertainty, "diversity": diversity, CHANCE: _by_chance(rng)}


def _by_chance(rng: np.random.Generator) -> Callable[[Sequence[Case], Sequence[Case]], Iterator[Case]]:
    def order(waiting: Sequence[Case], _everyone: Sequence[Case]) -> Iterator[Case]:
        by_name = sorted(waiting, key=lambda case: case.ct_sha256)
        return (by_name[int(index)] for index in rng.permutation(len(by_name)))

    return order


def _divide(images: Sequence[DatasetImage], study: OrderStudy, seed: int) -> tuple[list[DatasetImage], list[DatasetImage]]:
    """The pool to annotate from and the test images, by patient."""
    _, test = drawn_patients(images, study.test_share, seed)
    return [image for image in images if image.patient not in test], [image for image in images if image.patient in test]


def _dice(teacher: Teacher, image: DatasetImage) -> float:
    assert image.example.labels is not None  # noqa: S101 annotated images
    return liver_dice(segment(teacher, read_volume(image.example.ct)).labels.array, read_volume(image.example.labels).array)


@dataclass(frozen=True)
class OrderSummary:
    """One strategy: mean Dice after each number of approved cases, over seeds and test images, with 95 % intervals; and how many cases it took to ``goal``,
    on the mean over the seeds that reached it (``reached`` of ``runs``).

    ``gain`` is its mean difference to chance, paired by seed, number of approved cases and test image, from the second case on (the first is the same);
    None for chance itself.
    """

    strategy: str
    approved: tuple[int, ...]
    dice: tuple[float, ...]
    intervals: tuple[tuple[float, float] | None, ...]
    goal: float
    cases_to_goal: float | None
    reached: int
    runs: int
    gain: float | None
    gain_interval: tuple[float, float] | None


def summarise_order(rows: Sequence[OrderRow], share: float = 0.98) -> list[OrderSummary]:
    """The goal is ``share`` of the Dice that chance reaches with the most cases, on the mean over seeds; the same for every strategy."""
    most = max(row.approved for row in rows)
    goal = share * float(np.mean([row.mean for row in rows if row.strategy == CHANCE and row.approved == most]))
    return [_summary(strategy, rows, goal) for strategy in STRATEGIES]


def _summary(strategy: str, rows: Sequence[OrderRow], goal: float) -> OrderSummary:
    own = [row for row in rows if row.strategy == strategy]
    seeds = sorted({row.seed for row in own})
    approved = tuple(sorted({row.approved for row in own}))
    first = [min((row.approved for row in own if row.seed == seed and row.mean >= goal), default=None) for seed in seeds]
    reached = [value for value in first if value is not None]
    dice = tuple(float(np.mean([row.mean for row in own if row.approved == number])) for number in approved)
    intervals = tuple(_interval([value for row in own if row.approved == number for value in row.dice.values()]) for number in approved)
    gain, gain_interval = _against_chance(own, rows) if strategy != CHANCE else (None, None)
    to_goal = float(np.mean(reached)) if reached else None
    return OrderSummary(strategy, approved, dice, intervals, goal, to_goal, len(reached), len(seeds), gain, gain_interval)


def _against_chance(own: Sequence[OrderRow], rows: Sequence[OrderRow]) -> tuple[float | None, tuple[float, float] | None]:
    """The mean over numbers of approved cases first, then over the test images of every seed, which are what the interval draws."""
    chance = {(row.seed, row.approved): row.dice for row in rows if row.strategy == CHANCE}
    of_image: dict[tuple[int, str], list[float]] = {}
    for row in own:
        theirs = chance.get((row.seed, row.approved), {}) if row.approved > 1 else {}
        for image, dice in row.dice.items():
            if image in theirs:
                of_image.setdefault((row.seed, image), []).append(dice - theirs[image])
    means = [float(np.mean(values)) for values in of_image.values()]
    return (float(np.mean(means)), _interval(means)) if means else (None, None)


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    return bootstrap_interval(np.asarray(values), np.ones(len(values)))
