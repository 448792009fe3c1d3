"""What a DICOM folder holds: headers read one by one and grouped into stacks of slices, tidy archive or not.

Only headers are read here; :mod:`fedliver.dicom_stack` turns a stack into a volume. Nothing that describes the patient is kept but the
identifiers that feed the pseudonym on this machine.
"""

import hashlib
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedliver.errors import FedLiverError

MAX_FILES = 100_000
_DAMAGED = "damaged"
_DICOMDIR = "1.2.840.10008.1.3.10"
_NOT_IMAGES = ("1.2.840.10008.5.1.4.1.1.66", "1.2.840.10008.5.1.4.1.1.481", "1.2.840.10008.5.1.4.1.1.88", "1.2.840.10008.5.1.4.1.1.11")
_CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_PHASE_TAGS = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "ConvolutionKernel",
    "ImageType",
    "AcquisitionTime",
)
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesNumber",
    "AcquisitionNumber", "InstanceNumber", "AcquisitionTime", "TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "ImageType",
    "ConvolutionKernel", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns", "NumberOfFrames",
    "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "LossyImageCompression",
]  # fmt: skip


@dataclass(frozen=True)
class SliceHeader:
    """One image of a DICOM file: what is needed to group, order and decode it. LPS millimetres."""

    path: Path
    modality: str
    patient: str
    study: str
    series: str
    instance: str
    series_number: int
    orientation: tuple[float, ...]  # direction of rows, then of columns
    position: tuple[float, ...]  # of the first voxel's centre
    spacing: tuple[float, float]  # along i, along j
    size: tuple[int, int]  # i, j
    slope: float
    intercept: float
    frames: int
    samples: int
    bits: int
    photometric: str
    transfer_syntax: str
    kernel: str
    image_type: tuple[str, ...]
    frame_of_reference: str
    lossy: bool
    phase: dict[str, str] = field(hash=False)  # what may tell two acquisitions of one series apart

    @property
    def normal(self) -> np.ndarray:
        """The unit vector that slices are ordered along, right-handed with rows and columns."""
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        return normal / np.linalg.norm(normal)

    @property
    def height(self) -> float:
        """The position along :attr:`normal`, in millimetres."""
        return float(np.dot(self.normal, self.position))


@dataclass(frozen=True)
class Stack:
    """Slices of one series that lie parallel on one grid, in order along their normal. ``part`` tells parts of one series apart."""

    slices: tuple[SliceHeader, ...]
    part: str = ""
    copies: int = 0

    @property
    def first(self) -> SliceHeader:
        return self.slices[0]

    @property
    def modality(self) -> str:
        return self.first.modality or "unknown modality"

    @property
    def is_ct(self) -> bool:
        """Whether this can be a CT volume by its headers: CT, or no modality at all, and no localizer."""
        return self.first.modality in ("CT", "") and "LOCALIZER" not in self.first.image_type

    @property
    def heights(self) -> np.ndarray:
        """Positions along the normal in millimetres, ascending."""
        return np.array([s.height for s in self.slices])

    @property
    def summary(self) -> str:
        """Modality, number of slices and spacing. No text that somebody typed."""
        gaps = np.diff(np.unique(np.round(self.heights, 3)))
        spacing = [*self.first.spacing, *([float(np.median(gaps))] if gaps.size else [])]
        count = len(self.slices)
        return f"{self.modality}, {count} slice{'s' if count != 1 else ''}, {' × '.join(f'{s:.2f}' for s in spacing)} mm"


@dataclass(frozen=True)
class Scan:
    """All that was found in a folder: stacks in a stable order, and how many DICOM objects of which kind are no images in space."""

    stacks: tuple[Stack, ...]
    others: Counter[str]
    files: int


def scan_folder(folder: Path) -> Scan:
    """Read the headers of every DICOM file in ``folder`` and its subfolders.

    Raises
    ------
    FedLiverError
        ``no-such-file``, ``not-readable`` or ``too-many-files``.
    """
    return scan_files(_files_in(folder))


