"""The egress filter: what a ClientApp has made passes here, by the site's own rules, before it may leave. Pure arithmetic: no file, no Flower."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedliver.errors import FedLiverError
from fedliver.site.rules import EgressRules

_LOSS_DIGITS = 4
_DICE_DIGITS = 4
_LONGEST_SECONDS = 30 * 86_400.0
Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class TensorKind:
    """What a tensor of the agreed network looks like."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def averaged(kinds: Mapping[str, TensorKind]) -> dict[str, TensorKind]:
    """Those that are averaged over the sites: floating point. Counters are not."""
    return {name: kind for name, kind in kinds.items() if np.issubdtype(kind.dtype, np.floating)}


@dataclass(frozen=True)
class PatientCount:
    """How many patients a site's cases are of; counted by the filter itself, not told by the app.

    ``training`` and ``held_out``: of approved cases. ``unlabelled``: of scans without approval that may teach, less those patients who are in ``training``.
    """

    training: int
    held_out: int
    unlabelled: int = 0

    def teaching(self, unlabelled: bool) -> int:
        """Patients that an update is made of; with ``unlabelled`` if scans without approval teach too."""
        return self.training + (self.unlabelled if unlabelled else 0)


@dataclass(frozen=True)
class AgreedNumbers:
    """The numbers of an answer, before and after the filter. ``loss`` is NaN and ``dice_cases`` 0 where the number is withheld or there is none."""

    cases: int
    loss: float
    seconds: float
    dice: float
    dice_cases: int
    unlabelled: int = 0


@dataclass(frozen=True)
class FilteredUpdate:
    """What may leave."""

    weights: dict[str, np.ndarray]
    norm: float
    """Euclidean norm of the update as training made it."""
    sent_norm: float
    """The same of what leaves before noise: never above the bound."""


def cases_in_words(cases: int, unlabelled: int) -> str:
    """What an update was made of: "3 cases", "1 case and 5 scans without approval"."""
    parts = [f"{cases} case{'s' if cases != 1 else ''}"] if cases or not unlabelled else []
    parts += [f"{unlabelled} scan{'s' if unlabelled != 1 else ''} without approval"] if unlabelled else []
    return " and ".join(parts)


def admit(rules: EgressRules, patients: int) -> None:
    """Raise FedLiverError ``too-few-cases`` if an update of this many patients may not leave. Asked before training, so that nobody waits in vain."""
    if patients < rules.minimum_cases:
        have = f"{patients} patient's cases" if patients == 1 else f"{patients} patients' cases"
        raise FedLiverError(
            "too-few-cases",
            f"This site has {have} to train on, and its rules ask for {rules.minimum_cases} patients before an update may leave: approve more.",
        )


def filter_numbers(rules: EgressRules, numbers: AgreedNumbers, patients: PatientCount) -> AgreedNumbers:
    """Only numbers in their range and of few digits, and a mean only over enough patients. With noise on no loss and no Dice leaves: epsilon covers neither.

    Raises
    ------
    FedLiverError
        ``not-agreed`` for a number that cannot be what it is called.
    """
    if not all(0 <= count <= 1_000_000 for count in (numbers.cases, numbers.unlabelled, numbers.dice_cases)):
        raise _not_agreed("its number of cases is impossible")
    if math.isinf(numbers.loss) or not 0 <= numbers.seconds <= _LONGEST_SECONDS or not 0 <= numbers.dice <= 1:
        raise _not_agreed("a number is out of its range")
    tells_loss = not rules.noisy and numbers.cases > 0 and patients.training >= rules.minimum_metric_cases
    tells_dice = not rules.noisy and numbers.dice_cases > 0 and patients.held_out >= rules.minimum_metric_cases
    return AgreedNumbers(
        cases=numbers.cases,
        unlabelled=numbers.unlabelled,
        loss=round(numbers.loss, _LOSS_DIGITS) if tells_loss else math.nan,
        seconds=float(round(numbers.seconds)),
        dice=round(numbers.dice, _DICE_DIGITS) if tells_dice else 0.0,
        dice_cases=numbers.dice_cases if tells_dice else 0,
    )


def filter_update(rules: EgressRules, trained: Weights, received: Weights, agreed: Mapping[str, TensorKind], noise: np.random.Generator) -> FilteredUpdate:
    """The update with only the agreed tensors, shortened to the norm bound and noised by the rules.

    Tensors that are not floating point (counters) leave as they came: nothing is learnt in them.

    Parameters
    ----------
    received:
        The global weights that training began with; already checked to be the agreed tensors.
    noise:
        Seeded by the operating system outside tests.

    Raises
    ------
    FedLiverError
        ``not-agreed`` (other names, shapes or types) or ``training-diverged`` (numbers that are not finite).
    """
    if trained.keys() != agreed.keys():
        raise _not_agreed("its tensors are not those of the agreed network")
    for name, kind in agreed.items():
        if tuple(trained[name].shape) != kind.shape or trained[name].dtype != kind.dtype:
            raise _not_agreed("a tensor has another shape or type than agreed")
    learnt = averaged(agreed)
    norm = math.sqrt(sum(_square(trained[name], received[name]) for name in learnt))
    if not math.isfinite(norm):
        raise FedLiverError("training-diverged", "The trained weights are not finite: nothing was sent.")
    scale = min(1.0, rules.norm_bound / norm) if norm else 1.0
    spread = rules.noise_multiplier * rules.norm_bound
    leaves = {name: received[name].copy() for name in agreed if name not in learnt}
    for name in learnt:
        if scale == 1.0 and not spread:
            leaves[name] = trained[name].copy()
            continue
        start = received[name].astype(np.float64)
        moved = start + scale * (trained[name].astype(np.float64) - start)
        if spread:
            moved += noise.normal(0.0, spread, moved.shape)
        leaves[name] = moved.astype(agreed[name].dtype)
    return FilteredUpdate({name: leaves[name] for name in agreed}, norm, norm * scale)


def _square(trained: np.ndarray, received: np.ndarray) -> float:
    difference = (trained.astype(np.float64) - received.astype(np.float64)).ravel()
    return float(difference @ difference)


def _not_agreed(why: str) -> FedLiverError:
    return FedLiverError("not-agreed", f"The egress filter stopped an answer: {why}. Nothing was sent.")
