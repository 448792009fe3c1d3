"""What the clinician changed: the approved labels against the teacher's pre-segmentation, on one grid."""

import numpy as np

from fedliver.cases.case import Change, Correction
from fedliver.cases.effort import effort
from fedliver.evaluation.metrics import dice
from fedliver.image import Volume
from fedliver.labels import BACKGROUND, TUMOUR


def correction(presegmentation: Volume, approved: Volume) -> Correction:
    """Dice and the millilitres added and removed, for the liver (label 1 or 2) and the tumour (label 2); and the effort of both together."""
    if not presegmentation.geometry.same_grid(approved.geometry):
        raise ValueError("pre-segmentation and approved labels lie on different grids")
    voxel_ml = approved.geometry.voxel_ml
    before, after = presegmentation.array, approved.array
    return Correction(
        liver=_change(before != BACKGROUND, after != BACKGROUND, voxel_ml),
        tumour=_change(before == TUMOUR, after == TUMOUR, voxel_ml),
        effort=effort(presegmentation, approved),
    )


def _change(before: np.ndarray, after: np.ndarray, voxel_ml: float) -> Change:
    return Change(
        dice=dice(before, after),
        ml_added=int(np.count_nonzero(after & ~before)) * voxel_ml,
        ml_removed=int(np.count_nonzero(before & ~after)) * voxel_ml,
    )
