"""Arms against the centralised one, and the federation against staying alone: differences case by case, with their uncertainty."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fedliver.evaluation.confidence import bootstrap_interval
from fedliver.study.federated.results import ArmResult, Point
from fedliver.study.federated.task import Arm, Task

PART = 0.95
"""How near to centralised counts as having reached it, for rounds and bytes."""
_RESAMPLES = 9_999
_FEWEST = 6
"""Patients that an interval needs: of fewer the bootstrap gives little more than their lowest and their highest value."""


@dataclass(frozen=True)
class Difference:
    """A mean difference over test patients; positive is better than what it is compared with.

    ``low`` and ``high``: its 95 % bootstrap interval over patients. ``p``: paired permutation test (signs of the patients' differences flipped), two-sided.
    None where there are too few patients to tell.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True)
class Cost:
    """What an arm cost, means over seeds. The last two are None where not every seed came to 95 % of centralised."""

    megabytes: float
    computed_seconds: float
    side_by_side_seconds: float
    rounds_to_part: float | None
    megabytes_to_part: float | None


@dataclass(frozen=True)
class ArmSummary:
    """One arm over its seeds."""

    arm: Arm
    results: tuple[ArmResult, ...]
    value: float
    spread: float | None
    """Standard deviation over seeds."""
    difference: Difference | None
    """To centralised; None for centralised itself."""
    target: float
    cost: Cost

    @property
    def within(self) -> bool | None:
        """Whether a federated arm came as near to centralised as it should."""
        return None if self.difference is None or self.arm.way != "federated" else self.difference.mean >= -self.target


@dataclass(frozen=True)
class SiteGain:
    """One site of one seed: the federation's model beside the one that it trained alone, on the same test patients."""

    arm: str
    seed: int
    site: int
    images: int
    alone: float
    federated: float
    gain: Difference


def summarise(task: Task, results: Sequence[ArmResult]) -> list[ArmSummary]:
    """Every arm that has results, in the task's order."""
    of = {arm.name: tuple(result for result in results if result.arm == arm.name) for arm in task.arms}
    centralised = next((of[arm.name] for arm in task.arms if arm.way == "centralised"), ())
    return [_summary(task, arm, of[arm.name], centralised) for arm in task.arms if of[arm.name]]


def common_seeds(groups: Iterable[Sequence[ArmResult]]) -> frozenset[int]:
    """The seeds that all of them have: arms that stand in one picture, or in one difference, must have begun alike."""
    seeds = [frozenset(result.seed for result in group) for group in groups]
    return frozenset.intersection(*seeds) if seeds else frozenset()


def of_seeds(results: Iterable[ArmResult], seeds: frozenset[int]) -> tuple[ArmResult, ...]:
    """The results of these seeds."""
    return tuple(result for result in results if result.seed in seeds)


def gains(task: Task, results: Sequence[ArmResult]) -> list[SiteGain]:
    """Every site of every federated arm whose sites were trained alone, too, with as many steps."""
    by_key = {(result.arm, result.seed): result for result in results}
    alone = {(arm.partition, arm.steps_shared): arm.name for arm in task.arms if arm.way == "alone"}
    found = []
    for arm in task.arms:
        lone = alone.get((arm.partition, arm.steps_shared))
        if arm.way != "federated" or lone is None:
            continue
        for seed in task.seeds_of(arm):
            together, apart = by_key.get((arm.name, seed)), by_key.get((lone, seed))
            if together and apart:
                found += [_gain(arm.name, together, apart, site) for site in range(len(apart.models))]
    return found


def _gain(name: str, together: ArmResult, apart: ArmResult, site: int) -> SiteGain:
    ours, theirs = _by_patient([together]), _by_patient([apart], site)
    return SiteGain(name, apart.seed, site, apart.sites[site].images, _mean(theirs), _mean(ours), _difference(ours, theirs))


def _summary(task: Task, arm: Arm, results: tuple[ArmResult, ...], centralised: Sequence[ArmResult]) -> ArmSummary:
    seeds = common_seeds((results, centralised))
    ours, theirs = of_seeds(results, seeds), of_seeds(centralised, seeds)
    values = [result.value for result in results]
    return ArmSummary(
        arm=arm,
        results=results,
        value=float(np.mean(values)),
        spread=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        difference=_difference(_by_patient(ours), _by_patient(theirs)) if seeds and arm.way != "centralised" else None,
        target=task.target_of(arm),
        cost=_cost(results, {result.seed: result for result in centralised}),
    )


def _by_patient(results: Sequence[ArmResult], site: int | None = None) -> dict[int, float]:
    """The mean of every test patient over seeds, over his cases, and over the models where sites have their own (or of the one of ``site``)."""
    values: dict[int, list[float]] = {}
    for result in results:
        for model in result.models:
            if site is None or model.site == site:
                for case in model.cases:
                    values.setdefault(case.case if case.patient is None else case.patient, []).append(case.value)
    return {patient: float(np.mean(of_patient)) for patient, of_patient in values.items()}


def _difference(ours: dict[int, float], theirs: dict[int, float]) -> Difference:
    if ours.keys() != theirs.keys():
        raise ValueError("the arms were scored on other patients")
    values = np.array([ours[patient] - theirs[patient] for patient in sorted(ours)])
    low, high = (bootstrap_interval(values, np.ones(len(values))) if len(values) >= _FEWEST else None) or (None, None)
    return Difference(float(values.mean()), low, high, _paired_test(values))


def _paired_test(values: np.ndarray) -> float | None:
    from scipy.stats import permutation_test

    if len(values) < 2:
        return None
    if not values.any():
        return 1.0
    found = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=_RESAMPLES, rng=np.random.default_rng(0))
    return float(found.pvalue)


def _cost(results: Sequence[ArmResult], centralised: dict[int, ArmResult]) -> Cost:
    reached = [_reached(result, centralised[result.seed]) for result in results if result.seed in centralised]
    there = [point for point in reached if point is not None]
    all_there = bool(there) and len(there) == len(reached)
    return Cost(
        megabytes=float(np.mean([result.curve[-1].megabytes for result in results])),
        computed_seconds=float(np.mean([result.computed_seconds for result in results])),
        side_by_side_seconds=float(np.mean([result.curve[-1].seconds for result in results])),
        rounds_to_part=float(np.mean([point.round for point in there])) if all_there else None,
        megabytes_to_part=float(np.mean([point.megabytes for point in there])) if all_there else None,
    )


def _reached(result: ArmResult, centralised: ArmResult) -> Point | None:
    """The first point of the curve at 95 % of where the centralised curve ends."""
    goal = PART * centralised.curve[-1].score
    return next((point for point in result.curve if point.score >= goal), None)


def _mean(values: dict[int, float]) -> float:
    return float(np.mean(list(values.values())))
