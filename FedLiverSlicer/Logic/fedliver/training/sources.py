"""Where training patches come from: prepared patients in memory, drawn from at random.

A :class:`PatchSource` gives one patch a call. The student draws from one or several; the starter's recipe mixes real patients with images made from label maps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import SimpleITK as sitk

from fedliver.cases.examples import Example
from fedliver.ct_reader import read_ct
from fedliver.errors import FedLiverError
from fedliver.image import Volume, box_of, from_sitk, to_monai
from fedliver.labels import LIVER, TUMOUR
from fedliver.segmentation_file import read_segmentation
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.device import Device
from fedliver.teacher.inference import where_to_look
from fedliver.teacher.plan import StagePlan, TeacherPlan
from fedliver.teacher.preparation import ct_to_network_grid, labels_to_network_grid
from fedliver.training.grains import Grains
from fedliver.training.lesions import grow_lesions
from fedliver.training.loss import IGNORE
from fedliver.watch import Silent, Watcher, report

if TYPE_CHECKING:
    from monai.transforms import Compose


@dataclass(frozen=True)
class Patch:
    """``image`` float32 and ``labels`` uint8, both (1, i, j, k) of the plan's patch size."""

    image: np.ndarray
    labels: np.ndarray
    tumour_labelled: bool


class PatchSource(Protocol):
    """Seam between training and its data."""

    def draw(self, rng: np.random.Generator) -> Patch:
        """One random patch, before augmentation."""


AROUND_MM = 45.0
"""A fine network trains on this much around a liver; it is asked about :attr:`~fedliver.teacher.plan.TeacherPlan.margin_mm`."""
MOST_IN_MEMORY = 150
"""Patients held in memory at a time, about 2.5 GB at 1.5 mm, 4.3 GB at 1.25; of more, every training draws anew."""


@dataclass(frozen=True)
class PreparedPatient:
    """A patient on a network's grid: ``image`` float16 in 0..1 (a step is 0.2 HU), ``labels`` uint8, both (1, i, j, k).

    ``where`` holds the places to centre patches on: anywhere, liver, tumour.
    """

    image: np.ndarray
    labels: np.ndarray
    where: tuple[np.ndarray, np.ndarray, np.ndarray]
    tumour_labelled: bool


class PatientPatches:
    """Patches of prepared patients, centred on anything, liver or tumour with the probabilities of ``centre_on``.

    In the share ``with_lesions`` of the patches of patients whose tumours are annotated, made-up lesions are grown beside the real ones.
    """

    def __init__(
        self, patients: Sequence[PreparedPatient], plan: StagePlan, centre_on: tuple[float, float, float] = (0.25, 0.4, 0.35), with_lesions: float = 0.0
    ) -> None:
        self._plan = plan
        self._with_lesions = with_lesions
        self._centre_on = np.asarray(centre_on) / sum(centre_on)
        self._patients = list(patients)

    @classmethod
    def of(cls, examples: Sequence[Example], plan: StagePlan, watcher: Watcher, rng: np.random.Generator | None = None) -> "PatientPatches":
        """Read the annotated examples, or as many as memory allows, drawn by ``rng``.

        Raises
        ------
        FedLiverError
            ``no-approved-case`` when none has labels.
        """
        annotated = [example for example in examples if example.labels]
        if not annotated:
            raise FedLiverError("no-approved-case", "There is no approved case to train on: segment, correct and approve at least one case first.")
        annotated = _drawn(annotated, rng)
        patients = []
        for number, example in enumerate(annotated):
            report(watcher, "Reading approved cases", number / len(annotated))
            patients.append(prepared_example(example, plan, AROUND_MM if _works_in_a_box(plan) else None))
        return cls(patients, plan)

    def draw(self, rng: np.random.Generator) -> Patch:
        patient = self._patients[int(rng.integers(len(self._patients)))]
        kind = int(rng.choice(3, p=self._centre_on))
        places = patient.where[kind] if len(patient.where[kind]) else patient.where[0]
        centre = np.array(np.unravel_index(places[int(rng.integers(len(places)))], patient.labels.shape[1:]))
        centre += rng.integers(-8, 9, size=3)
        patch = Patch(
            cut(patient.image, centre, self._plan.patch_size, self._plan.padding_value).astype(np.float32),
            cut(patient.labels, centre, self._plan.patch_size, 0),
            patient.tumour_labelled,
        )
        if self._with_lesions and patient.tumour_labelled and rng.uniform() < self._with_lesions:
            self._grow_lesions(patch, rng)
        return patch

    def _grow_lesions(self, patch: Patch, rng: np.random.Generator) -> None:
        low, high = self._plan.window_hu
        hu = patch.image[0] * (high - low) + low
        wobble = Grains(hu.shape, self._plan.spacing_mm, rng).noise(12)
        grow_lesions(hu, patch.labels[0], wobble, self._plan.spacing_mm, rng)
        patch.image[0] = ((hu - low) / (high - low)).clip(0, 1)


