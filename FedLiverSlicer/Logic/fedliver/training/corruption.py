"""CTs made worse on purpose, as hospitals' CTs are: to see whether a teacher notices that it fails."""

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from fedliver.image import Volume, from_sitk, resample, to_sitk


def noisy(ct: Volume, sigma_hu: float) -> Volume:
    """A low dose: white noise, its standard deviation in HU."""
    rng = np.random.default_rng(0)
    return ct.with_array((ct.array + rng.normal(0, sigma_hu, ct.array.shape)).astype(np.float32))


def blurred(ct: Volume, sigma_mm: float) -> Volume:
    """A soft kernel, or breathing."""
    return from_sitk(sitk.SmoothingRecursiveGaussian(sitk.Cast(to_sitk(ct), sitk.sitkFloat32), sigma_mm))


def thick(ct: Volume, slice_mm: float) -> Volume:
    """Thick slices along k, then back on the grid."""
    factor = max(1, round(slice_mm / ct.geometry.spacing[2]))
    image = sitk.BinShrink(sitk.Cast(to_sitk(ct), sitk.sitkFloat32), [1, 1, factor])
    return resample(from_sitk(image), ct.geometry, order=1, outside=float(ct.array.min()), extend_edges=True)


def shifted(ct: Volume, hu: float) -> Volume:
    """Another contrast phase, roughly: soft tissue moved by ``hu``."""
    soft = (ct.array > 0) & (ct.array < 250)
    return ct.with_array(np.where(soft, ct.array + hu, ct.array).astype(np.float32))


CORRUPTIONS: dict[str, Callable[[Volume], Volume]] = {
    "as it is": lambda ct: ct,
    "noise of 40 HU": lambda ct: noisy(ct, 40),
    "noise of 120 HU": lambda ct: noisy(ct, 120),
    "blurred by 3 mm": lambda ct: blurred(ct, 3),
    "slices of 10 mm": lambda ct: thick(ct, 10),
    "soft tissue 50 HU darker": lambda ct: shifted(ct, -50),
    "soft tissue 60 HU brighter": lambda ct: shifted(ct, 60),
}
