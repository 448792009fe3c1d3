"""Quality checks before a case may train. Each result is a sentence for the checklist that the clinician sees."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from fedliver.cases.case import Fingerprint
from fedliver.cases.fingerprint import fingerprint as measure
from fedliver.cases.fingerprint import nearly_identical
from fedliver.image import Volume, box_of
from fedliver.labels import BACKGROUND, LEGAL_VALUES, LIVER, TUMOUR

LIVER_ML = (200.0, 6000.0)
MEDIAN_HU = (0.0, 220.0)
GAP_MM = 5.0
"""A tumour this close to the liver, or in a neighbouring voxel, lies against it: labels of thick slices and of a capsule have gaps."""


@dataclass(frozen=True)
class CheckResult:
    """One line of the checklist. ``overridable``: a clinician may approve in spite of it, with a reason."""

    name: str
    passed: bool
    sentence: str
    overridable: bool = False


@dataclass(frozen=True)
class KnownScan:
    """An approved case that a new one must not repeat."""

    pseudonym: str
    ct_sha256: str
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Checked:
    """The checklist, and the fingerprint where there is a liver on the CT's grid to measure."""

    results: tuple[CheckResult, ...]
    fingerprint: Fingerprint | None


def check(ct: Volume, labels: Volume) -> Checked:
    """Run every check that needs no other case. A check that cannot be made (no liver, another grid) is left out, not passed."""
    grid = _same_grid(ct, labels)
    legal = _legal_labels(labels)
    if not (grid.passed and legal.passed):
        return Checked((grid, legal), None)
    present = _liver_present(labels)
    if not present.passed:
        return Checked((grid, legal, present), None)
    results = (grid, legal, present, _liver_volume(labels), _image_varies(ct, labels), _soft_tissue(ct, labels), _tumour_in_liver(labels))
    return Checked(results, measure(ct, labels))


def check_duplicate(ct_sha256: str, fingerprint: Fingerprint | None, known: Sequence[KnownScan]) -> CheckResult:
    """Whether an approved case already holds this scan."""
    for scan in known:
        if scan.ct_sha256 == ct_sha256:
            return CheckResult("not-duplicate", False, f"This CT is already approved as {scan.pseudonym}: correct that case instead, or exclude one of them.")
        if fingerprint is not None and nearly_identical(fingerprint, scan.fingerprint):
            sentence = f"This CT and its liver are nearly identical to the approved case {scan.pseudonym}: exclude one of them, or say why both must count."
            return CheckResult("not-duplicate", False, sentence, overridable=True)
    return CheckResult("not-duplicate", True, "No approved case holds this scan.")


def _same_grid(ct: Volume, labels: Volume) -> CheckResult:
    if labels.geometry.same_grid(ct.geometry):
        return CheckResult("same-grid", True, "The segmentation lies on the CT's grid.")
    sentence = "The segmentation lies on another grid than the CT: export it again with the CT as its reference volume."
    return CheckResult("same-grid", False, sentence)


def _legal_labels(labels: Volume) -> CheckResult:
    illegal = np.setdiff1d(np.unique(labels.array), LEGAL_VALUES)
    if not illegal.size:
        return CheckResult("legal-labels", True, "Every label is background, liver or tumour.")
    shown = ", ".join(f"{value:g}" for value in illegal[:5])
    return CheckResult("legal-labels", False, f"The segmentation holds values that mean nothing here ({shown}): keep only 0 background, 1 liver and 2 tumour.")


def _liver_present(labels: Volume) -> CheckResult:
    if (labels.array == LIVER).any():
        return CheckResult("liver-present", True, "The liver is segmented.")
    return CheckResult("liver-present", False, "There is no liver in the segmentation: segment it before approving.")


def _liver_volume(labels: Volume) -> CheckResult:
    ml = int(np.count_nonzero(labels.array != BACKGROUND)) * labels.geometry.voxel_ml
    low, high = LIVER_ML
    if low <= ml <= high:
        return CheckResult("liver-volume", True, f"The liver measures {ml:.0f} ml.", overridable=True)
    sentence = f"The liver measures {ml:.0f} ml, expected {low:.0f} to {high:.0f} ml: correct it, or give the reason (resected, cut off by the scan, ...)."
    return CheckResult("liver-volume", False, sentence, overridable=True)


def _image_varies(ct: Volume, labels: Volume) -> CheckResult:
    inside = ct.array[labels.array == LIVER]
    if np.isfinite(inside).all() and inside.min() < inside.max():
        return CheckResult("image-varies", True, "The CT shows tissue inside the liver.")
    return CheckResult("image-varies", False, "The CT is blank or broken inside the liver: this is not an image of tissue and cannot train.")


def _soft_tissue(ct: Volume, labels: Volume) -> CheckResult:
    median = float(np.median(ct.array[labels.array == LIVER]))
    low, high = MEDIAN_HU
    if low <= median <= high:
        return CheckResult("soft-tissue", True, f"The liver's median is {median:.0f} HU.", overridable=True)
    sentence = (
        f"The liver's median is {median:.0f} HU, expected {low:.0f} to {high:.0f}: "
        "check that the segmentation covers the liver and the CT is in Hounsfield units, or give the reason (fatty liver, iron, ...)."
    )
    return CheckResult("soft-tissue", False, sentence, overridable=True)


def _tumour_in_liver(labels: Volume) -> CheckResult:
    name = "tumour-in-liver"
    if not (labels.array == TUMOUR).any():
        return CheckResult(name, True, "No tumour is segmented.", overridable=True)
    box = box_of(labels.array != BACKGROUND)
    cropped = labels.array[box]
    liver, tumour = (_mask(cropped == value, labels.geometry.spacing) for value in (LIVER, TUMOUR))
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(tumour, True))
    distance = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(liver, insideIsPositive=False, squaredDistance=False, useImageSpacing=True))
    neighbours = sitk.GetArrayFromImage(sitk.BinaryDilate(liver, [1, 1, 1], sitk.sitkBox))
    touching = np.unique(parts[(distance <= GAP_MM) | (neighbours != 0)])
    apart = ~np.isin(parts, touching) & (parts > 0)
    if not apart.any():
        return CheckResult(name, True, "Every tumour lies in or against the liver.", overridable=True)
    count = np.unique(parts[apart]).size
    ml = int(np.count_nonzero(apart)) * labels.geometry.voxel_ml
    sentence = f"{count} tumour part{'s' if count > 1 else ''} ({ml:.1f} ml) away from the liver: erase what is no liver tumour, or give the reason."
    return CheckResult(name, False, sentence, overridable=True)


def _mask(mask: np.ndarray, spacing: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing)
    return image
