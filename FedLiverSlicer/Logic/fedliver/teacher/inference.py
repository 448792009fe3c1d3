"""A CT goes in, liver and tumour come out, on exactly the grid of the CT."""

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from fedliver.image import Geometry, Volume, from_monai, resample
from fedliver.labels import BACKGROUND, LIVER, TUMOUR
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.plan import TeacherPlan
from fedliver.teacher.precision import inference_precision
from fedliver.teacher.preparation import ct_to_network_grid, to_tensor
from fedliver.watch import Silent, Watcher, report

if TYPE_CHECKING:
    import torch

_MARGIN_VOXELS = 2


@dataclass(frozen=True)
class Segmentation:
    """``labels`` is uint8 on the CT's grid (0, 1 liver, 2 tumour). ``liver_ml`` counts the tumour in: it is part of the liver."""

    labels: Volume
    liver_ml: float
    tumour_ml: float
    seconds: float

    @property
    def found(self) -> bool:
        """Whether there is a liver in the scan."""
        return self.liver_ml > 0

    @property
    def sentence(self) -> str:
        """The result in words, for a status line."""
        if not self.found:
            return "No liver was found in this scan."
        tumour = f"tumour {self.tumour_ml:.1f} ml" if self.tumour_ml > 0 else "no tumour found"
        return f"Liver {self.liver_ml:.0f} ml, {tumour}."


def segment(teacher: Teacher, ct: Volume, watcher: Watcher | None = None) -> Segmentation:
    """Segment liver and tumour.

    Parameters
    ----------
    ct:
        Hounsfield units, (k, j, i), any spacing and orientation.

    Raises
    ------
    Cancelled
        Within one patch of the watcher's wish.
    """
    watcher = watcher or Silent()
    started = time.monotonic()
    report(watcher, "Preparing the scan", 0.0)
    prepared = ct_to_network_grid(ct, teacher.plan)
    report(watcher, "Looking for the liver", 0.05)
    liver, tumour = _probabilities(teacher, prepared, watcher)
    report(watcher, "Cleaning up", 0.9)
    organ = _largest_component(liver >= 0.5)
    labels = np.zeros(ct.geometry.shape, np.uint8)
    if organ.sum() * prepared.geometry.voxel_ml >= teacher.plan.minimum_liver_ml:
        specks = _specks(organ & (tumour > liver / 2), teacher.plan.minimum_tumour_ml / prepared.geometry.voxel_ml)
        _paint(labels, ct.geometry, prepared.geometry, organ, liver, np.where(specks, 0.0, tumour))
    report(watcher, "Done", 1.0)
    voxel_ml = ct.geometry.voxel_ml
    return Segmentation(
        labels=ct.with_array(labels),
        liver_ml=float(np.count_nonzero(labels)) * voxel_ml,
        tumour_ml=float(np.count_nonzero(labels == TUMOUR)) * voxel_ml,
        seconds=time.monotonic() - started,
    )


def _probabilities(teacher: Teacher, prepared: Volume, watcher: Watcher) -> tuple[np.ndarray, np.ndarray]:
    """The probability of liver (tumour included) and of tumour on the network's grid, (k, j, i) float32."""
    import torch
    from monai.inferers import SlidingWindowInferer

    plan = teacher.plan
    inferer = SlidingWindowInferer(plan.patch_size, overlap=plan.overlap, mode="gaussian", padding_mode="constant", cval=plan.padding_value)
    windows = _Windows(teacher.network, plan, _window_count(prepared.geometry.size, plan), watcher)
    with torch.inference_mode():
        logits = inferer(to_tensor(prepared)[None], windows)
        probabilities = torch.softmax(logits[0].float(), dim=0).numpy()  # type: ignore[index, union-attr]
    return from_monai(probabilities[LIVER] + probabilities[TUMOUR]), from_monai(probabilities[TUMOUR])


