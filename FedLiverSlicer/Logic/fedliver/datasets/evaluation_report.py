"""The HTML report of a data set's scores, with pictures of the worst images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedliver import __version__
from fedliver.datasets.evaluation import DatasetScores
from fedliver.evaluation.confidence import LEVEL, RESAMPLES
from fedliver.evaluation.figures import GREEN, VERMILION, YELLOW, Outline, crossing, three_planes
from fedliver.evaluation.report import Cell, Page
from fedliver.evaluation.summary import MEASURES, Estimate, ImageScores, Measure
from fedliver.image import Volume

PICTURES = 3
_TISSUE_HU = 0


@dataclass(frozen=True)
class Picture:
    """An image's worst side, as PNG."""

    scored: ImageScores
    png: bytes


class WorstPictures:
    """An :class:`~fedliver.datasets.evaluation.Onlooker` that keeps pictures, not volumes.

    Of the images with the lowest liver Dice, and of those with the lowest tumour Dice among the ones with a tumour of 15 mm or more.
    """

    def __init__(self, count: int = PICTURES) -> None:
        self._count = count
        self._livers: list[Picture] = []
        self._tumours: list[Picture] = []

    def __call__(self, scored: ImageScores, ct: Volume | None, prediction: Volume, reference: Volume) -> None:
        wanted = self._is_among(self._livers, scored, _liver_dice)
        has_lesion = scored.tumour_labelled and scored.scores.lesions.reference > 0
        wanted_tumour = has_lesion and self._is_among(self._tumours, scored, _tumour_dice)
        if not (wanted or wanted_tumour):
            return
        picture = Picture(scored, _draw(scored, ct, prediction, reference))
        if wanted:
            self._livers = sorted([*self._livers, picture], key=lambda one: _liver_dice(one.scored))[: self._count]
        if wanted_tumour:
            self._tumours = sorted([*self._tumours, picture], key=lambda one: _tumour_dice(one.scored))[: self._count]

    @property
    def pictures(self) -> list[Picture]:
        """The worst livers, then the worst tumours; an image that is both is shown once."""
        shown = {one.scored.name for one in self._livers}
        return [*self._livers, *(one for one in self._tumours if one.scored.name not in shown)]

    def _is_among(self, kept: list[Picture], scored: ImageScores, key: Callable[[ImageScores], float]) -> bool:
        return len(kept) < self._count or key(scored) < key(kept[-1].scored)


def _liver_dice(one: ImageScores) -> float:
    return one.scores.liver.dice


def _tumour_dice(one: ImageScores) -> float:
    return one.scores.tumour.dice


def _draw(scored: ImageScores, ct: Volume | None, prediction: Volume, reference: Volume) -> bytes:
    behind = ct or reference.with_array(np.full(reference.array.shape, _TISSUE_HU, np.int16))
    outlines = [Outline(reference, "Reference", GREEN, "--", YELLOW), Outline(prediction, "Prediction", VERMILION)]
    return three_planes(behind, outlines, title=scored.name, centre_mm=crossing(reference) or crossing(prediction))


def write_dataset_report(scores: DatasetScores, pictures: list[Picture], target: Path) -> None:
    """Write the page, whole or not at all."""
    stopped = "" if len(scores.images) + len(scores.refused) == scores.asked else " It was stopped before the end."
    page = Page(
        f"{scores.subject} on {scores.asked} images",
        f"{len(scores.images)} of {scores.asked} images were scored, of {len({one.patient for one in scores.images})} patients.{stopped} Research use only.",
    )
    _summary(page, scores)
    _images(page, scores)
    if scores.refused:
        page.section("Not scored", "These images are in no number above.")
        page.table(("Image", "Why"), [(one.name, one.sentence) for one in scores.refused])
    if pictures:
        page.section(
            "The worst", "Lowest liver Dice first, then lowest tumour Dice. The planes cross in the largest tumour of the reference, else in its liver."
        )
        for picture in pictures:
            page.picture(picture.png, _caption(picture.scored))
    page.section(
        "About this page", f"Written by fedliver {__version__}. It shows the names of the images as they are on disk: look at them before passing it on."
    )
    page.write(target)


def _summary(page: Page, scores: DatasetScores) -> None:
    page.section(
        "Together",
        f"Means over patients with {LEVEL:.0%} confidence intervals (bootstrap over patients, {RESAMPLES:,} draws, percentiles); "
        "they are too narrow where patients are few. "
        "Specificity is of all voxels of a scan. Lesions are connected tumours of 15 mm or more, pooled over patients; found means touched.",
    )
    rows = [row for measure in MEASURES if (row := _summary_row(measure, getattr(scores.summary, measure.field)))]
    page.table(("Score", "Mean", "95 % interval", "Worst", "Worst image", "Patients"), rows)
    undefined = sum(estimate.undefined for measure in MEASURES if (estimate := getattr(scores.summary, measure.field)))
    if undefined:
        page.text("A worst of “none” means that the score is not defined there, mostly because no liver was found; such images are not in the mean.")
    if scores.summary.expected_dice_correlation is not None:
        page.text(f"Correlation of the Dice that the teacher expected with the true one: {scores.summary.expected_dice_correlation:.2f}.")


def _summary_row(measure: Measure, estimate: Estimate | None) -> tuple[Cell, ...] | None:
    if estimate is None:
        return None
    return (measure.title, *estimate_texts(measure, estimate), estimate.worst_image, estimate.patients)


def estimate_texts(measure: Measure, estimate: Estimate) -> tuple[str, str, str]:
    """Mean, interval and worst in words: a dash where there is none, "none" where the worst image has no value."""

    def text(value: float | None, missing: str = "–") -> str:
        return missing if value is None else measure.form.format(value)

    interval = "–" if estimate.low is None else f"{text(estimate.low)} to {text(estimate.high)}"
    return text(estimate.mean), interval, text(estimate.worst, "none")


def _images(page: Page, scores: DatasetScores) -> None:
    page.section("Image by image")
    rows: list[tuple[Cell, ...]] = []
    for one in scores.images:
        liver, lesions = one.scores.liver, one.scores.lesions
        known = one.tumour_labelled
        rows.append(
            (
                one.name,
                liver.dice,
                None if liver.hd95_mm is None else round(liver.hd95_mm, 1),
                liver.nsd,
                None if liver.volume_error_percent is None else round(liver.volume_error_percent, 1),
                liver.sensitivity,
                liver.specificity,
                one.scores.tumour.dice if known and one.scores.tumour.reference_ml else None,
                f"{lesions.reference_found} of {lesions.reference}" if known else "not annotated",
                f"{lesions.prediction_true} of {lesions.prediction}" if known else "not annotated",
                None if one.seconds is None else round(one.seconds, 1),
            )
        )
    headers = ("Image", "Liver Dice", "HD95, mm", "NSD", "Volume, %", "Sensitivity", "Specificity", "Tumour Dice", "Lesions found", "Lesions true", "Seconds")
    page.table(headers, rows, "Tumour Dice of every image with tumour; the mean above counts those of 15 mm or more.")


def _caption(one: ImageScores) -> str:
    tumour = f" Tumour Dice {one.scores.tumour.dice:.3f}." if one.tumour_labelled and one.scores.tumour.reference_ml else ""
    return f"{one.name}: liver Dice {one.scores.liver.dice:.3f}.{tumour} Axial, coronal and sagittal; the patient's right is on the left."
