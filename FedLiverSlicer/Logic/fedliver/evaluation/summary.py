"""Many scored images in a few numbers: each score's mean over patients with its 95 % confidence interval, and its worst image.

Liver scores count the images whose reference holds liver; the others (a chest, a pelvis) are asked how much liver was made up. Tumour Dice
counts the images with a tumour of :data:`~fedliver.evaluation.metrics.LESION_MM` or more; lesions are pooled: all found of all there.
A patient with several images counts once, with the mean over them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from fedliver.evaluation.confidence import bootstrap_interval
from fedliver.evaluation.metrics import Scores


class ImageScores(BaseModel):
    """The scores of one image. ``tumour_labelled`` is False where tumours were annotated as liver: then only the liver counts.

    ``expected_dice`` is what the teacher itself expected of its liver, where it says so; ``seconds`` is what the segmentation took.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    patient: str
    scores: Scores
    tumour_labelled: bool = True
    seconds: float | None = None
    expected_dice: float | None = None


class Estimate(BaseModel):
    """One score over patients: mean, 95 % confidence interval (bootstrap over patients), worst image.

    ``undefined`` counts images that ought to have the score but have none, such as HD95 where no liver was found; they are not in the mean, but
    one of them is the worst, and ``worst`` is then None.
    """

    model_config = ConfigDict(frozen=True)

    mean: float | None
    low: float | None
    high: float | None
    worst: float | None
    worst_image: str
    patients: int
    undefined: int = 0


class Summary(BaseModel):
    """What a data set says of a teacher. None where no image has the score."""

    model_config = ConfigDict(frozen=True)

    liver_dice: Estimate | None = None
    liver_hd95_mm: Estimate | None = None
    liver_nsd: Estimate | None = None
    liver_volume_error_percent: Estimate | None = None
    """Without its sign: errors of opposite signs do not cancel."""
    liver_sensitivity: Estimate | None = None
    liver_specificity: Estimate | None = None
    liver_f1: Estimate | None = None
    tumour_dice: Estimate | None = None
    lesion_recall: Estimate | None = None
    lesion_precision: Estimate | None = None
    made_up_liver_ml: Estimate | None = None
    """In images without liver."""
    made_up_tumour_ml: Estimate | None = None
    """In images without tumour."""
    seconds: Estimate | None = None
    expected_dice_error: Estimate | None = None
    """How far the teacher's expected Dice of the liver was from the true one, without sign."""
    expected_dice_correlation: float | None = None
    """Pearson's, over images, of expected and true Dice; None for fewer than three images or where one of them does not vary."""


@dataclass(frozen=True)
class Measure:
    """One score: how it is called and shown, where it applies, and its value as (part, whole); a whole of None means it is not pooled."""

    field: str
    title: str
    form: str
    larger_is_better: bool
    applies: Callable[[ImageScores], bool]
    value: Callable[[ImageScores], float | None]
    counts: Callable[[ImageScores], tuple[int, int]] | None = None


def _has_liver(one: ImageScores) -> bool:
    return one.scores.liver.reference_ml > 0


def _has_lesion(one: ImageScores) -> bool:
    return one.tumour_labelled and one.scores.lesions.reference > 0


def _error(one: ImageScores) -> float | None:
    error = one.scores.liver.volume_error_percent
    return None if error is None else abs(error)


def _expected_error(one: ImageScores) -> float | None:
    return None if one.expected_dice is None else abs(one.expected_dice - one.scores.liver.dice)


