"""A CT from where it lies (a DICOM folder or file, NIfTI, NRRD, MetaImage) as a volume in Hounsfield units, or a sentence that says why not."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedliver.ct_checks import check_ct, clean
from fedliver.dicom_series import Scan, Stack, scan_files, scan_folder
from fedliver.dicom_stack import read_stack
from fedliver.errors import FedLiverError
from fedliver.image import Volume, from_sitk
from fedliver.image_file import READABLE, format_of, open_image

__all__ = ["Ct", "Series", "SourceIdentity", "check_ct", "content_hash", "list_series", "read_ct", "read_series"]


@dataclass(frozen=True)
class Series:
    """What a DICOM folder holds, one per stack of parallel slices.

    ``key`` is what ``--series`` takes, in a stable order from "1"; ``description`` says modality, slices, spacing and kernel, never
    what somebody typed; ``files`` are in the order of the slices.
    """

    key: str
    description: str
    files: tuple[Path, ...]
    is_ct: bool
    """Whether it can be a CT volume, by its headers."""
    notes: tuple[str, ...]
    """What a person should know of it, by its headers and by what lay beside it."""
    stack: Stack = field(repr=False)
    """The headers as they were read. They say whose it is."""


@dataclass(frozen=True)
class SourceIdentity:
    """Whose scan it is. Stays on this machine; feeds the pseudonym only. Made from the content's hash where there is no DICOM."""

    patient: str
    study: str
    series: str


@dataclass(frozen=True)
class Ct:
    """A checked CT in Hounsfield units (int16 where they are whole numbers, else float32) and what a person should know about it."""

    volume: Volume
    identity: SourceIdentity
    warnings: tuple[str, ...]


def list_series(folder: Path) -> list[Series]:
    """Every DICOM image series in ``folder`` and its subfolders.

    Raises
    ------
    FedLiverError
        ``no-such-file``, ``not-readable``, ``too-many-files`` or ``no-dicom``.
    """
    scan = _scan(Path(folder))
    return [
        Series(
            key=str(n),
            description=stack.summary + (f", kernel {stack.first.kernel}" if stack.first.kernel else ""),
            files=tuple(header.path for header in stack.slices),
            is_ct=stack.is_ct,
            notes=tuple(_notes(stack, scan)),
            stack=stack,
        )
        for n, stack in enumerate(scan.stacks, 1)
    ]


def read_series(series: Series) -> Ct:
    """Read and check one of :func:`list_series`, without looking through its folder again. Raises what :func:`read_ct` raises of a series."""
    return _ct_of(series.stack, series.notes)


def read_ct(path: Path, series: str | None = None) -> Ct:
    """Read and check a CT.

    Parameters
    ----------
    path:
        A DICOM folder (searched with its subfolders), a DICOM file (its series is read from its folder), or a .nii.gz, .nii, .nrrd, .mha
        or .mhd file. The content decides, not the name.
    series:
        The key of one of :func:`list_series`. Needed only where a folder holds several CT series.

    Raises
    ------
    FedLiverError
        Everything that :func:`check_ct`, :func:`fedliver.image_file.open_image` and :func:`fedliver.dicom_stack.read_stack` refuse;
        ``several-series``, ``no-such-series``, ``no-dicom``, ``not-ct``.
    """
    path = Path(path)
    if path.is_dir():
        return _read_dicom(path, series, None)
    if format_of(path) == "dicom":
        return _read_dicom(path.parent, series, path)
    if series is not None:
        raise FedLiverError("no-such-series", f"{path.name} is not DICOM and holds one volume only: leave --series out.")
    opened = open_image(path)
    if opened.image.GetNumberOfComponentsPerPixel() != 1:
        raise FedLiverError(
            "colour", f"{path.name} has {opened.image.GetNumberOfComponentsPerPixel()} values per voxel (colour or vectors): give the CT itself."
        )
    volume, notes = clean(from_sitk(opened.image))
    warnings = [*opened.warnings, *notes, *check_ct(volume)]
    content = content_hash(volume)
    return Ct(volume, SourceIdentity(content, content, content), tuple(warnings))


def content_hash(volume: Volume) -> str:
    """Hex SHA-256 of the voxels and the grid: the same for the same scan wherever its file lies and whichever format it has.

    The grid goes in rounded to 0.01 mm, since NIfTI stores single precision.
    """
    grid = volume.geometry
    numbers = [*grid.spacing, *grid.origin, *grid.direction]
    text = " ".join(map(str, grid.size)) + "".join(f" {round(x, 2) + 0.0:.2f}" for x in numbers)
    digest = hashlib.sha256(f"{text} {volume.array.dtype.str}".encode())
    for piece in volume.array:
        digest.update(np.ascontiguousarray(piece).data)
    return digest.hexdigest()


