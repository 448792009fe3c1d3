"""How a teacher does on a site's own held-out cases, and whether another does worse: liver, tumours, and tumours where there are none.

The liver alone would not do: a teacher that calls every tumour healthy liver keeps its liver Dice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol

from fedliver.cases.case_files import read_volume
from fedliver.cases.examples import Example
from fedliver.evaluation.metrics import dice, liver_dice
from fedliver.image import Volume
from fedliver.labels import TUMOUR
from fedliver.watch import Watcher, report

TOLERANCE = 0.001
"""Mean liver Dice by which a candidate may be lower and still not count as worse: a tenth of a Dice point, less than a clinician's
own repeat differs by, and more than the floating point of another processor does."""
TUMOUR_TOLERANCE = 0.02
"""The same for mean tumour Dice: small structures move more from one teacher to the next."""
FALSE_TUMOUR_ML = 1.0
"""Millilitres of tumour, mean over the cases without one, that a candidate may draw more: a lesion of 12 mm."""


class Segmenter(Protocol):
    """Seam to the network: segments ``ct`` with the teacher in ``bundle``, on the CT's grid."""

    def __call__(self, bundle: Path, ct: Volume, watcher: Watcher) -> Volume: ...


@dataclass(frozen=True)
class Judgement:
    """Means over held-out cases: liver Dice over all, tumour Dice over those that have a tumour, millilitres of tumour drawn over those that have none.

    None where there are no such cases.
    """

    liver: float
    tumour: float | None
    false_tumour_ml: float | None
    cases: int
    with_tumour: int


def judge(segmenter: Segmenter, bundle: Path, examples: Sequence[Example], watcher: "Part") -> Judgement:
    """Segment every held-out case with the teacher in ``bundle``, and score it. Raises Cancelled, and what reading and segmenting raise."""
    liver, tumour, invented = [], [], []
    for n, example in enumerate(examples):
        watcher.step(n / len(examples), 1 / len(examples))
        ct = read_volume(example.ct, example.ct.parent.name)
        assert example.labels is not None  # noqa: S101 held-out cases are approved
        reference = read_volume(example.labels, example.ct.parent.name).array
        predicted = segmenter(bundle, ct, watcher).array
        liver.append(liver_dice(predicted, reference))
        drawn, there = predicted == TUMOUR, reference == TUMOUR
        if there.any():
            tumour.append(dice(drawn, there))
        else:
            invented.append(int(drawn.sum()) * ct.geometry.voxel_ml)
    return Judgement(fmean(liver), fmean(tumour) if tumour else None, fmean(invented) if invented else None, len(liver), len(tumour))


def not_worse(candidate: Judgement, current: Judgement, tolerance: float = TOLERANCE) -> bool:
    """Whether the candidate is as good in all of it, within the tolerances. Both are of the same cases."""
    if candidate.liver < current.liver - tolerance:
        return False
    if candidate.tumour is not None and current.tumour is not None and candidate.tumour < current.tumour - TUMOUR_TOLERANCE:
        return False
    invented, before = candidate.false_tumour_ml, current.false_tumour_ml
    return invented is None or before is None or invented <= before + FALSE_TUMOUR_ML


def in_words(candidate: Judgement, current: Judgement) -> str:
    """Both judgements side by side: "liver Dice 0.951 against 0.949 on 4 held-out cases, tumour Dice 0.61 against 0.60 on the 3 with a tumour"."""
    text = f"liver Dice {candidate.liver:.3f} against {current.liver:.3f} on {candidate.cases} held-out case{'s' if candidate.cases > 1 else ''}"
    if candidate.tumour is not None and current.tumour is not None:
        text += f", tumour Dice {candidate.tumour:.3f} against {current.tumour:.3f} on the {candidate.with_tumour} with a tumour"
    if candidate.false_tumour_ml is not None and current.false_tumour_ml is not None:
        text += f", {candidate.false_tumour_ml:.1f} ml of tumour against {current.false_tumour_ml:.1f} ml where there is none"
    return text if candidate.tumour is not None else f"{text}; no held-out case has a tumour, so how it finds tumours was not judged"


class Part:
    """Shows a part of the work as a part of the whole."""

    def __init__(self, watcher: Watcher, phase: str, start: float, share: float) -> None:
        self._watcher, self._phase, self._start, self._share = watcher, phase, start, share
        self._case_start, self._case_share = 0.0, 1.0

    def step(self, done: float, share: float) -> None:
        """Begin a case: raises Cancelled."""
        self._case_start, self._case_share = done, share
        report(self, self._phase, 0.0)

    def report(self, phase: str, fraction: float) -> None:
        """Of the case that was begun."""
        self._watcher.report(self._phase, self._start + self._share * (self._case_start + self._case_share * fraction))

    def cancelled(self) -> bool:
        """Whether the one who waits wants no more."""
        return self._watcher.cancelled()
