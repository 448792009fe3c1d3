"""How much less a clinician has to do: a simulated one corrects slice by slice until the segmentation is good enough.

From nothing, and from each of several teachers: slices touched, millilitres edited, contour drawn anew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from fedliver.cases.case import Effort
from fedliver.cases.effort import effort
from fedliver.datasets.layouts import DatasetImage
from fedliver.evaluation.metrics import liver_dice
from fedliver.image import Volume
from fedliver.study.rows import KeptRows
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.inference import segment
from fedliver.watch import Watcher, report

GOAL = 0.97
NOTHING = "from nothing"


@dataclass(frozen=True)
class Starter:
    """What the simulated clinician starts from. ``teachers`` maps an image's name to the teacher asked for it; every fold has its own."""

    name: str
    teachers: dict[str, Teacher]


class EffortRow(BaseModel):
    """One image corrected from one start. ``dice`` is the liver's before the first correction."""

    model_config = ConfigDict(frozen=True)

    image: str
    start: str
    dice: float
    effort: Effort


def correct(start: Volume, reference: Volume, goal: float = GOAL) -> Volume:
    """What the simulated clinician makes of ``start``: whole axial slices corrected, the one with most wrong voxels first, until the liver's Dice is ``goal``.

    Corrected slices equal the reference. A real clinician neither finds the worst slice at once nor corrects it perfectly: the counts are a lower bound
    of the work, from nothing as well as from a teacher.
    """
    before, truth = start.array > 0, reference.array > 0
    both, sizes = _per_slice(before & truth), _per_slice(before) + _per_slice(truth)
    both_after, sizes_after = _per_slice(truth), 2 * _per_slice(truth)
    corrected = start.array.copy()
    wrong = _per_slice(start.array != reference.array)
    overlap, total = int(both.sum()), int(sizes.sum())
    for k in np.argsort(-wrong, kind="stable"):
        if not wrong[k] or (total and 2 * overlap / total >= goal):
            break
        corrected[k] = reference.array[k]
        overlap += int(both_after[k] - both[k])
        total += int(sizes_after[k] - sizes[k])
    return reference.with_array(corrected)


def _per_slice(mask: np.ndarray) -> np.ndarray:
    return np.count_nonzero(mask, axis=(1, 2)).astype(np.int64)


class EffortStudy(BaseModel):
    """What is compared: ``teachers`` by the name of the start, the hashes of all networks that are asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    goal: float
    teachers: dict[str, tuple[str, ...]]


def study_effort(images: Sequence[DatasetImage], starters: Sequence[Starter], results: Path, watcher: Watcher, goal: float = GOAL) -> Iterator[EffortRow]:
    """Rows as they are ready: every image from nothing, then from each starter. An image that ``results`` (JSON) holds is not corrected again."""
    asked = {starter.name: tuple(sorted({teacher.sha256 for teacher in starter.teachers.values()})) for starter in starters}
    kept = KeptRows(results, EffortStudy(goal=goal, teachers=asked), EffortRow)
    for number, image in enumerate(images):
        report(watcher, image.name, number / len(images))
        if image.example.labels is None:
            continue
        rows = [row for row in kept.rows if row.image == image.name]
        if not rows:
            ct, reference = read_pair(image)
            rows = [_row(image.name, NOTHING, reference.with_array(np.zeros_like(reference.array)), reference, goal)]
            for starter in starters:
                report(watcher, f"{image.name} from {starter.name}", number / len(images))
                answer = counted_labels(segment(starter.teachers[image.name], ct).labels, image)
                rows.append(_row(image.name, starter.name, answer, reference, goal))
            kept.add(rows)
        yield from rows


def read_pair(image: DatasetImage) -> tuple[Volume, Volume]:
    """An annotated image's CT and its labels on the CT's grid."""
    from fedliver.ct_reader import read_ct
    from fedliver.segmentation_file import read_segmentation

    assert image.example.labels is not None  # noqa: S101 annotated images
    ct = read_ct(image.example.ct).volume
    return ct, read_segmentation(image.example.labels, onto=ct.geometry)


def counted_labels(answer: Volume, image: DatasetImage) -> Volume:
    """A teacher's answer as far as the annotation says anything: where tumours are annotated as liver, nobody would correct a tumour."""
    return answer if image.example.tumour_labelled else answer.with_array(np.minimum(answer.array, 1))


def _row(image: str, name: str, start: Volume, reference: Volume, goal: float) -> EffortRow:
    return EffortRow(image=image, start=name, dice=liver_dice(start.array, reference.array), effort=effort(start, correct(start, reference, goal)))


@dataclass(frozen=True)
class EffortSummary:
    """One start over all images: means, and the part of the work that it saves against nothing (0 to 1; None for nothing itself)."""

    start: str
    images: int
    dice: float
    slices: float
    ml: float
    path_mm: float
    slices_saved: float | None
    ml_saved: float | None
    path_saved: float | None


def summarise_effort(rows: Sequence[EffortRow]) -> list[EffortSummary]:
    """In the order in which the starts first appear. What is saved is of the sums, so that large corrections count as what they are."""
    starts = list(dict.fromkeys(row.start for row in rows))
    sums = {start: _sums([row for row in rows if row.start == start]) for start in starts}
    summaries = []
    for start in starts:
        chosen = [row for row in rows if row.start == start]
        saved = [None if start == NOTHING or not none else 1 - own / none for own, none in zip(sums[start], sums.get(NOTHING, (0, 0, 0)), strict=True)]
        n = len(chosen)
        slices, ml, path = (value / n for value in sums[start])
        summaries.append(EffortSummary(start, n, float(np.mean([row.dice for row in chosen])), slices, ml, path, *saved))
    return summaries


def _sums(rows: Sequence[EffortRow]) -> tuple[float, float, float]:
    efforts = [row.effort for row in rows]
    return (
        float(sum(one.slices_touched for one in efforts)),
        sum(one.ml_changed for one in efforts),
        sum(one.added_path_length_mm for one in efforts),
    )