def scan_files(paths: Iterable[Path]) -> Scan:
    """Read the headers of these files and group them; what is no DICOM is passed over."""
    headers: list[SliceHeader] = []
    others = Counter[str]()
    files = 0
    for path in paths:
        files += 1
        found = read_header(path)
        if isinstance(found, SliceHeader):
            headers.append(found)
        elif found is not None:
            others[found] += 1
    return Scan(tuple(_stacks(headers)), others, files)


def read_header(path: Path) -> SliceHeader | str | None:
    """One file's header; the modality of a DICOM object that is no image in space, or "damaged"; None for what is no DICOM, or a DICOMDIR."""
    import pydicom

    try:
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError:
        return _DAMAGED
    if not (head[128:] == b"DICM" or (len(head) == 132 and head[:2] in (b"\x08\0", b"\x02\0"))):
        return None
    try:
        # Without validation pydicom does not log the values it finds odd: they may be the patient's.
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            if str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) == _DICOMDIR:
                return None
            header = _slice_header(path, dataset)
            if header is None and _sop_class(dataset) in _CT_CLASSES:
                return _DAMAGED
            return header or _text(dataset, "Modality").upper() or _DAMAGED
    except Exception:  # pydicom raises many kinds on damaged headers
        return _DAMAGED


def _files_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder):
            pass
    except FileNotFoundError as error:
        raise FedLiverError("no-such-file", f"There is no folder {folder}: check the name.") from error
    except NotADirectoryError as error:
        raise FedLiverError("no-dicom", f"{folder.name} is a file: give the DICOM folder that it lies in.") from error
    except PermissionError as error:
        raise FedLiverError("not-readable", f"{folder} may not be read by you: ask for read permission.") from error
    closed: list[OSError] = []
    found: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=closed.append):
        folders.sort()
        found += [Path(root, name) for name in sorted(names) if not name.startswith(".")]
        if len(found) > MAX_FILES:
            raise FedLiverError("too-many-files", f"{folder} holds more than {MAX_FILES} files: give the folder of one study.")
    return found + [Path(error.filename) for error in closed]  # they are counted among what could not be read


def _slice_header(path: Path, dataset: Any) -> SliceHeader | None:
    """None for what is no image in space: segmentations, structure sets, reports, screen captures."""
    sop_class = _sop_class(dataset)
    if sop_class.startswith(_NOT_IMAGES):
        return None
    try:
        orientation, position = _numbers(dataset.ImageOrientationPatient, 6), _numbers(dataset.ImagePositionPatient, 3)
        rows, columns = _numbers(dataset.PixelSpacing, 2)
        if np.linalg.norm(np.cross(orientation[:3], orientation[3:])) < 0.5:
            return None
        return SliceHeader(
            path=path,
            modality=_text(dataset, "Modality").upper() or ("CT" if sop_class in _CT_CLASSES else ""),
            patient=_text(dataset, "PatientID"),
            study=_text(dataset, "StudyInstanceUID"),
            series=_text(dataset, "SeriesInstanceUID"),
            instance=_text(dataset, "SOPInstanceUID"),
            series_number=int(_text(dataset, "SeriesNumber") or 0),
            orientation=orientation,
            position=position,
            spacing=(columns, rows),
            size=(int(dataset.Columns), int(dataset.Rows)),
            slope=float(_text(dataset, "RescaleSlope") or 1),
            intercept=float(_text(dataset, "RescaleIntercept") or 0),
            frames=int(_text(dataset, "NumberOfFrames") or 1),
            samples=int(dataset.get("SamplesPerPixel") or 1),
            bits=int(dataset.get("BitsAllocated") or 16),
            photometric=_text(dataset, "PhotometricInterpretation"),
            transfer_syntax=str(dataset.file_meta.get("TransferSyntaxUID", "")),
            kernel=_text(dataset, "ConvolutionKernel"),
            image_type=tuple(_text(dataset, "ImageType").upper().split("\\")),
            frame_of_reference=_text(dataset, "FrameOfReferenceUID"),
            lossy=_text(dataset, "LossyImageCompression") == "01",
            phase={name: _text(dataset, name) for name in _PHASE_TAGS},
        )
    except (AttributeError, TypeError, ValueError):
        return None


