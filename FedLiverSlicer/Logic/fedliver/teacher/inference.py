"""A CT goes in, liver and tumour come out, on exactly the grid of the CT.

Coarse to fine: the finder looks for the liver in the whole scan, the fine network works in its box only, so that a scan
twice as long costs little more.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from fedliver.image import Geometry, Volume, box_of, resample
from fedliver.labels import BACKGROUND, LIVER, TUMOUR
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.components import filled, largest_component, specks
from fedliver.teacher.device import PROCESSOR, Device, choose_device
from fedliver.teacher.doubt import Doubt, doubt_of, expected_dice
from fedliver.teacher.plan import TeacherPlan
from fedliver.teacher.preparation import ct_to_network_grid, network_grid, scaled_grid
from fedliver.teacher.windows import Phase, Runner
from fedliver.watch import Silent, Watcher, report

_MARGIN_VOXELS = 2
LOW_CONFIDENCE = 0.92
"""A teacher that expects less Dice than this of its own liver says so. What the warning is worth stands in the model card."""


@dataclass(frozen=True)
class Segmentation:
    """``labels`` is uint8 on the CT's grid (0, 1 liver, 2 tumour). ``liver_ml`` counts the tumour in: it is part of the liver."""

    labels: Volume
    liver_ml: float
    tumour_ml: float
    seconds: float
    doubt: Doubt | None = None
    """None where no liver was found."""
    ran_on: Device = PROCESSOR
    """Where the network ran, in the end."""

    @property
    def expected_dice(self) -> float | None:
        """What Dice of the liver the teacher expects of its own answer; None where no liver was found."""
        return None if self.doubt is None else self.doubt.expected_dice

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
        doubt = " The teacher is unsure here: check the whole outline." if self.is_doubtful else ""
        return f"Liver {self.liver_ml:.0f} ml, {tumour}.{doubt}"

    @property
    def is_doubtful(self) -> bool:
        """Whether the teacher expects its own answer to be poor."""
        return self.expected_dice is not None and self.expected_dice < LOW_CONFIDENCE


def segment(teacher: Teacher, ct: Volume, watcher: Watcher | None = None, device: Device | None = None) -> Segmentation:
    """Segment liver and tumour.

    Parameters
    ----------
    ct:
        Hounsfield units, (k, j, i), any spacing and orientation.
    device:
        Where to run; chosen here and now if not given (:func:`~fedliver.teacher.device.choose_device`, which says what it raises).

    Raises
    ------
    Cancelled
        Within one patch of the watcher's wish.
    FedLiverError
        ``graphics-card-failed`` where a card that was asked for by name did; any other one is given up for the processor.
    """
    watcher = watcher or Silent()
    started = time.monotonic()
    report(watcher, "Preparing the scan", 0.0)
    runner = Runner(device or choose_device())
    grid = _where_to_look(teacher, ct, watcher, runner)
    labels = np.zeros(ct.geometry.shape, np.uint8)
    doubt = None if grid is None else _segment_on(teacher, ct, grid, labels, watcher, runner)
    report(watcher, "Done", 1.0)
    voxel_ml = ct.geometry.voxel_ml
    return Segmentation(
        labels=ct.with_array(labels),
        liver_ml=float(np.count_nonzero(labels)) * voxel_ml,
        tumour_ml=float(np.count_nonzero(labels == TUMOUR)) * voxel_ml,
        seconds=time.monotonic() - started,
        doubt=doubt,
        ran_on=runner.device,
    )


def where_to_look(teacher: Teacher, ct: Volume, watcher: Watcher, device: Device | None = None) -> Geometry | None:
    """The part of the fine network's grid that holds the liver; all of it without a finder; None where the finder finds none."""
    return _where_to_look(teacher, ct, watcher, Runner(device or choose_device()))


def _where_to_look(teacher: Teacher, ct: Volume, watcher: Watcher, runner: Runner) -> Geometry | None:
    plan = teacher.plan
    whole = network_grid(ct.geometry, plan)
    if plan.finder is None:
        return whole
    prepared = ct_to_network_grid(ct, plan.finder)
    liver, _ = runner.probabilities(teacher.network.finder, plan.finder, prepared, Phase(watcher, "Looking for the liver", 0.05, 0.35))  # type: ignore[arg-type]
    organ = largest_component(liver >= 0.5)
    if organ.sum() * prepared.geometry.voxel_ml < plan.minimum_liver_ml:
        return None
    found = whole.box_of(prepared.geometry.part(box_of(organ)), plan.margin_mm)
    sides = (plan.patch_size[2], plan.patch_size[1], plan.patch_size[0])
    return whole.part(tuple(_at_least(part, side, length) for part, side, length in zip(found, sides, whole.shape, strict=True)))  # type: ignore[arg-type]


