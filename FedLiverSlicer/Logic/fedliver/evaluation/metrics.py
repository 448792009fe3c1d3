"""Scores of a segmentation against a reference: liver (label 1 or 2), tumour (label 2), and tumours one by one.

Where a score has no value it is None, never NaN:

=====================  =========================  ===========================  ===========================
score                  both empty                 only the reference is empty  only the prediction is empty
=====================  =========================  ===========================  ===========================
Dice, F1, NSD          1                          0                            0
HD95                   0 mm                       None                         None
sensitivity            None                       None                         0
precision              None                       0                            None
specificity            1                          below 1                      1
volume error           0 %                        None                         -100 %
=====================  =========================  ===========================  ===========================

Surfaces and distances are SimpleITK's: MONAI's need SciPy, which this package does without.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from pydantic import BaseModel, ConfigDict

from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume, box_of
from fedliver.labels import LEGAL_VALUES, TUMOUR

NSD_TOLERANCE_MM = 2.0
LESION_MM = 15.0
_GRID_TOLERANCE_MM = 0.02  # NIfTI keeps its grid in single precision


class StructureScores(BaseModel):
    """Scores of one structure. See the module for what an empty mask gives."""

    model_config = ConfigDict(frozen=True)

    dice: float
    hd95_mm: float | None
    """95th percentile of the distances between the surfaces, the larger of the two directions."""
    nsd: float
    """Normalised surface Dice at :data:`NSD_TOLERANCE_MM` (Nikolov et al. 2021), surface voxels unweighted."""
    sensitivity: float | None
    specificity: float | None
    """Of all voxels of the grid: it grows with the field of view."""
    precision: float | None
    f1: float
    """Of voxels: the same number as Dice, listed because the field reports both."""
    prediction_ml: float
    reference_ml: float
    volume_error_percent: float | None
    """Of the reference's volume; positive where the prediction is larger."""


class LesionScores(BaseModel):
    """Tumours counted one by one: those whose sphere of equal volume is at least :data:`LESION_MM` across.

    A lesion is found if any voxel of the other label map's tumour, of whatever size, touches it.
    """

    model_config = ConfigDict(frozen=True)

    reference: int
    reference_found: int
    prediction: int
    prediction_true: int
    recall: float | None
    precision: float | None


class Scores(BaseModel):
    """What :func:`compare` finds. ``liver`` is label 1 or 2, ``tumour`` label 2."""

    model_config = ConfigDict(frozen=True)

    liver: StructureScores
    tumour: StructureScores
    lesions: LesionScores


@dataclass(frozen=True)
class _Counts:
    both: int
    prediction: int
    reference: int
    voxels: int

    @classmethod
    def of(cls, prediction: np.ndarray, reference: np.ndarray) -> "_Counts":
        return cls(int(np.count_nonzero(prediction & reference)), int(np.count_nonzero(prediction)), int(np.count_nonzero(reference)), prediction.size)

    @property
    def dice(self) -> float:
        total = self.prediction + self.reference
        return 2 * self.both / total if total else 1.0


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice coefficient (Dice 1945) of two masks of any equal shape; 1 where both are empty."""
    return _Counts.of(first, second).dice


def liver_dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice of the liver (any label above 0) of two label arrays of one shape; both empty gives 1. Fast: for use while training."""
    return dice(prediction > 0, reference > 0)


def compare(prediction: Volume, reference: Volume) -> Scores:
    """Score a segmentation against a reference on the same grid.

    Raises
    ------
    FedLiverError
        ``different-grid`` if the grids differ, ``illegal-labels`` if a label is none of 0, 1, 2.
    """
    _check(prediction, reference)
    masks = {"liver": (prediction.array > 0, reference.array > 0), "tumour": (prediction.array == TUMOUR, reference.array == TUMOUR)}
    return Scores(
        liver=_score(*masks["liver"], reference.geometry),
        tumour=_score(*masks["tumour"], reference.geometry),
        lesions=_lesions(*masks["tumour"], reference.geometry),
    )