class UnlabelledPatches:
    """Patches of scans nobody annotated, from where the teacher sees the liver. Their labels are all :data:`~fedliver.training.loss.IGNORE`."""

    def __init__(self, patients: Sequence[PreparedPatient], plan: StagePlan) -> None:
        self._patches = PatientPatches(patients, plan, (1.0, 0.0, 0.0))

    @classmethod
    def of(
        cls, examples: Sequence[Example], teacher: Teacher, watcher: Watcher, rng: np.random.Generator | None = None, device: Device | None = None
    ) -> "UnlabelledPatches | None":
        """Read the examples without labels, or as many as memory allows; None where there is none with a liver."""
        scans = _drawn([example for example in examples if example.labels is None], rng)
        patients = []
        for number, example in enumerate(scans):
            report(watcher, "Reading scans without labels", number / len(scans))
            patient = _around_the_liver(read_volume(example.ct), teacher, device)
            if patient is not None:
                patients.append(patient)
        return cls(patients, teacher.plan) if patients else None

    def draw(self, rng: np.random.Generator) -> Patch:
        return self._patches.draw(rng)


def _around_the_liver(ct: Volume, teacher: Teacher, device: Device | None) -> PreparedPatient | None:
    grid = where_to_look(teacher, ct, Silent(), device)
    if grid is None:
        return None
    image = to_monai(ct_to_network_grid(ct, teacher.plan, grid).array)
    return prepared(image, np.full(image.shape, IGNORE, np.uint8), teacher.plan, tumour_labelled=False)


def _drawn(examples: list[Example], rng: np.random.Generator | None) -> list[Example]:
    if len(examples) <= MOST_IN_MEMORY:
        return examples
    chosen = (rng or np.random.default_rng()).choice(len(examples), MOST_IN_MEMORY, replace=False)
    return [examples[int(index)] for index in sorted(chosen)]


def _works_in_a_box(plan: StagePlan) -> bool:
    return isinstance(plan, TeacherPlan) and plan.finder is not None


Reader = Callable[[Example], tuple[Volume, Volume]]
"""Seam: reads CT and labels of an annotated example."""


def of_our_own(example: Example) -> tuple[Volume, Volume]:
    """CT and labels as a case store keeps them: whole, clean and in our numbers."""
    return read_volume(example.ct), read_volume(_labels_of(example))


def of_a_stranger(example: Example) -> tuple[Volume, Volume]:
    """CT and labels of a data set from outside: padding and NaN around the scan become air, a segmentation's labels ours.

    Raises
    ------
    FedLiverError
        What :func:`~fedliver.ct_reader.read_ct` and :func:`~fedliver.segmentation_file.read_segmentation` raise.
    """
    ct = read_ct(example.ct).volume
    return ct, read_segmentation(_labels_of(example), onto=ct.geometry)


def _labels_of(example: Example) -> Path:
    if example.labels is None:
        raise ValueError("the example has no labels")
    return example.labels


def prepared_example(example: Example, plan: StagePlan, around_mm: float | None = None, read: Reader = of_our_own) -> PreparedPatient:
    """An annotated example on the grid of ``plan``; with ``around_mm``, only the box around its liver with that margin."""
    ct, truth = read(example)
    image = to_monai(ct_to_network_grid(ct, plan).array)
    labels = to_monai(labels_to_network_grid(truth, plan).array)
    return prepared(image, labels, plan, example.tumour_labelled, around_mm)


