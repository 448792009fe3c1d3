"""A label map as a DICOM SEG object that the archive can file beside the scan it was drawn on.

The object names the patient as the scan does, or the archive could not file it: it belongs where the scan is, and nowhere else.
"""

import copy
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedliver import __version__
from fedliver.dicom_series import Stack, scan_files
from fedliver.dicom_stack import stack_geometry
from fedliver.errors import FedLiverError
from fedliver.files import write_file
from fedliver.image import Geometry, Volume, resample
from fedliver.labels import BACKGROUND, LIVER_STRUCTURE, STRUCTURES, TUMOUR_STRUCTURE, Code, Structure

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_NAMES = uuid.UUID("0d1f5a52-6a6e-4f0b-9a70-3a5d5c1b9d51")
_REFERRED_TO = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
_MAY_BE_EMPTY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime")
_ON_GRID_MM = 0.05  # NIfTI keeps its grid in single precision
_DESCRIPTIONS = {LIVER_STRUCTURE: "Liver without the segment Tumour", TUMOUR_STRUCTURE: "Tumours in the liver, all of them in one segment"}


@dataclass(frozen=True)
class Origin:
    """How labels came to be. ``teacher`` is empty where a person outlined everything; ``corrected``: a person changed the teacher's outlines."""

    teacher: str = ""
    version: str = ""
    sha256: str = ""
    corrected: bool = False

    @property
    def algorithm_type(self) -> str:
        """DICOM's Segment Algorithm Type."""
        return "MANUAL" if not self.teacher else "SEMIAUTOMATIC" if self.corrected else "AUTOMATIC"


def write_dicom_seg(labels: Volume, source: Sequence[Path], target: Path, origin: Origin, *, number: int = 1) -> str:
    """Write ``labels`` as a binary DICOM SEG whose every frame refers to the slice that it was drawn on.

    All exports of one scan form one series of their own, in the scan's study. Liver and tumour do not overlap in it, as in the scene.

    Parameters
    ----------
    labels:
        0, 1 liver, 2 tumour, on the voxels of the scan; the order of the axes may be another.
    source:
        The DICOM files of the scan, one series, in any order.
    number:
        The instance number: which version of the segmentation this is.

    Returns
    -------
    str
        The SOPInstanceUID of the new object.

    Raises
    ------
    FedLiverError
        ``no-source``, ``several-series``, ``source-without-identity`` (a SEG would refer to nothing), ``other-grid``, ``empty``,
        ``seg-not-made``, what :func:`~fedliver.dicom_stack.stack_geometry` refuses, and what :func:`~fedliver.files.write_file` raises.
    """
    stack = _the_stack(source)
    voxels = _onto_source(labels, stack_geometry(stack))
    structures = [structure for structure in STRUCTURES if (voxels.array == structure.value).any()]
    if not structures:
        raise FedLiverError("empty", "The segmentation is empty, and a DICOM SEG cannot be: outline the liver first.")
    headers = [_header(slice_.path) for slice_ in stack.slices]
    _check_identity(headers)
    with warnings.catch_warnings():  # highdicom and pydicom warn with the values they find odd: they may be the patient's
        warnings.simplefilter("ignore")
        try:
            dataset = _segmentation(voxels, headers, structures, origin, number)
        except Exception as error:
            kind = type(error).__name__
            sentence = f"The headers of the scan do not allow a DICOM SEG ({kind}): export the series again from the archive (PACS), unchanged."
            raise FedLiverError("seg-not-made", sentence) from None  # the message of the error may hold the patient's name
        write_file(target, lambda part: dataset.save_as(part))
    return str(dataset.SOPInstanceUID)


def _the_stack(source: Sequence[Path]) -> Stack:
    stacks = scan_files(source).stacks
    if not stacks:
        raise FedLiverError("no-source", "The scan's DICOM slices were not found: give the folder of the series that the segmentation was drawn on.")
    if len(stacks) > 1:
        raise FedLiverError("several-series", f"These files hold {len(stacks)} series or grids: give those of the one that the segmentation was drawn on.")
    return stacks[0]


def _onto_source(labels: Volume, grid: Geometry) -> Volume:
    """The labels in the order of the source's slices, voxel for voxel: Slicer may have turned or flipped the axes, or cropped."""
    step = np.linalg.inv(grid.affine_lps) @ labels.geometry.affine_lps
    corners = np.array([[i, j, k, 1] for i in (0, labels.geometry.size[0]) for j in (0, labels.geometry.size[1]) for k in (0, labels.geometry.size[2])]).T
    off_mm = np.abs((grid.affine_lps @ (step - np.rint(step)) @ corners)[:3]).max()
    moved = resample(labels, grid, order=0, outside=BACKGROUND) if off_mm <= _ON_GRID_MM else None
    if moved is None or np.count_nonzero(moved.array) != np.count_nonzero(labels.array):
        raise FedLiverError("other-grid", "The segmentation does not lie on the voxels of this DICOM series: give the series that it was drawn on.")
    return moved