def _check(prediction: Volume, reference: Volume) -> None:
    if not prediction.geometry.same_grid(reference.geometry, _GRID_TOLERANCE_MM):
        raise FedLiverError("different-grid", "The two segmentations lie on different grids: make both on the same CT, or resample one onto the other.")
    for name, volume in (("prediction", prediction), ("reference", reference)):
        if not np.isin(np.unique(volume.array), LEGAL_VALUES).all():
            raise FedLiverError("illegal-labels", f"The {name} holds other labels than 0, 1 (liver) and 2 (tumour): give a segmentation with these labels.")


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _score(prediction: np.ndarray, reference: np.ndarray, geometry: Geometry) -> StructureScores:
    counts = _Counts.of(prediction, reference)
    hd95, nsd = _surface_scores(prediction, reference, geometry, counts)
    error = 100 * (counts.prediction - counts.reference) / counts.reference if counts.reference else (0.0 if not counts.prediction else None)
    return StructureScores(
        dice=counts.dice,
        hd95_mm=hd95,
        nsd=nsd,
        sensitivity=_ratio(counts.both, counts.reference),
        specificity=_ratio(counts.voxels - counts.reference - counts.prediction + counts.both, counts.voxels - counts.reference),
        precision=_ratio(counts.both, counts.prediction),
        f1=counts.dice,
        prediction_ml=counts.prediction * geometry.voxel_ml,
        reference_ml=counts.reference * geometry.voxel_ml,
        volume_error_percent=error,
    )


def _image(mask: np.ndarray, geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(geometry.spacing)
    return image


def _surface_scores(prediction: np.ndarray, reference: np.ndarray, geometry: Geometry, counts: _Counts) -> tuple[float | None, float]:
    """HD95 in mm and NSD. A surface voxel is one with a face on the outside; distances are between voxel centres."""
    if not counts.prediction and not counts.reference:
        return 0.0, 1.0
    if not counts.prediction or not counts.reference:
        return None, 0.0
    box = box_of(prediction | reference)
    surfaces = [_surface(np.pad(mask[box], 1), geometry) for mask in (prediction, reference)]
    distances = [_distances(surfaces[0], surfaces[1]), _distances(surfaces[1], surfaces[0])]
    hd95 = max(float(np.percentile(d, 95)) for d in distances)
    near = sum(int(np.count_nonzero(d <= NSD_TOLERANCE_MM + 1e-4)) for d in distances)
    return hd95, near / sum(d.size for d in distances)


def _surface(mask: np.ndarray, geometry: Geometry) -> sitk.Image:
    return sitk.BinaryContour(_image(mask, geometry), fullyConnected=False, backgroundValue=0, foregroundValue=1)


def _distances(origin: sitk.Image, goal: sitk.Image) -> np.ndarray:
    """From each surface voxel of ``origin`` to the nearest of ``goal``, mm."""
    distance = sitk.SignedMaurerDistanceMap(goal, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return np.abs(sitk.GetArrayViewFromImage(distance)[sitk.GetArrayViewFromImage(origin) > 0])


def _components(mask: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, list[int]]:
    """Components (26-connected) as a label array, and the labels of those of at least :data:`LESION_MM`."""
    pieces = sitk.ConnectedComponent(_image(mask, geometry), True)
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(pieces)
    large = [int(label) for label in shapes.GetLabels() if 2 * shapes.GetEquivalentSphericalRadius(label) >= LESION_MM]
    return sitk.GetArrayFromImage(pieces), large


def _lesions(prediction: np.ndarray, reference: np.ndarray, geometry: Geometry) -> LesionScores:
    either = prediction | reference
    if not either.any():
        return LesionScores(reference=0, reference_found=0, prediction=0, prediction_true=0, recall=None, precision=None)
    box = box_of(either)
    prediction, reference = prediction[box], reference[box]
    found = []
    for mask, other in ((reference, prediction), (prediction, reference)):
        pieces, large = _components(mask, geometry)
        found.append((len(large), int(np.isin(large, np.unique(pieces[other])).sum())))
    (known, known_found), (shown, shown_true) = found
    return LesionScores(
        reference=known,
        reference_found=known_found,
        prediction=shown,
        prediction_true=shown_true,
        recall=_ratio(known_found, known),
        precision=_ratio(shown_true, shown),
    )