MEASURES = (
    Measure("liver_dice", "Liver Dice", "{:.3f}", True, _has_liver, lambda one: one.scores.liver.dice),
    Measure("liver_hd95_mm", "Liver HD95, mm", "{:.1f}", False, _has_liver, lambda one: one.scores.liver.hd95_mm),
    Measure("liver_nsd", "Liver NSD at 2 mm", "{:.3f}", True, _has_liver, lambda one: one.scores.liver.nsd),
    Measure("liver_volume_error_percent", "Liver volume error, %", "{:.1f}", False, _has_liver, _error),
    Measure("liver_sensitivity", "Liver sensitivity", "{:.3f}", True, _has_liver, lambda one: one.scores.liver.sensitivity),
    Measure("liver_specificity", "Liver specificity", "{:.4f}", True, _has_liver, lambda one: one.scores.liver.specificity),
    Measure("liver_f1", "Liver F1", "{:.3f}", True, _has_liver, lambda one: one.scores.liver.f1),
    Measure("tumour_dice", "Tumour Dice (15 mm or more there)", "{:.3f}", True, _has_lesion, lambda one: one.scores.tumour.dice),
    Measure(
        "lesion_recall",
        "Lesions of 15 mm or more found",
        "{:.3f}",
        True,
        _has_lesion,
        lambda one: one.scores.lesions.recall,
        lambda one: (one.scores.lesions.reference_found, one.scores.lesions.reference),
    ),
    Measure(
        "lesion_precision",
        "Lesions of 15 mm or more shown that are true",
        "{:.3f}",
        True,
        lambda one: one.tumour_labelled and one.scores.lesions.prediction > 0,
        lambda one: one.scores.lesions.precision,
        lambda one: (one.scores.lesions.prediction_true, one.scores.lesions.prediction),
    ),
    Measure(
        "made_up_liver_ml",
        "Liver made up where there is none, ml",
        "{:.1f}",
        False,
        lambda one: not _has_liver(one),
        lambda one: one.scores.liver.prediction_ml,
    ),
    Measure(
        "made_up_tumour_ml",
        "Tumour made up where there is none, ml",
        "{:.1f}",
        False,
        lambda one: one.tumour_labelled and one.scores.tumour.reference_ml == 0,
        lambda one: one.scores.tumour.prediction_ml,
    ),
    Measure("seconds", "Seconds", "{:.1f}", False, lambda one: one.seconds is not None, lambda one: one.seconds),
    Measure(
        "expected_dice_error", "Error of the expected Dice", "{:.3f}", False, lambda one: _has_liver(one) and one.expected_dice is not None, _expected_error
    ),
)


def summarise(images: Sequence[ImageScores]) -> Summary:
    """The summary of scored images."""
    estimates = {measure.field: _estimate(measure, [one for one in images if measure.applies(one)]) for measure in MEASURES}
    return Summary(**estimates, expected_dice_correlation=_correlation(images))


def _estimate(measure: Measure, images: Sequence[ImageScores]) -> Estimate | None:
    if not images:
        return None
    values = [(one, measure.value(one)) for one in images]
    known = [(one, value) for one, value in values if value is not None]
    undefined = [one for one, value in values if value is None]
    numerators, denominators = _per_patient(measure, known)
    interval = bootstrap_interval(numerators, denominators)
    total = denominators.sum()
    if undefined:
        worst, worst_image = None, undefined[0].name
    else:
        one, worst = (min if measure.larger_is_better else max)(known, key=lambda pair: pair[1])
        worst_image = one.name
    return Estimate(
        mean=float(numerators.sum() / total) if total else None,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        worst=worst,
        worst_image=worst_image,
        patients=len(numerators),
        undefined=len(undefined),
    )


def _per_patient(measure: Measure, known: Sequence[tuple[ImageScores, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Part and whole of each patient: the mean of the images and 1, or the counts of all images together."""
    patients: dict[str, list[tuple[float, float]]] = {}
    for one, value in known:
        patients.setdefault(one.patient, []).append(measure.counts(one) if measure.counts else (value, 1.0))
    sums = np.array([np.sum(parts, axis=0) for parts in patients.values()], dtype=float).reshape(-1, 2)
    return (sums[:, 0], sums[:, 1]) if measure.counts else (sums[:, 0] / sums[:, 1], np.ones(len(sums)))


def _correlation(images: Sequence[ImageScores]) -> float | None:
    pairs = np.array([(one.expected_dice, one.scores.liver.dice) for one in images if one.expected_dice is not None and _has_liver(one)])
    if len(pairs) < 3 or np.ptp(pairs[:, 0]) == 0 or np.ptp(pairs[:, 1]) == 0:
        return None
    return float(np.corrcoef(pairs.T)[0, 1])