def _at_least(part: slice, side: int, length: int) -> slice:
    """A slice widened to ``side`` where the scan has that much: what the network would be padded with there is air, and the scan knows better."""
    start = max(0, min(part.start - max(0, side - (part.stop - part.start)) // 2, length - side))
    return slice(start, max(part.stop, min(start + side, length)))


def _segment_on(teacher: Teacher, ct: Volume, grid: Geometry, labels: np.ndarray, watcher: Watcher, runner: Runner) -> Doubt | None:
    """Segment the part of the CT on ``grid`` and write it into ``labels``, which is on the CT's grid."""
    liver, tumour = _averaged(teacher, ct, grid, watcher, runner)
    report(watcher, "Cleaning up", 0.9)
    organ = paint_answer(labels, ct.geometry, teacher.plan, Volume(liver, grid), tumour)
    if organ is None:
        return None
    doubt = doubt_of(organ, Volume(liver, grid), tumour)
    return replace(doubt, expected_dice=teacher.plan.calibrated(doubt.expected_dice))


def paint_answer(labels: np.ndarray, geometry: Geometry, plan: TeacherPlan, liver: Volume, tumour: np.ndarray) -> np.ndarray | None:
    """Write what a plan makes of probabilities into ``labels``, and return the liver on the network's grid; None, and nothing written, where there is none.

    Parameters
    ----------
    labels, geometry:
        All background, uint8, and the CT's grid that it is on.
    liver, tumour:
        Probabilities on the network's grid, (k, j, i), tumour counted in with the liver.
    """
    grid = liver.geometry
    organ = liver.array >= 0.5
    organ = largest_component(organ) if plan.largest_liver_only else organ
    organ = filled(organ) if plan.fill_holes else organ
    volume = organ.sum() * grid.voxel_ml
    if volume < plan.minimum_liver_ml:
        return None
    if expected_dice(organ, liver.array) < (plan.sure_of_part if volume < plan.whole_liver_ml else plan.sure_of_whole):
        return None
    small = specks(organ & (tumour > liver.array / 2), plan.minimum_tumour_ml / grid.voxel_ml)
    _paint(labels, geometry, grid, organ, liver.array, np.where(small, np.float32(0), tumour))
    return organ


def _averaged(teacher: Teacher, ct: Volume, grid: Geometry, watcher: Watcher, runner: Runner) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of liver and of tumour on ``grid``, the mean over the plan's scales."""
    plan = teacher.plan
    begin, end = 0.05 if plan.finder is None else 0.4, 0.9
    work = [scale**-3 for scale in plan.scales]
    liver, tumour = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    for number, scale in enumerate(plan.scales):
        first, last = (begin + (end - begin) * sum(work[:n]) / sum(work) for n in (number, number + 1))
        here = grid if scale == 1 else scaled_grid(grid, scale)
        answer = runner.probabilities(teacher.network, plan, ct_to_network_grid(ct, plan, here), Phase(watcher, "Segmenting liver and tumour", first, last))
        for total, part in zip((liver, tumour), answer, strict=True):
            on_grid = part if scale == 1 else resample(Volume(part, here), grid, order=1, outside=0.0, extend_edges=True).array
            total += on_grid / np.float32(len(plan.scales))
    return liver, tumour


def _paint(labels: np.ndarray, geometry: Geometry, grid: Geometry, organ: np.ndarray, liver: np.ndarray, tumour: np.ndarray) -> None:
    """Write the labels into the part of the CT's grid where the organ lies. Probabilities, not labels, are interpolated: the edge stays smooth."""
    box = geometry.box_of(grid.part(box_of(organ, _MARGIN_VOXELS, beyond=True)))
    if any(part.start >= part.stop for part in box):
        return
    sub = geometry.part(box)
    near = sitk.GetArrayFromImage(sitk.BinaryDilate(sitk.GetImageFromArray(organ.astype(np.uint8)), [1, 1, 1])).astype(bool)
    inside = np.where(near, np.where(organ, np.maximum(liver, 0.5), liver), 0.0).astype(np.float32)
    liver_here = resample(Volume(inside, grid), sub, order=1, outside=0.0, extend_edges=True).array
    tumour_here = resample(Volume(np.where(organ, tumour, 0.0).astype(np.float32), grid), sub, order=1, outside=0.0, extend_edges=True).array
    is_liver = liver_here >= 0.5
    labels[box] = np.where(is_liver, np.where(tumour_here > liver_here / 2, TUMOUR, LIVER), BACKGROUND)
