"""What to generate: one frozen record per phantom."""

from dataclasses import dataclass
from typing import Literal

Phase = Literal["portal", "arterial", "plain"]
FieldOfView = Literal["abdomen", "chest", "pelvis", "torso"]


@dataclass(frozen=True)
class PhantomSettings:
    """One generated CT: the same settings give the same voxels.

    Parameters
    ----------
    seed:
        Decides the patient: shapes, vessels, lesions, noise.
    spacing_mm:
        Voxel size (i, j, k); k is the slice spacing.
    oblique_degrees:
        How far the scan's grid is turned away from the patient's axes. 0 is an ordinary axial scan.
    lesions:
        How many liver tumours, 8 to 40 mm across. None lets the seed choose 0 to 5.
    noise_hu:
        Standard deviation of the noise in Hounsfield units (it is correlated, as after a soft-tissue kernel).
    phase:
        Contrast phase: ``portal`` venous, ``arterial``, or ``plain`` (no contrast medium).
    field_of_view:
        ``abdomen`` and ``torso`` hold the whole liver; ``chest`` and ``pelvis`` hold none of it.
    patient_size:
        Size of the skeleton and organs relative to an average adult, 0.8 to 1.2.
    fat_mm:
        Thickness of the subcutaneous fat.
    """

    seed: int = 0
    spacing_mm: tuple[float, float, float] = (1.5, 1.5, 3.0)
    oblique_degrees: float = 0.0
    lesions: int | None = None
    noise_hu: float = 12.0
    phase: Phase = "portal"
    field_of_view: FieldOfView = "abdomen"
    patient_size: float = 1.0
    fat_mm: float = 16.0
