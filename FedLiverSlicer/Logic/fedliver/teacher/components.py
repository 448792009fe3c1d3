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
