"""From a CT on any grid to what the network of a plan sees, and back. Training and inference share it, so that they agree."""

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from fedliver.image import AIR_HU, Geometry, Volume, axis_aligned_grid, from_sitk, resample, to_monai, to_sitk
from fedliver.teacher.plan import StagePlan

if TYPE_CHECKING:
    import torch


def network_grid(geometry: Geometry, plan: StagePlan) -> Geometry:
    """The grid the network of ``plan`` works on for a CT on ``geometry``."""
    return axis_aligned_grid(geometry, plan.spacing_mm)


def scaled_grid(grid: Geometry, scale: float) -> Geometry:
    """A grid of ``scale`` times the spacing about the same centre that covers ``grid`` whole."""
    step = scale * np.asarray(grid.spacing)
    size = np.maximum(np.ceil(np.asarray(grid.size) / scale - 1e-6).astype(int), 1)
    centre = (grid.affine_lps @ [*((np.asarray(grid.size) - 1) / 2), 1.0])[:3]
    origin = centre - np.reshape(grid.direction, (3, 3)) @ ((size - 1) / 2 * step)
    return Geometry(
        size=(int(size[0]), int(size[1]), int(size[2])),
        spacing=(float(step[0]), float(step[1]), float(step[2])),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=grid.direction,
    )


def ct_to_network_grid(ct: Volume, plan: StagePlan, grid: Geometry | None = None) -> Volume:
    """The CT on the network's grid, or on ``grid``, a part of it: float32 in 0..1 (see :class:`~fedliver.teacher.plan.StagePlan`).

    Whole voxels are averaged before interpolating, so that thin, noisy slices lose their noise instead of being sampled at random.
    """
    low, high = plan.window_hu
    here = ct if grid is None else ct.crop(ct.geometry.box_of(grid, 2 * max(plan.spacing_mm)))
    grid = grid or network_grid(ct.geometry, plan)
    clipped = np.clip(here.array, np.asarray(low, ct.array.dtype), np.asarray(high, ct.array.dtype))
    fine = resample(_bin(here.with_array(clipped), plan), grid, order=1, outside=max(low, float(AIR_HU)), extend_edges=_along_the_axes(ct.geometry))
    return Volume(((fine.array.astype(np.float32) - low) / (high - low)).clip(0.0, 1.0), grid)


def labels_to_network_grid(labels: Volume, plan: StagePlan) -> Volume:
    """The label map on the network's grid, uint8, each voxel by majority over its neighbourhood."""
    grid = network_grid(labels.geometry, plan)
    part_of: dict[int, np.ndarray] = {}
    for value in (1, 2):
        mask = labels.with_array((labels.array == value).astype(np.float32))
        if mask.array.any():
            part_of[value] = resample(_bin(mask, plan), grid, order=1, outside=0.0, extend_edges=_along_the_axes(labels.geometry)).array
        else:
            part_of[value] = np.zeros(grid.shape, np.float32)
    inside = part_of[1] + part_of[2] >= 0.5
    return Volume(np.where(inside, np.where(part_of[2] > part_of[1], 2, 1), 0).astype(np.uint8), grid)


def _along_the_axes(geometry: Geometry) -> bool:
    """Whether the network's grid covers the same box as ``geometry``, so that a point beyond the last voxel centre is still in the scan."""
    return bool(np.isclose(np.abs(geometry.direction), 1, atol=1e-3).sum() == 3)


def _bin(volume: Volume, plan: StagePlan) -> Volume:
    """Average whole voxels along each axis that is at least twice as fine as the plan's spacing."""
    axes = np.abs(np.reshape(volume.geometry.direction, (3, 3))).argmax(axis=0)
    factors = [
        int(max(1, min(plan.spacing_mm[axis] // spacing, size)))
        for axis, spacing, size in zip(axes, volume.geometry.spacing, volume.geometry.size, strict=True)
    ]
    if max(factors) == 1:
        return volume
    return from_sitk(sitk.BinShrink(to_sitk(volume), factors))


def to_tensor(volume: Volume) -> "torch.Tensor":
    """A prepared volume as the network takes it: (1, i, j, k)."""
    import torch

    return torch.from_numpy(to_monai(volume.array))
