"""Is every image of a data set fit to train on? What is refused, and why; and what a split needs to know of the rest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydantic import BaseModel, ConfigDict

from fedliver.cases.case import Fingerprint
from fedliver.cases.checks import check as check_labels
from fedliver.cases.fingerprint import ct_sha256, nearly_identical
from fedliver.ct_reader import read_ct
from fedliver.datasets.evaluation import Refusal
from fedliver.datasets.layouts import DatasetImage
from fedliver.datasets.split import PatientImages
from fedliver.errors import FedLiverError
from fedliver.image import Volume, to_sitk
from fedliver.labels import TUMOUR
from fedliver.segmentation_file import read_segmentation
from fedliver.watch import Silent, Watcher, report

SMALLEST_TUMOUR_ML = 0.1
_LEFT_MM = 15.0
_BODY_HU = -300


class CheckedImage(BaseModel):
    """An image that may train. ``tumours`` is None where tumours were not annotated."""

    model_config = ConfigDict(frozen=True)

    name: str
    patient: str
    liver_ml: float
    tumour_ml: float
    tumours: int | None
    notes: tuple[str, ...] = ()


class DatasetCheck(BaseModel):
    """What :func:`check_dataset` finds."""

    model_config = ConfigDict(frozen=True)

    accepted: tuple[CheckedImage, ...]
    refused: tuple[Refusal, ...]

    def patients(self) -> list[PatientImages]:
        """The accepted images by patient, for the split. A patient has as many tumours as the image that shows most of them."""
        groups: dict[str, list[CheckedImage]] = {}
        for image in self.accepted:
            groups.setdefault(image.patient, []).append(image)
        return [PatientImages(patient, tuple(image.name for image in images), _most(images)) for patient, images in groups.items()]


def check_dataset(images: Sequence[DatasetImage], watcher: Watcher | None = None) -> DatasetCheck:
    """Read every image and its labels, and refuse what could not or must not train.

    Refused are files that cannot be read, are no CT in Hounsfield units or do not fit together; labels on blank tissue; a liver on the patient's
    left (a mirrored image: the network knows left from right); and the same scan twice, within a patient or under two names.
    """
    watcher = watcher or Silent()
    checker = _Checker()
    for number, image in enumerate(images):
        report(watcher, f"{image.name} ({number + 1} of {len(images)})", number / max(len(images), 1))
        checker.look_at(image)
    return DatasetCheck(accepted=tuple(checker.accepted), refused=tuple(checker.refused))


@dataclass(frozen=True)
class ScanCheck:
    """What :func:`check_scans` finds."""

    accepted: tuple[Path, ...]
    refused: tuple[Refusal, ...]


def check_scans(scans: Sequence[Path], watcher: Watcher | None = None) -> ScanCheck:
    """Read every scan that nobody annotated, and refuse what is no CT in Hounsfield units, or the same scan again."""
    watcher = watcher or Silent()
    accepted: dict[str, Path] = {}
    refused: list[Refusal] = []
    for number, path in enumerate(scans):
        name = path.parent.name
        report(watcher, f"{name} ({number + 1} of {len(scans)})", number / len(scans))
        try:
            sha256 = ct_sha256(read_ct(path).volume)
            if sha256 in accepted:
                raise FedLiverError("same-scan", f"It is the same scan as {accepted[sha256].parent.name}. Keep one of them.")
            accepted[sha256] = path
        except FedLiverError as error:
            refused.append(Refusal(name=name, code=error.code, sentence=error.sentence))
    return ScanCheck(tuple(accepted.values()), tuple(refused))


def tumour_count(labels: Volume) -> int:
    """Connected tumours (26 neighbours) of at least :data:`SMALLEST_TUMOUR_ML`."""
    pieces = sitk.ConnectedComponent(to_sitk(labels.with_array((labels.array == TUMOUR).astype(np.uint8))), True)
    sizes = sitk.RelabelComponentImageFilter()
    sizes.SetMinimumObjectSize(math.ceil(SMALLEST_TUMOUR_ML / labels.geometry.voxel_ml))
    sizes.Execute(pieces)
    return int(sizes.GetNumberOfObjects())


@dataclass
class _Checker:
    accepted: list[CheckedImage] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    _seen: list[tuple[DatasetImage, str, Fingerprint | None]] = field(default_factory=list)

    def look_at(self, image: DatasetImage) -> None:
        try:
            self.accepted.append(self._check(image))
        except FedLiverError as error:
            self.refused.append(Refusal(name=image.name, code=error.code, sentence=error.sentence))

    def _check(self, image: DatasetImage) -> CheckedImage:
        if image.example.labels is None:
            raise FedLiverError("no-labels", "It has no labels: annotate it, or leave it out.")
        ct = read_ct(image.example.ct)
        labels = read_segmentation(image.example.labels, onto=ct.volume.geometry)
        notes, fingerprint = _quality(ct.volume, labels)
        self._refuse_copies(image, ct_sha256(ct.volume), fingerprint)
        voxel_ml = labels.geometry.voxel_ml
        return CheckedImage(
            name=image.name,
            patient=image.patient,
            liver_ml=float(np.count_nonzero(labels.array)) * voxel_ml,
            tumour_ml=float(np.count_nonzero(labels.array == TUMOUR)) * voxel_ml,
            tumours=tumour_count(labels) if image.example.tumour_labelled else None,
            notes=(*ct.warnings, *notes),
        )

    def _refuse_copies(self, image: DatasetImage, sha256: str, fingerprint: Fingerprint | None) -> None:
        for other, other_sha256, other_fingerprint in self._seen:
            alike = fingerprint is not None and other_fingerprint is not None and nearly_identical(fingerprint, other_fingerprint)
            if sha256 == other_sha256 or alike:
                whose = "" if other.patient == image.patient else ", which counts as another patient: both could land on two sides of a split"
                raise FedLiverError("same-scan", f"It is the same scan as {other.name}{whose}. Keep one of them.")
        self._seen.append((image, sha256, fingerprint))


def _quality(ct: Volume, labels: Volume) -> tuple[list[str], Fingerprint | None]:
    """What a person should know of labels that may train, and by what the scan is known again. Raises where they may not."""
    if not labels.array.any():
        return ["There is no liver in its labels: it trains as a scan without liver."], None
    checked = check_labels(ct, labels)
    for result in checked.results:
        if not result.passed and not result.overridable and result.name != "liver-present":
            raise FedLiverError(result.name, result.sentence)
    _refuse_mirrored(ct, labels)
    return [result.sentence for result in checked.results if not result.passed], checked.fingerprint


def _refuse_mirrored(ct: Volume, labels: Volume) -> None:
    left = _centre_x(labels, labels.array > 0) - _centre_x(ct, ct.array > _BODY_HU)
    if left > _LEFT_MM:
        where = f"Its liver lies {left:.0f} mm to the left of the body's middle"
        raise FedLiverError("mirrored", f"{where}: the image is mirrored (or the organs are). Correct its orientation or leave it out.")


def _centre_x(volume: Volume, mask: np.ndarray) -> float:
    """The mean LPS x of what is true, mm: positive is the patient's left. Every fourth voxel is enough."""
    sparse = mask[::4, ::4, ::4]
    where = np.argwhere(sparse if sparse.any() else mask) * (4 if sparse.any() else 1)
    k, j, i = where.mean(axis=0) if len(where) else np.zeros(3)
    return float((volume.geometry.affine_lps @ [i, j, k, 1.0])[0])


def _most(images: Sequence[CheckedImage]) -> int | None:
    counts = [image.tumours for image in images if image.tumours is not None]
    return max(counts) if counts else None