def read_volume(path: Path) -> Volume:
    """A volume of our own making (a case store's, a prepared data set's): read as it is, without the checks a stranger's CT gets."""
    return from_sitk(sitk.ReadImage(str(path)))


def prepared(image: np.ndarray, labels: np.ndarray, plan: StagePlan, tumour_labelled: bool, around_mm: float | None = None) -> PreparedPatient:
    """A patient from its arrays on the network's grid, (1, i, j, k), with the places of every class looked up once."""
    if around_mm is not None and (labels == LIVER).any():
        box = (slice(None), *box_around(labels[0] == LIVER, plan.spacing_mm, around_mm))
        image, labels = np.ascontiguousarray(image[box]), np.ascontiguousarray(labels[box])
    body = np.flatnonzero(image[0] > plan.padding_value)
    anywhere = body if len(body) else np.arange(image[0].size)
    is_liver = (labels[0] == LIVER) | (labels[0] == TUMOUR)
    where = tuple(some(places) for places in (anywhere, np.flatnonzero(is_liver), np.flatnonzero(labels[0] == TUMOUR)))
    return PreparedPatient(image.astype(np.float16), labels, where, tumour_labelled)  # type: ignore[arg-type]


def some(places: np.ndarray) -> np.ndarray:
    """Every n-th place: enough to draw from, without keeping one number per voxel of a whole body."""
    return places[:: max(1, len(places) // 200_000)].astype(np.int32)


def box_around(mask: np.ndarray, spacing_mm: tuple[float, float, float], margin_mm: float) -> tuple[slice, slice, slice]:
    """The smallest box around what is true, with a margin, within the array; spacing in the order of its axes."""
    return box_of(mask, [round(margin_mm / spacing) for spacing in spacing_mm])


def cut(array: np.ndarray, centre: np.ndarray, size: tuple[int, int, int], outside: float) -> np.ndarray:
    """The box of ``size`` around ``centre`` of a (1, i, j, k) array; what lies beyond is ``outside``.

    A patch larger than the array keeps the array whole, at a place that varies with the centre.
    """
    out = np.full((1, *size), outside, array.dtype)
    source, target = [], []
    for axis in range(3):
        extent, length = array.shape[axis + 1], size[axis]
        start = int(np.clip(centre[axis] - length // 2, min(0, extent - length), max(0, extent - length)))
        first, last = max(start, 0), min(start + length, extent)
        source.append(slice(first, last))
        target.append(slice(first - start, last - start))
    out[(slice(None), *target)] = array[(slice(None), *source)]
    return out


def augmentation(seed: int) -> "Compose":
    """MONAI's random transforms for CT patches in 0..1, keys ``image`` and ``labels``. No flips: the liver lies on the right."""
    from monai.transforms import (
        Compose,
        RandAdjustContrastd,
        RandAffined,
        RandGaussianNoised,
        RandGaussianSmoothd,
        RandScaleIntensityd,
        RandShiftIntensityd,
        RandSimulateLowResolutiond,
        ThresholdIntensityd,
    )

    return Compose(
        [
            RandAffined(
                ["image", "labels"],
                prob=0.6,
                rotate_range=(0.12, 0.12, 0.26),
                scale_range=(0.15, 0.15, 0.2),
                translate_range=(4, 4, 4),
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            RandGaussianNoised("image", prob=0.4, std=0.06),
            RandGaussianSmoothd("image", prob=0.2, sigma_x=(0.3, 1.0), sigma_y=(0.3, 1.0), sigma_z=(0.3, 1.0)),
            RandScaleIntensityd("image", factors=0.2, prob=0.5),
            RandShiftIntensityd("image", offsets=0.08, prob=0.5),
            RandAdjustContrastd("image", prob=0.2, gamma=(0.75, 1.35)),
            RandSimulateLowResolutiond("image", prob=0.15, zoom_range=(0.5, 1.0)),
            ThresholdIntensityd("image", threshold=0.0, above=True, cval=0.0),
            ThresholdIntensityd("image", threshold=1.0, above=False, cval=1.0),
        ]
    ).set_random_state(seed=seed)
