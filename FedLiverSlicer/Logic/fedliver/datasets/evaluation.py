"""A teacher, or a folder of segmentations, scored on a whole data set."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict

from fedliver.errors import FedLiverError
from fedliver.evaluation.metrics import compare
from fedliver.evaluation.summary import ImageScores, Summary, summarise
from fedliver.image import Volume
from fedliver.watch import Silent, Watcher, report

if TYPE_CHECKING:
    from fedliver.datasets.layouts import DatasetImage
    from fedliver.teacher.bundle import Teacher


class Refusal(BaseModel):
    """An image that could not be scored, and why."""

    model_config = ConfigDict(frozen=True)

    name: str
    code: str
    sentence: str


class DatasetScores(BaseModel):
    """Every image's scores and their summary. ``asked`` is how many images there were: more than scored and refused, if it was stopped."""

    model_config = ConfigDict(frozen=True)

    subject: str
    """What was scored: a teacher's name and version, or a folder's name."""
    asked: int
    images: tuple[ImageScores, ...]
    refused: tuple[Refusal, ...]
    summary: Summary

    @classmethod
    def of(cls, subject: str, asked: int, results: Iterable[ImageScores | Refusal]) -> "DatasetScores":
        """Scores of what came so far."""
        kept = list(results)
        images = tuple(one for one in kept if isinstance(one, ImageScores))
        return cls(subject=subject, asked=asked, images=images, refused=tuple(one for one in kept if isinstance(one, Refusal)), summary=summarise(images))

    @classmethod
    def joined(cls, subject: str, parts: Sequence["DatasetScores"]) -> "DatasetScores":
        """Several evaluations as one: the folds of a cross-validation."""
        results: list[ImageScores | Refusal] = []
        for part in parts:
            results += [*part.images, *part.refused]
        return cls.of(subject, sum(part.asked for part in parts), results)

    @property
    def whole(self) -> bool:
        """Whether every image was scored."""
        return len(self.images) == self.asked


@dataclass(frozen=True)
class Prediction:
    """What a segmenter answers: labels on the CT's grid, and what it expects the liver's Dice to be, where it says so."""

    labels: Volume
    seconds: float | None = None
    expected_dice: float | None = None


class Segmenter(Protocol):
    """Seam between a data set and what segments it."""

    def __call__(self, ct: Volume, watcher: Watcher) -> Prediction:
        """Segment a CT in Hounsfield units."""


class TeacherSegmenter:
    """A teacher as a segmenter."""

    def __init__(self, teacher: "Teacher") -> None:
        self._teacher = teacher

    def __call__(self, ct: Volume, watcher: Watcher) -> Prediction:
        from fedliver.teacher.inference import segment

        result = segment(self._teacher, ct, watcher)
        return Prediction(result.labels, result.seconds, result.expected_dice)


class Onlooker(Protocol):
    """Is shown every scored image with its volumes: for pictures."""

    def __call__(self, scored: ImageScores, ct: Volume | None, prediction: Volume, reference: Volume) -> None: ...


def evaluate_dataset(
    images: Sequence["DatasetImage"], teacher: "Teacher", *, watcher: Watcher | None = None, onlooker: Onlooker | None = None
) -> DatasetScores:
    """Segment every image with the teacher and score it against its labels.

    An image that cannot be read or scored is listed as refused and does not stop the others.

    Raises
    ------
    FedLiverError
        ``nothing-scored`` if no image could be.
    Cancelled
        Use :func:`score_images` to keep what was scored before.
    """
    results = list(score_images(images, TeacherSegmenter(teacher), watcher=watcher, onlooker=onlooker))
    scores = DatasetScores.of(f"{teacher.name} {teacher.version}", len(images), results)
    require_some(scores)
    return scores


def score_images(
    images: Sequence["DatasetImage"], segmenter: Segmenter, *, watcher: Watcher | None = None, onlooker: Onlooker | None = None
) -> Iterator[ImageScores | Refusal]:
    """The result of each annotated image in turn, as it is ready."""
    watcher = watcher or Silent()
    for number, image in enumerate(images):
        part = _PartOf(watcher, f"{image.name} ({number + 1} of {len(images)})", number, len(images))
        try:
            yield _score_image(image, segmenter, part, onlooker)
        except FedLiverError as error:
            yield Refusal(name=image.name, code=error.code, sentence=error.sentence)


def score_predictions(
    predictions: dict[str, Path], references: dict[str, Path], *, watcher: Watcher | None = None, onlooker: Onlooker | None = None
) -> Iterator[ImageScores | Refusal]:
    """The scores of saved segmentations, each against the reference of its name; every image counts as a patient.

    A reference without a prediction is refused, so that what was not segmented is not forgotten.
    """
    watcher = watcher or Silent()
    for number, (name, reference) in enumerate(references.items()):
        report(watcher, f"{name} ({number + 1} of {len(references)})", number / len(references))
        try:
            if name not in predictions:
                raise FedLiverError("no-prediction", f"There is no prediction for {name}: segment it, or take its reference away.")
            yield _score_prediction(name, predictions[name], reference, onlooker)
        except FedLiverError as error:
            yield Refusal(name=name, code=error.code, sentence=error.sentence)


def require_some(scores: DatasetScores) -> None:
    """Raises FedLiverError ``nothing-scored`` if no image was scored."""
    if scores.images:
        return
    if scores.refused:
        first = scores.refused[0]
        raise FedLiverError("nothing-scored", f"None of the {scores.asked} images could be scored. The first, {first.name}: {first.sentence}")
    raise FedLiverError("nothing-scored", "There is no annotated image here to score: the labels lie beside the CTs, or in labelsTr.")


def _score_image(image: "DatasetImage", segmenter: Segmenter, watcher: Watcher, onlooker: Onlooker | None) -> ImageScores:
    from fedliver.ct_reader import read_ct
    from fedliver.segmentation_file import read_segmentation

    if image.example.labels is None:
        raise FedLiverError("no-labels", f"{image.name} has no labels to be scored against: annotate it, or leave it out.")
    report(watcher, "reading", 0.0)
    ct = read_ct(image.example.ct).volume
    reference = read_segmentation(image.example.labels, onto=ct.geometry)
    prediction = segmenter(ct, watcher)
    report(watcher, "scoring", 1.0)
    scored = ImageScores(
        name=image.name,
        patient=image.patient,
        scores=compare(prediction.labels, reference),
        tumour_labelled=image.example.tumour_labelled,
        seconds=prediction.seconds,
        expected_dice=prediction.expected_dice,
    )
    if onlooker:
        onlooker(scored, ct, prediction.labels, reference)
    return scored


def _score_prediction(name: str, prediction: Path, reference: Path, onlooker: Onlooker | None) -> ImageScores:
    from fedliver.segmentation_file import read_segmentation

    truth = read_segmentation(reference)
    labels = read_segmentation(prediction, onto=truth.geometry)
    scored = ImageScores(name=name, patient=name, scores=compare(labels, truth))
    if onlooker:
        onlooker(scored, None, labels, truth)
    return scored


class _PartOf:
    """The watcher of one image among many."""

    def __init__(self, watcher: Watcher, name: str, number: int, total: int) -> None:
        self._watcher, self._name, self._number, self._total = watcher, name, number, total

    def report(self, phase: str, fraction: float) -> None:
        self._watcher.report(f"{self._name}: {phase.lower()}", (self._number + fraction) / self._total)

    def cancelled(self) -> bool:
        return self._watcher.cancelled()
