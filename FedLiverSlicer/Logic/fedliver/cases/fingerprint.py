"""Knowing a scan again: an exact hash of its voxels, and numbers that survive another file format, crop, rotation or origin."""

import hashlib

import numpy as np
import SimpleITK as sitk

from fedliver.cases.case import Fingerprint
from fedliver.image import Volume
from fedliver.labels import BACKGROUND, TUMOUR

_PERCENTILES = (5, 25, 50, 75, 95)
_VOLUME_TOLERANCE = 0.02
_EXTENT_TOLERANCE_MM = 1.0
_HU_TOLERANCE = 2.0


def ct_sha256(ct: Volume) -> str:
    """Hex SHA-256 of the shape and of the Hounsfield units rounded to whole numbers: one hash for int16 and float32 of one scan."""
    whole = np.clip(np.rint(ct.array), -32768, 32767).astype("<i2")
    digest = hashlib.sha256(repr(whole.shape).encode())
    digest.update(np.ascontiguousarray(whole).data)
    return digest.hexdigest()


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, ...]:
    """The smallest box of array indices around a mask that is not empty, widened by ``margin`` voxels where there is room."""
    box = []
    for axis in range(mask.ndim):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(max(int(inside[0]) - margin, 0), int(inside[-1]) + 1 + margin))
    return tuple(box)


def fingerprint(ct: Volume, labels: Volume) -> Fingerprint:
    """Measure the liver (label 1 or 2, not empty) of a scan.

    ``extent_mm`` are the standard deviations of the liver along its own principal axes (ITK's label shape statistics), so neither
    the origin nor the orientation of the grid matters.
    """
    liver = labels.array != BACKGROUND
    box = bounding_box(liver)
    mask = sitk.GetImageFromArray(liver[box].astype(np.uint8))
    mask.SetSpacing(labels.geometry.spacing)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    moments = np.sqrt(np.abs(shape.GetPrincipalMoments(1)))
    levels = np.percentile(ct.array[box][liver[box]], _PERCENTILES)
    voxel_ml = labels.geometry.voxel_ml
    return Fingerprint(
        liver_ml=int(np.count_nonzero(liver)) * voxel_ml,
        tumour_ml=int(np.count_nonzero(labels.array == TUMOUR)) * voxel_ml,
        extent_mm=tuple(round(float(m), 3) for m in sorted(moments)),  # type: ignore[arg-type]
        hu_percentiles=tuple(round(float(level), 3) for level in levels),  # type: ignore[arg-type]
    )


def nearly_identical(first: Fingerprint, second: Fingerprint) -> bool:
    """Whether two fingerprints can only be one scan with (nearly) the same labels.

    Another contrast phase of the same patient differs by tens of HU, another patient in volume and shape.
    """
    return (
        abs(first.liver_ml - second.liver_ml) <= _VOLUME_TOLERANCE * max(first.liver_ml, second.liver_ml)
        and bool(np.all(np.abs(np.subtract(first.extent_mm, second.extent_mm)) <= _EXTENT_TOLERANCE_MM))
        and bool(np.all(np.abs(np.subtract(first.hu_percentiles, second.hu_percentiles)) <= _HU_TOLERANCE))
    )
