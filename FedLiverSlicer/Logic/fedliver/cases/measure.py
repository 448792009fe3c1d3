"""What a radiologist reads off a segmentation: millilitres, and each lesion with its size and its place."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from fedliver.image import Geometry, Volume, box_of
from fedliver.labels import BACKGROUND, TUMOUR

SMALLEST_LESION_ML = 0.05


@dataclass(frozen=True)
class LesionMeasure:
    """One connected tumour. ``centre_lps``: millimetres of the voxel of the lesion that lies nearest to its centre of mass."""

    ml: float
    diameter_mm: float
    centre_lps: tuple[float, float, float]


@dataclass(frozen=True)
class Measure:
    """``liver_ml`` counts the tumour in. ``lesions``: the largest first; what is smaller than :data:`SMALLEST_LESION_ML` is not listed."""

    liver_ml: float
    tumour_ml: float
    lesions: tuple[LesionMeasure, ...]


def measure(labels: Volume) -> Measure:
    """Measure a label map (0, 1 liver, 2 tumour)."""
    voxel_ml = labels.geometry.voxel_ml
    tumour = labels.array == TUMOUR
    return Measure(
        liver_ml=int(np.count_nonzero(labels.array != BACKGROUND)) * voxel_ml,
        tumour_ml=int(np.count_nonzero(tumour)) * voxel_ml,
        lesions=_lesions(tumour, labels.geometry) if tumour.any() else (),
    )


def _lesions(tumour: np.ndarray, geometry: Geometry) -> tuple[LesionMeasure, ...]:
    box = box_of(tumour)
    connected = sitk.ConnectedComponent(sitk.GetImageFromArray(tumour[box].astype(np.uint8)), True)
    parts = sitk.GetArrayFromImage(sitk.RelabelComponent(connected, minimumObjectSize=max(1, round(SMALLEST_LESION_ML / geometry.voxel_ml))))
    corner = np.array([side.start for side in box])
    return tuple(_lesion(parts == number, corner, geometry) for number in range(1, int(parts.max()) + 1))


def _lesion(mask: np.ndarray, corner: np.ndarray, geometry: Geometry) -> LesionMeasure:
    box = box_of(mask)
    voxels = np.argwhere(mask[box]) + [side.start for side in box]
    mm = voxels[:, ::-1] * geometry.spacing
    central = voxels[int(np.argmin(((mm - mm.mean(axis=0)) ** 2).sum(axis=1)))] + corner
    place = (geometry.affine_lps @ [*central[::-1], 1.0])[:3]
    return LesionMeasure(
        ml=len(voxels) * geometry.voxel_ml,
        diameter_mm=max(_longest_mm(plane, geometry.spacing[:2]) for plane in mask[box]),
        centre_lps=(float(place[0]), float(place[1]), float(place[2])),
    )


def _longest_mm(plane: np.ndarray, spacing: tuple[float, ...]) -> float:
    """The longest diameter in one slice, as RECIST 1.1 measures it, from the outer edges of its voxels. Of each row only the ends can matter."""
    rows = np.flatnonzero(plane.any(axis=1))
    if not rows.size:
        return 0.0
    first = plane[rows].argmax(axis=1)
    last = plane.shape[1] - plane[rows, ::-1].argmax(axis=1)
    corners = [(row + below, column) for row, start, stop in zip(rows, first, last, strict=True) for below in (0, 1) for column in (start, stop)]
    points = np.unique(np.array(corners, dtype=float), axis=0)[:, ::-1] * spacing
    return float(np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2).max()))