def _sop_class(dataset: Any) -> str:
    return _text(dataset, "SOPClassUID") or str(dataset.file_meta.get("MediaStorageSOPClassUID", "") or "")


def _text(dataset: Any, name: str) -> str:
    value = dataset.get(name)
    if value is None:
        return ""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value).strip()
    return "\\".join(str(v).strip() for v in value)


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    numbers = tuple(float(v) for v in values)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{count} finite numbers expected")
    return numbers


def _stacks(headers: list[SliceHeader]) -> list[Stack]:
    """Group by series (or by what stands in for it), then by grid, then by acquisition where positions repeat."""
    stacks: list[Stack] = []
    for series in _grouped(headers, _series_key).values():
        parts = [part for grid in _by_grid(series) for part in _by_acquisition(grid)]
        for slices, copies, name in parts:
            ordered = tuple(sorted(slices, key=lambda s: (s.height, s.instance, s.path.name)))
            stacks.append(Stack(ordered, name if len(parts) > 1 else "", copies))
    stacks.sort(key=lambda s: (s.first.series_number, s.first.series, s.part, s.first.position, s.first.size, s.first.path.as_posix()))
    return stacks


def _series_key(header: SliceHeader) -> Hashable:
    if header.series:
        return header.series
    return ("", header.patient, header.study, header.frame_of_reference, header.series_number, header.modality)


def _grouped(headers: Sequence[SliceHeader], key: Callable[[SliceHeader], Hashable]) -> dict[Hashable, list[SliceHeader]]:
    groups: dict[Hashable, list[SliceHeader]] = defaultdict(list)
    for header in headers:
        groups[key(header)].append(header)
    return groups


def _by_grid(headers: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Slices with the same orientation, size and pixel spacing lie on one grid: a localizer among axial slices does not."""
    grids: list[list[SliceHeader]] = []
    for header in headers:
        for grid in grids:
            first = grid[0]
            alike = first.size == header.size and np.allclose(first.spacing, header.spacing, rtol=1e-3)
            if alike and np.allclose(first.orientation, header.orientation, atol=2e-3):
                grid.append(header)
                break
        else:
            grids.append([header])
    return grids


def _repeats(headers: Sequence[SliceHeader]) -> bool:
    return len({round(h.height, 2) for h in headers}) < len(headers)


def _by_acquisition(headers: list[SliceHeader]) -> list[tuple[list[SliceHeader], int, str]]:
    """Parts in which no position repeats, the number of copies dropped from each, and a name that is the same on every machine.

    Where no tag of the header tells the repeated positions apart the slices stay together, and reading them is refused.
    """
    kept = _without_copies(headers) if _repeats(headers) else headers
    copies = len(headers) - len(kept)
    grid = _grid_name(kept[0])
    if not _repeats(kept):
        return [(kept, copies, grid)]
    for name in kept[0].phase:
        parts = _grouped(kept, lambda h, name=name: h.phase.get(name, ""))  # type: ignore[misc]
        if len(parts) > 1 and not any(_repeats(part) for part in parts.values()) and len(parts) < len(kept) / 2:
            return [(part, 0, f"{grid} {name} {value}") for value, part in parts.items()]
    return [(kept, copies, grid)]


def _grid_name(header: SliceHeader) -> str:
    return " ".join(f"{x:.2f}" for x in (*header.orientation, *header.spacing)) + f" {header.size[0]} {header.size[1]}"


def _without_copies(headers: list[SliceHeader]) -> list[SliceHeader]:
    """The same object stored twice counts once: the same instance UID, or the same bytes, at the same position."""
    seen: set[tuple[float, str]] = set()
    kept = []
    for header in headers:
        identity = header.instance or hashlib.sha256(header.path.read_bytes()).hexdigest()
        if (round(header.height, 2), identity) not in seen:
            seen.add((round(header.height, 2), identity))
            kept.append(header)
    return kept