class _Windows:
    """The network as the inferer calls it, window by window: skips air, counts, and stops when asked to."""

    def __init__(self, network: "torch.nn.Module", plan: TeacherPlan, total: int, watcher: Watcher) -> None:
        self._network = network
        self._air = plan.padding_value
        self._total = total
        self._watcher = watcher
        self._done = 0

    def __call__(self, window: "torch.Tensor") -> "torch.Tensor":
        report(self._watcher, "Looking for the liver", 0.05 + 0.85 * min(self._done / self._total, 1.0))
        self._done += 1
        if bool((window == self._air).all()):
            logits = window.new_zeros((window.shape[0], 3, *window.shape[2:]))
            logits[:, BACKGROUND] = 20.0
            return logits
        with inference_precision():
            return self._network(window).float()


def _window_count(size: tuple[int, int, int], plan: TeacherPlan) -> int:
    from monai.data.utils import dense_patch_slices

    padded = [max(n, p) for n, p in zip(size, plan.patch_size, strict=True)]
    interval = [max(1, int(p * (1 - plan.overlap))) if n > p else p for n, p in zip(padded, plan.patch_size, strict=True)]
    return len(dense_patch_slices(padded, list(plan.patch_size), interval))


def _largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask with its holes filled: there is one liver."""
    if not mask.any():
        return mask
    components = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))), sortByObjectSize=True)
    filled = sitk.BinaryFillhole(components == 1)
    return sitk.GetArrayFromImage(filled).astype(bool)


def _specks(mask: np.ndarray, voxels: float) -> np.ndarray:
    """The connected parts of a mask that have fewer than ``voxels`` voxels."""
    components = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)))
    large = sitk.GetArrayFromImage(sitk.RelabelComponent(components, minimumObjectSize=math.ceil(voxels))) > 0
    return mask & ~large


def _paint(labels: np.ndarray, geometry: Geometry, grid: Geometry, organ: np.ndarray, liver: np.ndarray, tumour: np.ndarray) -> None:
    """Write the labels into the part of the CT's grid where the organ lies. Probabilities, not labels, are interpolated: the edge stays smooth."""
    box = _box_in(geometry, grid, organ)
    if any(part.start >= part.stop for part in box):
        return
    sub = _sub_grid(geometry, box)
    near = sitk.GetArrayFromImage(sitk.BinaryDilate(sitk.GetImageFromArray(organ.astype(np.uint8)), [1, 1, 1])).astype(bool)
    inside = np.where(near, np.where(organ, np.maximum(liver, 0.5), liver), 0.0).astype(np.float32)
    liver_here = resample(Volume(inside, grid), sub, order=1, outside=0.0, extend_edges=True).array
    tumour_here = resample(Volume(np.where(organ, tumour, 0.0).astype(np.float32), grid), sub, order=1, outside=0.0, extend_edges=True).array
    is_liver = liver_here >= 0.5
    labels[box] = np.where(is_liver, np.where(tumour_here > liver_here / 2, TUMOUR, LIVER), BACKGROUND)


def _box_in(geometry: Geometry, grid: Geometry, organ: np.ndarray) -> tuple[slice, slice, slice]:
    """The slices (k, j, i) of the CT's grid that hold the organ given on the network's grid."""
    low = [int(np.flatnonzero(organ.any(axis=tuple({0, 1, 2} - {axis})))[0]) - _MARGIN_VOXELS for axis in (2, 1, 0)]
    high = [int(np.flatnonzero(organ.any(axis=tuple({0, 1, 2} - {axis})))[-1]) + _MARGIN_VOXELS for axis in (2, 1, 0)]
    corners = np.array([[i, j, k, 1] for i in (low[0], high[0]) for j in (low[1], high[1]) for k in (low[2], high[2])]).T
    indices = (np.linalg.inv(geometry.affine_lps) @ grid.affine_lps @ corners)[:3]
    first = np.maximum(np.floor(indices.min(axis=1)).astype(int), 0)
    last = np.minimum(np.ceil(indices.max(axis=1)).astype(int) + 1, geometry.size)
    return tuple(slice(int(first[axis]), int(last[axis])) for axis in (2, 1, 0))  # type: ignore[return-value]


def _sub_grid(geometry: Geometry, box: tuple[slice, slice, slice]) -> Geometry:
    start = np.array([box[2].start, box[1].start, box[0].start, 1.0])
    origin = (geometry.affine_lps @ start)[:3]
    return Geometry(
        size=(box[2].stop - box[2].start, box[1].stop - box[1].start, box[0].stop - box[0].start),
        spacing=geometry.spacing,
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=geometry.direction,
    )
