"""Does a teacher know when it fails? What it expects of its answer against what the answer is worth, also on scans made worse on purpose."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedliver.ct_reader import read_ct
from fedliver.evaluation.metrics import liver_dice
from fedliver.segmentation_file import read_segmentation
from fedliver.teacher.inference import LOW_CONFIDENCE, segment
from fedliver.training.ablation import Judged
from fedliver.training.corruption import CORRUPTIONS
from fedliver.watch import Watcher, report

POOR_DICE = 0.9
_FEWEST_TO_FIT = 10


@dataclass(frozen=True)
class Assessed:
    """One answer: the Dice of the liver that was expected of it (0 where no liver was found) and the true one."""

    image: str
    corruption: str
    expected: float
    true: float


def assess(judged: Sequence[Judged], watcher: Watcher) -> list[Assessed]:
    """Every image under every corruption."""
    total = sum(len(one.images) for one in judged)
    found: list[Assessed] = []
    done = 0
    for one in judged:
        for image in one.images:
            report(watcher, f"{image.name} made worse", done / total)
            done += 1
            if image.example.labels is None:
                continue
            ct = read_ct(image.example.ct).volume
            reference = read_segmentation(image.example.labels, onto=ct.geometry).array
            for name, corrupt in CORRUPTIONS.items():
                answer = segment(one.teacher, corrupt(ct))
                found.append(Assessed(image.name, name, answer.expected_dice or 0.0, liver_dice(answer.labels.array, reference)))
    return found


def fitted_calibration(assessed: Sequence[Assessed]) -> tuple[float, float]:
    """(a, b) of the least-squares line true = a + b expected over the answers that found a liver; (0, 1) where they do not tell."""
    found = [one for one in assessed if one.expected > 0]
    expected, true = np.array([one.expected for one in found]), np.array([one.true for one in found])
    if len(found) < _FEWEST_TO_FIT or not np.ptp(expected):
        return 0.0, 1.0
    slope, intercept = np.polyfit(expected, true, 1)
    return (round(float(intercept), 4), round(float(slope), 4)) if slope > 0 else (0.0, 1.0)


def calibrated_by_others(assessed: Sequence[Assessed]) -> list[Assessed]:
    """Every answer as it would be expected with a calibration fitted on the *other* images: what a fit is worth, unseen."""
    lines = {name: fitted_calibration([one for one in assessed if one.image != name]) for name in {one.image for one in assessed}}
    return [replace(one, expected=float(np.clip(np.dot(lines[one.image], (1.0, one.expected)), 0, 1)) if one.expected > 0 else 0.0) for one in assessed]


@dataclass(frozen=True)
class SelfKnowledge:
    """How well expectations hold. ``poor`` answers have a Dice under :data:`POOR_DICE`; ``warned`` of them were said to be of low confidence."""

    answers: int
    correlation: float | None
    poor: int
    poor_warned: int
    good_warned: int


def self_knowledge(assessed: Sequence[Assessed]) -> SelfKnowledge:
    """Pearson's correlation, and what the warning is worth."""
    expected = np.array([one.expected for one in assessed])
    true = np.array([one.true for one in assessed])
    varies = len(assessed) > 2 and np.ptp(expected) > 0 and np.ptp(true) > 0
    poor, warned = true < POOR_DICE, expected < LOW_CONFIDENCE
    return SelfKnowledge(
        answers=len(assessed),
        correlation=float(np.corrcoef(expected, true)[0, 1]) if varies else None,
        poor=int(poor.sum()),
        poor_warned=int((poor & warned).sum()),
        good_warned=int((~poor & warned).sum()),
    )
