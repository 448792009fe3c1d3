"""What anatomy knows of masks: there is one liver, without holes; a speck is no tumour."""

import math

import numpy as np
import SimpleITK as sitk

from fedliver.image import box_of


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask."""
    if not mask.any():
        return mask
    components = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))), sortByObjectSize=True)
    return sitk.GetArrayFromImage(components) == 1


def filled(mask: np.ndarray) -> np.ndarray:
    """A mask without its holes: what is not in it, and cannot be reached from outside by faces. In a fifth of the time of ITK's own filter."""
    if not mask.any():
        return mask
    box = box_of(mask, 1)
    around = np.pad(~mask[box], 1, constant_values=True)
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(around.astype(np.uint8))))
    out = mask.copy()
    out[box] = (parts != parts[0, 0, 0])[1:-1, 1:-1, 1:-1]
    return out


def specks(mask: np.ndarray, voxels: float) -> np.ndarray:
    """The connected parts of a mask that have fewer than ``voxels`` voxels."""
    components = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)))
    large = sitk.GetArrayFromImage(sitk.RelabelComponent(components, minimumObjectSize=math.ceil(voxels))) > 0
    return mask & ~large