def _scan(folder: Path) -> Scan:
    scan = scan_folder(folder)
    if not scan.stacks:
        raise _nothing_to_read(folder, scan)
    return scan


def _nothing_to_read(folder: Path, scan: Scan) -> FedLiverError:
    if scan.others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(scan.others.items()))
        return FedLiverError("not-ct", f"{folder.name} holds DICOM objects but no CT slices ({kinds}): give the folder of the CT series.")
    found = f"{scan.files} files, none of them DICOM" if scan.files else "nothing"
    return FedLiverError("no-dicom", f"{folder.name} holds {found}: give the folder of a CT series, or a {READABLE} file itself.")


def _read_dicom(folder: Path, series: str | None, file: Path | None) -> Ct:
    if file is not None:
        alone = scan_files([file])
        if not alone.stacks:
            kind = next(iter(alone.others), "DICOM")
            raise FedLiverError("not-ct", f"{file.name} is a DICOM object of kind {kind}, not a CT image: give the folder of the CT series.")
        if alone.stacks[0].first.modality not in ("CT", ""):
            raise FedLiverError("not-ct", f"{file.name} is {alone.stacks[0].first.modality} by its DICOM modality, not CT: choose a CT series.")
    scan = _scan(folder)
    stack, notes = _choose(scan.stacks, series, file)
    return _ct_of(stack, [*notes, *_notes(stack, scan)])


def _ct_of(stack: Stack, notes: Sequence[str]) -> Ct:
    volume, cleaned = clean(read_stack(stack))
    return Ct(volume, _identity(stack, volume), (*notes, *cleaned, *check_ct(volume)))


def _notes(stack: Stack, scan: Scan) -> list[str]:
    """What the headers say that a person should know."""
    notes = []
    if not stack.first.series:
        notes.append("The slices carry no SeriesInstanceUID: they were put together by orientation, frame of reference, size, spacing and series number.")
    if not stack.first.modality:
        notes.append("The slices do not say their modality: they were taken for CT by their values.")
    if any(header.lossy for header in stack.slices):
        notes.append("The slices were once compressed with loss: the Hounsfield units, and so the segmentation, may be less exact.")
    if scan.others["damaged"]:
        count = scan.others["damaged"]
        notes.append(f"{count} DICOM file{'s' if count > 1 else ''} could not be read: the first or last slices of the scan may be missing.")
    if stack.copies:
        notes.append(f"{stack.copies} of the files are copies of others: they were passed over.")
    return notes


def _choose(stacks: Sequence[Stack], series: str | None, file: Path | None) -> tuple[Stack, list[str]]:
    """The series asked for, or the one that ``file`` belongs to, or the only one that can be a CT volume."""
    if series is not None:
        if not (series.isdecimal() and 1 <= int(series) <= len(stacks)):
            raise FedLiverError("no-such-series", f"There is no series {series!r} here. Choose one with --series: {_listed(stacks)}.")
        return stacks[int(series) - 1], []
    if file is not None:
        return next(s for s in stacks if any(h.path == file for h in s.slices)), []
    if len(stacks) == 1:
        return stacks[0], []
    volumes = [(n, s) for n, s in enumerate(stacks, 1) if s.is_ct and len(s.slices) >= 5]
    if not volumes:
        if not any(s.is_ct for s in stacks):
            raise FedLiverError("not-ct", f"None of the series here is a CT by its DICOM modality: {_listed(stacks)}. Give the folder of a CT.")
        raise FedLiverError("too-few-slices", f"No CT series here has at least 5 slices: {_listed(stacks)}. Give the folder of the whole series.")
    if len(volumes) > 1:
        raise FedLiverError("several-series", f"There are several series here. Choose one with --series: {_listed(stacks)}.")
    number, stack = volumes[0]
    return stack, [f"Of {len(stacks)} series, the only CT volume was read: {number} ({stack.summary})."]


def _listed(stacks: Sequence[Stack]) -> str:
    shown = "; ".join(f"{n}: {stack.summary}" for n, stack in enumerate(stacks[:20], 1))
    return shown + (f"; and {len(stacks) - 20} more" if len(stacks) > 20 else "")


def _identity(stack: Stack, volume: Volume) -> SourceIdentity:
    """DICOM's identifiers; where one is missing, the content stands in, so that the same scan stays the same case."""
    first = stack.first
    part = f"#{hashlib.sha256(stack.part.encode()).hexdigest()[:16]}" if stack.part else ""
    content = "" if first.patient and first.study and first.series else content_hash(volume)
    return SourceIdentity(first.patient or first.study or content, first.study or content, first.series + part if first.series else content)
