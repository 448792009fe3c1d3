"""How much a person had to change: millilitres, slices, and the length of contour that had to be drawn anew. For one case, or for a study of many."""

import numpy as np

from fedliver.cases.case import Effort
from fedliver.image import Volume
from fedliver.labels import BACKGROUND, TUMOUR


def effort(before: Volume, after: Volume) -> Effort:
    """What it took to come from ``before`` to ``after``, two label maps on one grid.

    Added path length (Vaassen et al. 2020, Phys Imaging Radiat Oncol 13): of the contours of ``after``, slice by slice, those pixels that are
    no contour in ``before``, as a length: pixels times the mean spacing in the slice. No tolerance. Liver (label 1 or 2) and tumour
    (label 2) are counted each, since each contour has to be drawn.
    """
    if not before.geometry.same_grid(after.geometry):
        raise ValueError("the two label maps lie on different grids")
    changed = before.array != after.array
    touched = changed.any(axis=(1, 2))
    pixels = 0
    for old, new in ((before.array != BACKGROUND, after.array != BACKGROUND), (before.array == TUMOUR, after.array == TUMOUR)):
        pixels += int(np.count_nonzero(_contours(new[touched]) & ~_contours(old[touched])))
    return Effort(
        ml_changed=int(np.count_nonzero(changed)) * after.geometry.voxel_ml,
        slices_touched=int(np.count_nonzero(touched)),
        slices=int(np.count_nonzero(((before.array != BACKGROUND) | (after.array != BACKGROUND)).any(axis=(1, 2)))),
        added_path_length_mm=pixels * float(np.mean(after.geometry.spacing[:2])),
    )


def _contours(mask: np.ndarray) -> np.ndarray:
    """The pixels of each slice of (k, j, i) that lie in the mask and have one of four neighbours outside; the picture's border is outside."""
    inner = mask.copy()
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    inner[:, :, 1:] &= mask[:, :, :-1]
    inner[:, :, :-1] &= mask[:, :, 1:]
    inner[:, [0, -1]] = False
    inner[:, :, [0, -1]] = False
    return mask & ~inner
