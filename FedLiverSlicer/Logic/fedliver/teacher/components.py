"""What anatomy knows of masks: there is one liver, without holes; a speck is no tumour."""

import math

import numpy as np
import SimpleITK as sitk


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask."""
    if not mask.any():
        return mask
    components = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))), sortByObjectSize=True)
    return sitk.GetArrayFromImage(components) == 1


def filled(mask: np.ndarray) -> np.ndarray:
    """A mask without its holes."""
    return sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(mask.astype(np.uint8)))).astype(bool)


def specks(mask: np.ndarray, voxels: float) -> np.ndarray:
    """The connected parts of a mask that have fewer than ``voxels`` voxels."""
    components = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)))
    large = sitk.GetArrayFromImage(sitk.RelabelComponent(components, minimumObjectSize=math.ceil(voxels))) > 0
    return mask & ~large


def box_of(mask: np.ndarray, margin: int = 0) -> tuple[slice, slice, slice]:
    """The slices of the smallest box around what is true, in the order of the axes, with a margin in voxels that may reach beyond the array."""
    box = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        box.append(slice(int(filled[0]) - margin, int(filled[-1]) + margin + 1))
    return box[0], box[1], box[2]
