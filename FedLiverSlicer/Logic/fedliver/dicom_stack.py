"""A stack of DICOM slices becomes a volume in Hounsfield units, or a sentence that says what is wrong with the series."""

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from fedliver.ct_checks import MIN_SLICES
from fedliver.dicom_series import SliceHeader, Stack
from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume
from fedliver.image_file import check_size

_AGAIN = "export the series again from the archive (PACS)"
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")


def read_stack(stack: Stack) -> Volume:
    """Decode every slice, apply its own rescale slope and intercept, and lay them on the grid that their headers describe.

    Returns int16 where every slope and intercept is a whole number, else float32.

    Raises
    ------
    FedLiverError
        ``not-ct``, ``colour``, ``not-hounsfield``, ``multi-frame``, ``too-few-slices``, ``duplicate-slices``, ``missing-slices``,
        ``irregular-slices``, ``tilted-gantry``, ``sheared``, ``too-large``, ``truncated`` or ``damaged``.
    """
    _check_kind(stack)
    geometry = stack_geometry(stack)
    check_size("The series", geometry.size, 2)
    whole = all(float(s.slope).is_integer() and float(s.intercept).is_integer() for s in stack.slices)
    array = np.empty(geometry.shape, np.int16 if whole else np.float32)

    def place(index: int) -> None:
        values = _hounsfield(stack.slices[index])
        if whole:
            values = np.clip(values, -32768, 32767)
        array[index] = values

    with _quiet(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(place, range(len(stack.slices))):
            pass
    return Volume(array, geometry)


def stack_geometry(stack: Stack) -> Geometry:
    """The grid of the slices; raises if they do not lie on one (see :func:`read_stack`)."""
    first = stack.first
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    row /= np.linalg.norm(row)
    if abs(np.dot(row, column / np.linalg.norm(column))) > 1e-2:
        raise FedLiverError("sheared", f"The rows and columns of the slices are not at right angles: {_AGAIN}.")
    column = column - np.dot(row, column) * row
    column /= np.linalg.norm(column)
    step = _slice_step(stack.heights)
    _check_straight(stack, step)
    direction = np.stack([row, column, np.cross(row, column)], axis=1)
    return Geometry(
        size=(first.size[0], first.size[1], len(stack.slices)),
        spacing=(float(first.spacing[0]), float(first.spacing[1]), step),
        origin=(float(first.position[0]), float(first.position[1]), float(first.position[2])),
        direction=tuple(float(x) for x in direction.ravel()),
    )


def _check_kind(stack: Stack) -> None:
    first = stack.first
    if first.modality not in ("CT", ""):
        raise FedLiverError("not-ct", f"The series is {first.modality} by its DICOM modality, not CT: choose a CT series.")
    if first.samples != 1 or first.photometric.startswith(("RGB", "YBR", "PALETTE")):
        raise FedLiverError("colour", "The series holds colour pictures, not Hounsfield units: choose the original CT series.")
    if first.bits < 12:
        raise FedLiverError(
            "not-hounsfield", f"The series has {first.bits}-bit grey values, not Hounsfield units: choose the original CT series, not a capture of it."
        )
    if first.frames > 1:
        raise FedLiverError(
            "multi-frame",
            "The series is stored as one multi-frame DICOM file, which is not read here: export it as classic single-frame CT, or as .nii.gz from 3D Slicer.",
        )
    if any(s.slope == 0 for s in stack.slices):
        raise FedLiverError("not-hounsfield", f"The rescale slope of the series is 0, so it holds no Hounsfield units: {_AGAIN}.")
    count = len(stack.slices)
    if count < MIN_SLICES:
        raise FedLiverError(
            "too-few-slices",
            f"The series has {count} slice{'s' if count > 1 else ''}; at least {MIN_SLICES} are needed to segment a liver: give the whole series.",
        )


def _slice_step(heights: np.ndarray) -> float:
    """The even distance between slices in millimetres, or a refusal that names what is missing or doubled."""
    gaps = np.diff(heights)
    positions = [f"{h:.1f} mm" for h in heights]
    if gaps.min() < 0.01:
        at = positions[int(np.argmin(gaps))]
        raise FedLiverError(
            "duplicate-slices",
            f"Several slices lie at the same position ({at}), as when two phases are stored in one series: export one phase, as a series of its own.",
        )
    step = float(np.median(gaps))
    tolerance = max(0.1 * step, 0.02)
    wide = np.flatnonzero(gaps > step + tolerance)
    if wide.size and gaps.min() >= step - tolerance:
        ratios = gaps[wide] / step
        if np.all(np.abs(ratios - np.round(ratios)) < 0.15):
            missing, left = int(np.sum(np.round(ratios) - 1)), int(wide[0])
            many = f"{missing} slices are" if missing > 1 else "1 slice is"
            elsewhere = f" and at {wide.size - 1} other places" if wide.size > 1 else ""
            raise FedLiverError(
                "missing-slices",
                f"{many} missing between positions {positions[left]} and {positions[left + 1]}{elsewhere} (slices lie {step:.2f} mm apart): {_AGAIN}.",
            )
    straight = np.linspace(heights[0], heights[-1], len(heights))
    worst = int(np.argmax(np.abs(gaps - step)))
    if abs(gaps[worst] - step) > tolerance or np.abs(heights - straight).max() > max(0.5 * step, 0.05):
        raise FedLiverError(
            "irregular-slices",
            f"The slices are not evenly spaced: {gaps[worst]:.2f} mm between positions {positions[worst]} and {positions[worst + 1]}, elsewhere {step:.2f} mm. "
            f"Choose an evenly spaced reconstruction, or {_AGAIN}.",
        )
    return float((heights[-1] - heights[0]) / (len(heights) - 1))


def _check_straight(stack: Stack, step: float) -> None:
    """Each slice must sit above the last along the normal: a tilted gantry shears the stack."""
    positions = np.array([s.position for s in stack.slices])
    aside = positions - positions[0]
    aside -= np.outer(aside @ stack.first.normal, stack.first.normal)
    drift = np.linalg.norm(aside, axis=1)
    pixel = max(stack.first.spacing)
    if drift.max() <= pixel:
        return
    per_slice = drift[-1] / (len(positions) - 1)
    if np.abs(drift - per_slice * np.arange(len(positions))).max() > pixel:
        raise FedLiverError("irregular-slices", f"Slices are shifted sideways against each other by up to {drift.max():.1f} mm: {_AGAIN}.")
    angle = float(np.degrees(np.arctan2(per_slice, step)))
    raise FedLiverError(
        "tilted-gantry",
        f"The slices are sheared by {angle:.1f} degrees (tilted gantry): load the series in 3D Slicer, which straightens it, and save the volume as .nrrd.",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pydicom from logging the values it finds odd: they may be the patient's. Set once, around all threads."""
    import pydicom

    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def _hounsfield(header: SliceHeader) -> np.ndarray:
    """One slice in Hounsfield units (j, i). GDCM decodes what is compressed; pydicom what is not, and what GDCM cannot."""
    native = header.transfer_syntax in _NATIVE or not header.transfer_syntax
    inverted = header.photometric == "MONOCHROME1"  # ITK would turn the grey values round
    values = None if native or inverted else _with_gdcm(header)
    return _with_pydicom(header) if values is None else values


def _with_gdcm(header: SliceHeader) -> np.ndarray | None:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(header.path))
    try:
        values = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError:
        return None
    values = values[0] if values.ndim == 3 else values
    return values if values.shape == (header.size[1], header.size[0]) else None


def _with_pydicom(header: SliceHeader) -> np.ndarray:
    dataset = _read_whole(header.path)
    try:
        stored = dataset.pixel_array
    except ValueError as error:
        raise FedLiverError("truncated", f"A slice of the series (position {header.height:.1f} mm) is cut off: {_AGAIN}.") from error
    except (AttributeError, KeyError) as error:
        raise FedLiverError("damaged", f"A slice of the series (position {header.height:.1f} mm) holds no image: {_AGAIN}.") from error
    except Exception as error:  # decoders raise kinds of their own
        raise FedLiverError(
            "damaged", f"A slice of the series (position {header.height:.1f} mm) cannot be decoded: {_AGAIN}, uncompressed (Explicit VR Little Endian)."
        ) from error
    if stored.shape != (header.size[1], header.size[0]):
        raise FedLiverError("damaged", f"A slice of the series (position {header.height:.1f} mm) has another size than its header says: {_AGAIN}.")
    if header.slope.is_integer() and header.intercept.is_integer():
        return stored.astype(np.int32) * int(header.slope) + int(header.intercept)
    return (stored.astype(np.float64) * header.slope + header.intercept).astype(np.float32)


def _read_whole(path: Path) -> Any:
    import pydicom

    try:
        return pydicom.dcmread(path, force=True)
    except Exception as error:  # the header was readable a moment ago: the file has changed or the disk fails
        raise FedLiverError("damaged", f"A slice of the series can no longer be read: {_AGAIN}.") from error
