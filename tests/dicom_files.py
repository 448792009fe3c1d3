"""DICOM series written on the fly, tidy or as untidy as a test needs them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from fedliver.image import Volume

Change = Callable[[pydicom.Dataset, int], None]


def write_series(
    folder: Path,
    volume: Volume,
    *,
    series: str = "1.2.3.1",
    study: str = "1.2.3",
    modality: str = "CT",
    number: int = 1,
    leave_out: Sequence[int] = (),
    slope: float = 1,
    intercept: float = -1024,
    change: Change | None = None,
    shuffled: bool = True,
) -> list[Path]:
    """Write each k-slice of ``volume`` as one DICOM file whose name says nothing about its place; return the paths in slice order.

    ``change(dataset, k)`` may spoil a slice before it is written. The patient has a name and an ID that must never be seen again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(number).permutation(len(volume.array)) if shuffled else np.arange(len(volume.array))
    paths = []
    for k, pixels in enumerate(volume.array):
        path = folder / f"IM{number:03d}_{names[k]:04d}"
        if k in leave_out:
            continue
        dataset = _slice(volume, k, pixels, slope, intercept)
        dataset.Modality, dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.SeriesNumber = modality, series, study, number
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
        if change is not None:
            change(dataset, k)
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def set_pixels(dataset: pydicom.Dataset, hounsfield: np.ndarray, slope: float, intercept: float) -> None:
    """Store Hounsfield units under this rescale slope and intercept."""
    stored = np.rint((hounsfield.astype(np.float64) - intercept) / slope)
    signed = stored.min() < 0
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = stored.astype(np.int16 if signed else np.uint16).tobytes()
    dataset.RescaleSlope, dataset.RescaleIntercept = str(slope), str(intercept)


def _slice(volume: Volume, k: int, pixels: np.ndarray, slope: float, intercept: float) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = CTImageStorage
    dataset.PatientName, dataset.PatientID = "Secret^Name", "SECRET-ID"
    dataset.SeriesDescription = "Secret description"
    dataset.FrameOfReferenceUID = "1.2.3.9"
    dataset.InstanceNumber, dataset.AcquisitionNumber = k + 1, 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    affine = volume.geometry.affine_lps
    axes = np.reshape(volume.geometry.direction, (3, 3))
    dataset.ImageOrientationPatient = [f"{x:.10f}" for x in (*axes[:, 0], *axes[:, 1])]
    dataset.ImagePositionPatient = [f"{x:.8f}" for x in (affine @ [0, 0, k, 1])[:3]]
    dataset.PixelSpacing = [f"{volume.geometry.spacing[1]:.8f}", f"{volume.geometry.spacing[0]:.8f}"]
    dataset.SliceThickness = f"{volume.geometry.spacing[2]:.6f}"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    set_pixels(dataset, pixels, slope, intercept)
    return dataset
