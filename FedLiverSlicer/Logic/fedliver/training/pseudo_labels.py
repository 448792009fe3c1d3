"""Scans nobody annotated, labelled by a teacher where it can be believed.

They bring what the annotated slices lack: everything above and below a liver. A teacher is believed well inside and well
outside what it calls liver; the rim between, and what it calls tumour, teach nothing (:data:`~fedliver.training.loss.IGNORE`).
"""

import numpy as np
import SimpleITK as sitk

from fedliver.image import Volume, resample, to_monai
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.device import Device
from fedliver.teacher.inference import segment
from fedliver.teacher.plan import StagePlan
from fedliver.teacher.preparation import ct_to_network_grid, network_grid
from fedliver.training.loss import IGNORE
from fedliver.training.sources import PreparedPatient, box_around, prepared

INSIDE_MM = 4.0
OUTSIDE_MM = 8.0
MOST_TUMOUR = 0.05
"""A teacher that calls more than this part of a liver tumour, in a scan of nobody known to be ill, is lost in it (effusion, bowel, unusual anatomy)."""
LIVER_ML = (700.0, 2600.0)
"""An adult's liver, with room at both ends."""


def pseudo_labelled(teacher: Teacher, ct: Volume, plan: StagePlan, around_mm: float | None = None, device: Device | None = None) -> PreparedPatient | None:
    """The scan as a patient to train on, on the grid of ``plan``; None where the teacher's answer is not believed. ``device`` is where the teacher runs."""
    answer = segment(teacher, ct, device=device)
    if not LIVER_ML[0] <= answer.liver_ml <= LIVER_ML[1] or answer.tumour_ml > MOST_TUMOUR * answer.liver_ml:
        return None
    grid = network_grid(ct.geometry, plan)
    if around_mm is not None:
        liver = resample(answer.labels, grid, order=0, outside=0.0).array > 0
        grid = grid.part(box_around(liver, (plan.spacing_mm[2], plan.spacing_mm[1], plan.spacing_mm[0]), around_mm))
    labels = _believed(resample(answer.labels, grid, order=0, outside=0.0).array, plan.spacing_mm)
    return prepared(to_monai(ct_to_network_grid(ct, plan, grid).array), to_monai(labels), plan, tumour_labelled=False)


def _believed(labels: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """0 well outside, 1 well inside, IGNORE between; tumours, grown by the rim, are ignored too. (k, j, i)."""
    distance = _signed_distance(labels > 0, spacing_mm)
    believed = np.full(labels.shape, IGNORE, np.uint8)
    believed[distance > OUTSIDE_MM] = 0
    believed[distance < -INSIDE_MM] = 1
    if (labels == 2).any():
        believed[(_signed_distance(labels == 2, spacing_mm) < INSIDE_MM) & (believed == 1)] = IGNORE
    return believed


def _signed_distance(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Distance to the mask's surface in mm, negative inside."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing_mm)
    return sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True))