def _header(path: Path) -> "Dataset":
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, "")
    return header


def _check_identity(headers: "Sequence[Dataset]") -> None:
    lacking = [name for name in _REFERRED_TO if not all(str(header.get(name) or "").strip() for header in headers)]
    if lacking:
        sentence = (
            f"The slices carry no {', '.join(lacking)}, so a DICOM SEG could not say which scan it belongs to: "
            "use the series as the archive (PACS) has it, or export to .nii.gz or .seg.nrrd instead."
        )
        raise FedLiverError("source-without-identity", sentence)
    if len({str(header.SOPInstanceUID) for header in headers}) < len(headers):
        sentence = "Several slices carry the same SOPInstanceUID, so a DICOM SEG could not tell them apart: use the series as the archive (PACS) has it."
        raise FedLiverError("source-without-identity", sentence)


def _segmentation(voxels: Volume, headers: "Sequence[Dataset]", structures: Sequence[Structure], origin: Origin, number: int) -> Any:
    import highdicom
    from pydicom.uid import generate_uid

    first, grid = headers[0], voxels.geometry
    numbered = np.zeros_like(voxels.array, dtype=np.uint8)
    for position, structure in enumerate(structures, 1):  # a SEG's segments are numbered without a gap
        numbered[voxels.array == structure.value] = position
    axes = np.reshape(grid.direction, (3, 3))
    return highdicom.seg.Segmentation(
        source_images=[_alike(header, first) for header in headers],
        pixel_array=numbered,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(structure, position, origin) for position, structure in enumerate(structures, 1)],
        series_instance_uid=_series_uid(str(first.SeriesInstanceUID)),
        series_number=int(first.get("SeriesNumber") or 0) % 10_000 * 100 + 1,
        series_description="Liver and tumour (FedLiver)",
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=number,
        manufacturer="FedLiverSlicer contributors",
        manufacturer_model_name="FedLiverSlicer",
        software_versions=__version__,
        device_serial_number="0",  # must not be empty; software has none
        content_label="LIVER_TUMOUR",
        content_description="Outlines of liver and tumour. For research only.",
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=(grid.spacing[1], grid.spacing[0]), slice_thickness=grid.spacing[2], spacing_between_slices=grid.spacing[2]
        ),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", [float(x) for x in (*axes[:, 0], *axes[:, 1])]),
        plane_positions=[highdicom.PlanePositionSequence("PATIENT", (grid.affine_lps @ [0, 0, k, 1])[:3].tolist()) for k in range(grid.size[2])],
    )


def _alike(header: "Dataset", first: "Dataset") -> "Dataset":
    """Some archives jitter in the last digits of what one series has in common, which highdicom takes for another series' image."""
    same = copy.copy(header)
    for name in ("ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        if name in first:
            setattr(same, name, first[name].value)
    return same


def _description(structure: Structure, position: int, origin: Origin) -> Any:
    import highdicom
    from highdicom.color import CIELabColor
    from pydicom.sr.codedict import codes

    algorithm = None
    if origin.teacher:
        algorithm = highdicom.AlgorithmIdentificationSequence(
            name=origin.teacher,
            family=codes.DCM.ArtificialIntelligence,
            version=origin.version or "unknown",
            source="FedLiverSlicer",
            parameters={"sha256": origin.sha256} if origin.sha256 else None,
        )
    description = highdicom.seg.SegmentDescription(
        segment_number=position,
        segment_label=structure.name,
        segmented_property_category=_coded(structure.category),
        segmented_property_type=_coded(structure.type),
        algorithm_type=origin.algorithm_type,
        algorithm_identification=algorithm,
        anatomic_regions=None if structure is LIVER_STRUCTURE else [_coded(LIVER_STRUCTURE.type)],
        display_color=CIELabColor.from_rgb(*structure.colour),
    )
    description.SegmentDescription = _DESCRIPTIONS[structure]
    return description


def _coded(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def _series_uid(source: str) -> str:
    """The series that every segmentation of a scan goes into: always the same for the same scan (DICOM PS3.5, B.2: a UUID under 2.25)."""
    return f"2.25.{uuid.uuid5(_NAMES, source).int}"
