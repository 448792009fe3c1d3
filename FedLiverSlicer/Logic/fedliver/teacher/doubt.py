"""Where a teacher is unsure, how sure it is on the whole, and where a clinician should look first.

Everything comes from the probabilities of one pass: no second network, no second wait.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from fedliver.image import Volume, to_sitk

PLACES = 5
_SMOOTHING_MM = 4.0
_APART_MM = 25.0
_WORTH_A_LOOK = 0.25
"""Smoothed doubt at a sharp, sure edge stays below this: a rim one voxel wide is thin against the smoothing."""


@dataclass(frozen=True)
class Place:
    """A place worth a look. ``position_mm`` is LPS; ``doubt`` is 0 to 1."""

    position_mm: tuple[float, float, float]
    about: Literal["liver", "tumour"]
    doubt: float

    @property
    def sentence(self) -> str:
        """What to look at there."""
        return "Is this liver?" if self.about == "liver" else "Is this tumour?"


@dataclass(frozen=True)
class Doubt:
    """``map`` is 0 (sure) to 1 (undecided), float32, on the network's grid in the liver's box; ``places`` are its peaks, the most doubtful first."""

    map: Volume
    places: tuple[Place, ...]
    expected_dice: float
    """What Dice of the liver the teacher expects of its own answer."""


def doubt_of(organ: np.ndarray, liver: Volume, tumour: np.ndarray) -> Doubt:
    """The doubt in an answer.

    Parameters
    ----------
    organ:
        The liver as it is answered, bool (k, j, i).
    liver, tumour:
        Probabilities on the same grid, 0 to 1; ``liver`` counts the tumour in.
    """
    about_liver = 1 - np.abs(2 * liver.array - 1)
    about_liver[organ & (liver.array < 0.5)] = 1.0  # a filled hole: the network said no, anatomy says yes
    share = np.divide(tumour, liver.array, out=np.zeros_like(tumour), where=organ & (liver.array > 0.5))
    about_tumour = np.where(organ, 1 - np.abs(2 * share - 1), 0.0)
    volume = liver.with_array(np.maximum(about_liver, about_tumour).astype(np.float32))
    return Doubt(volume, _places(liver, about_liver, about_tumour), expected_dice(organ, liver.array))


def expected_dice(organ: np.ndarray, liver: np.ndarray) -> float:
    """Dice of a mask with the truth that its probabilities describe: 2 sum(p m) / (sum(p) + sum(m)); 1 for an empty mask without any liver expected."""
    total = float(liver.sum(dtype=np.float64)) + float(organ.sum())
    return 2 * float(liver[organ].sum(dtype=np.float64)) / total if total else 1.0


def _places(grid: Volume, about_liver: np.ndarray, about_tumour: np.ndarray) -> tuple[Place, ...]:
    smooth = {"liver": _smooth(grid, about_liver), "tumour": _smooth(grid, about_tumour)}
    rest = np.maximum(smooth["liver"], smooth["tumour"])
    axes = [np.arange(n) * mm for n, mm in zip(rest.shape, reversed(grid.geometry.spacing), strict=True)]
    places: list[Place] = []
    while len(places) < PLACES:
        k, j, i = (int(n) for n in np.unravel_index(int(rest.argmax()), rest.shape))
        doubt = float(rest[k, j, i])
        if doubt < _WORTH_A_LOOK:
            break
        position = (grid.geometry.affine_lps @ [i, j, k, 1.0])[:3]
        about: Literal["liver", "tumour"] = "liver" if smooth["liver"][k, j, i] >= smooth["tumour"][k, j, i] else "tumour"
        places.append(Place((float(position[0]), float(position[1]), float(position[2])), about, doubt))
        near = sum(((axis - axis[n]) ** 2).reshape([-1 if a == b else 1 for b in range(3)]) for a, (axis, n) in enumerate(zip(axes, (k, j, i), strict=True)))
        rest[near < _APART_MM**2] = 0.0
    return tuple(places)


def _smooth(grid: Volume, array: np.ndarray) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(to_sitk(grid.with_array(array.astype(np.float32))), _SMOOTHING_MM))
