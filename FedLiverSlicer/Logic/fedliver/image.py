"""Volumes and their geometry. Every conversion between frames and index orders happens here and nowhere else.

Frames: SimpleITK and DICOM are LPS; NIfTI, MRML and MONAI are RAS.
Index order: arrays are (k, j, i) as in SimpleITK and ``slicer.util``; MONAI tensors are (channel, i, j, k).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

AIR_HU = -1024
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Geometry:
    """Where a grid lies: SimpleITK's words. LPS, millimetres; ``size``, ``spacing`` and the direction's columns in order (i, j, k)."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    @property
    def affine_lps(self) -> np.ndarray:
        """The 4x4 matrix from (i, j, k, 1) to LPS millimetres."""
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(self.direction, (3, 3)) @ np.diag(self.spacing)
        affine[:3, 3] = self.origin
        return affine

    @property
    def affine_ras(self) -> np.ndarray:
        """The 4x4 matrix from (i, j, k, 1) to RAS millimetres: MRML's IJKToRAS."""
        return _LPS_TO_RAS @ self.affine_lps

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an array on this grid, (k, j, i)."""
        return (self.size[2], self.size[1], self.size[0])

    @property
    def voxel_ml(self) -> float:
        """The volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0

    def same_grid(self, other: "Geometry", tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same size and their corners lie within ``tolerance_mm`` of each other."""
        if self.size != other.size:
            return False
        corners = np.array([[i, j, k, 1] for i in (0, self.size[0]) for j in (0, self.size[1]) for k in (0, self.size[2])]).T
        return bool(np.abs((self.affine_lps - other.affine_lps) @ corners).max() <= tolerance_mm)

    @classmethod
    def from_affine_ras(cls, affine: np.ndarray, size: tuple[int, int, int]) -> "Geometry":
        """The grid of ``size`` (i, j, k) whose IJK-to-RAS matrix is ``affine`` (4x4, no shear)."""
        lps = _LPS_TO_RAS @ np.asarray(affine, dtype=float)
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        direction = lps[:3, :3] / spacing
        return cls(
            size=(int(size[0]), int(size[1]), int(size[2])),
            spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
            origin=(float(lps[0, 3]), float(lps[1, 3]), float(lps[2, 3])),
            direction=tuple(float(x) for x in direction.ravel()),
        )

    def part(self, box: tuple[slice, slice, slice]) -> "Geometry":
        """The grid of a part of an array on this grid; ``box`` is in (k, j, i)."""
        start = np.array([box[2].start, box[1].start, box[0].start, 1.0])
        origin = (self.affine_lps @ start)[:3]
        return Geometry(
            size=(box[2].stop - box[2].start, box[1].stop - box[1].start, box[0].stop - box[0].start),
            spacing=self.spacing,
            origin=(float(origin[0]), float(origin[1]), float(origin[2])),
            direction=self.direction,
        )

    def box_of(self, other: "Geometry", margin_mm: float = 0.0) -> tuple[slice, slice, slice]:
        """The slices (k, j, i) of this grid that hold all of ``other`` and a margin, as far as this grid reaches; a slice is empty where they do not meet."""
        n = other.size
        corners = np.array([[i, j, k, 1] for i in (-0.5, n[0] - 0.5) for j in (-0.5, n[1] - 0.5) for k in (-0.5, n[2] - 0.5)]).T
        indices = (np.linalg.inv(self.affine_lps) @ other.affine_lps @ corners)[:3]
        margin = margin_mm / np.asarray(self.spacing)
        first = np.maximum(np.floor(indices.min(axis=1) - margin).astype(int), 0)
        last = np.minimum(np.ceil(indices.max(axis=1) + margin).astype(int) + 1, self.size)
        return tuple(slice(int(first[axis]), max(int(first[axis]), int(last[axis]))) for axis in (2, 1, 0))  # type: ignore[return-value]


def box_of(mask: np.ndarray, margin: int | Sequence[int] = 0, *, beyond: bool = False) -> tuple[slice, slice, slice]:
    """The slices of the smallest box around what is true (something must be) in three dimensions, with a margin in voxels, of all axes or of each.

    Within the array, unless ``beyond`` lets the margin reach out of it (negative starts too).
    """
    box = []
    for axis, wide in enumerate(np.broadcast_to(margin, 3)):
        filled = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        first, last = int(filled[0]) - int(wide), int(filled[-1]) + int(wide) + 1
        box.append(slice(first, last) if beyond else slice(max(0, first), min(mask.shape[axis], last)))
    return box[0], box[1], box[2]


@dataclass(frozen=True)
class Volume:
    """An array on a grid. ``array`` is (k, j, i): Hounsfield units (int16 or float32) for a CT, uint8 for a label map."""

    array: np.ndarray
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise ValueError(f"array of shape {self.array.shape} does not lie on a grid of shape {self.geometry.shape}")

    def with_array(self, array: np.ndarray) -> "Volume":
        """Another array on the same grid."""
        return Volume(array, self.geometry)

    def crop(self, box: tuple[slice, slice, slice]) -> "Volume":
        """The part inside ``box``, slices in (k, j, i); shares the array."""
        return Volume(self.array[box], self.geometry.part(box))


def from_sitk(image: sitk.Image) -> Volume:
    """A :class:`Volume` that shares nothing with ``image`` (3D, one component)."""
    return Volume(sitk.GetArrayFromImage(image), geometry_of(image))


def geometry_of(image: sitk.Image) -> Geometry:
    """The grid of a 3D SimpleITK image."""
    return Geometry(
        size=tuple(int(n) for n in image.GetSize()),  # type: ignore[arg-type]
        spacing=image.GetSpacing(),
        origin=image.GetOrigin(),
        direction=image.GetDirection(),
    )


def to_sitk(volume: Volume) -> sitk.Image:
    """A SimpleITK image with a copy of the volume's array."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.geometry.spacing)
    image.SetOrigin(volume.geometry.origin)
    image.SetDirection(volume.geometry.direction)
    return image


def resample(volume: Volume, onto: Geometry, *, order: int = 1, outside: float = AIR_HU, extend_edges: bool = False) -> Volume:
    """Resample onto another grid, in millimetres of the patient.

    Parameters
    ----------
    order:
        1 for intensities and probabilities (linear), 0 for labels (nearest neighbour).
    outside:
        The value outside the volume: air for a CT. Pass 0 for labels.
    extend_edges:
        Give points beyond the outermost voxel centres the value of the nearest voxel instead of ``outside``. For two grids that
        cover the same box, where those points still lie inside the outermost voxels.
    """
    image = to_sitk(volume)
    interpolator: Any = sitk.sitkLinear if order else sitk.sitkNearestNeighbor
    resampled = sitk.Resample(
        image, onto.size, sitk.Transform(), interpolator, onto.origin, onto.spacing, onto.direction, outside, image.GetPixelID(), extend_edges
    )
    return Volume(sitk.GetArrayFromImage(resampled), onto)


def axis_aligned_grid(geometry: Geometry, spacing_mm: tuple[float, float, float]) -> Geometry:
    """The grid along the RAS axes, at ``spacing_mm``, that covers ``geometry`` whole, oblique or flipped as it may be.

    Returned in LPS terms with i towards left, j towards posterior, k towards superior.
    """
    corners = np.array([[i - 0.5, j - 0.5, k - 0.5, 1] for i in (0, geometry.size[0]) for j in (0, geometry.size[1]) for k in (0, geometry.size[2])]).T
    points = (geometry.affine_lps @ corners)[:3]
    low, high = points.min(axis=1), points.max(axis=1)
    step = np.asarray(spacing_mm, dtype=float)
    size = np.maximum(np.ceil((high - low) / step - 1e-6).astype(int), 1)
    centre = (low + high) / 2
    origin = centre - (size - 1) / 2 * step
    return Geometry(
        size=(int(size[0]), int(size[1]), int(size[2])),
        spacing=(float(step[0]), float(step[1]), float(step[2])),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )


def to_monai(array: np.ndarray) -> np.ndarray:
    """(k, j, i) to MONAI's (1, i, j, k), contiguous."""
    return np.ascontiguousarray(array.transpose(2, 1, 0))[None]


def from_monai(array: np.ndarray) -> np.ndarray:
    """MONAI's (i, j, k) back to (k, j, i), contiguous."""
    return np.ascontiguousarray(array.transpose(2, 1, 0))
