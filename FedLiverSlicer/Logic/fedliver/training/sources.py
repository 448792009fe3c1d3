"""Where training patches come from: prepared patients in memory, drawn from at random.

A :class:`PatchSource` gives one patch a call. The student draws from one or several; the starter's recipe mixes real patients with images made from label maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import SimpleITK as sitk

from fedliver.errors import FedLiverError
from fedliver.image import Volume, from_sitk, to_monai
from fedliver.teacher.plan import TeacherPlan
from fedliver.teacher.preparation import ct_to_network_grid, labels_to_network_grid
from fedliver.training.examples import Example
from fedliver.watch import Watcher, report

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


@dataclass(frozen=True)
class _Patient:
    image: np.ndarray
    labels: np.ndarray
    where: tuple[np.ndarray, np.ndarray, np.ndarray]
    tumour_labelled: bool


class PatientPatches:
    """Patches of annotated patients, centred on liver, tumour or anything with the probabilities of ``centre_on`` (anything, liver, tumour)."""

    def __init__(self, examples: Sequence[Example], plan: TeacherPlan, watcher: Watcher, centre_on: tuple[float, float, float] = (0.25, 0.4, 0.35)) -> None:
        self._plan = plan
        self._centre_on = np.asarray(centre_on) / sum(centre_on)
        self._patients: list[_Patient] = []
        if not any(example.labels for example in examples):
            raise FedLiverError("no-approved-case", "There is no approved case to train on: segment, correct and approve at least one case first.")
        for number, example in enumerate(examples):
            report(watcher, "Reading approved cases", number / len(examples))
            if example.labels is None:
                continue
            self._patients.append(_read(example.ct, example.labels, example.tumour_labelled, plan))

    def draw(self, rng: np.random.Generator) -> Patch:
        patient = self._patients[int(rng.integers(len(self._patients)))]
        kind = int(rng.choice(3, p=self._centre_on))
        places = patient.where[kind] if len(patient.where[kind]) else patient.where[0]
        centre = np.array(np.unravel_index(places[int(rng.integers(len(places)))], patient.labels.shape[1:]))
        centre += rng.integers(-8, 9, size=3)
        return Patch(
            cut(patient.image, centre, self._plan.patch_size, self._plan.padding_value),
            cut(patient.labels, centre, self._plan.patch_size, 0),
            patient.tumour_labelled,
        )


def _read(ct: Path, labels: Path, tumour_labelled: bool, plan: TeacherPlan) -> _Patient:
    return prepared_patient(read_volume(ct), read_volume(labels), plan, tumour_labelled)


def read_volume(path: Path) -> Volume:
    """A volume of our own making (a case store's, a prepared data set's): read as it is, without the checks a stranger's CT gets."""
    return from_sitk(sitk.ReadImage(str(path)))


def prepared_patient(ct: Volume, labels: Volume, plan: TeacherPlan, tumour_labelled: bool = True) -> _Patient:
    """A patient on the network's grid, with the places of every class looked up once."""
    image = to_monai(ct_to_network_grid(ct, plan).array)
    mask = to_monai(labels_to_network_grid(labels, plan).array)
    body = np.flatnonzero(image[0] > plan.padding_value)
    anywhere = body if len(body) else np.arange(image[0].size)
    where = (anywhere.astype(np.int32), np.flatnonzero(mask[0] > 0).astype(np.int32), np.flatnonzero(mask[0] == 2).astype(np.int32))
    return _Patient(image, mask, where, tumour_labelled)


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


def augmentation(plan: TeacherPlan, seed: int) -> "Compose":
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
