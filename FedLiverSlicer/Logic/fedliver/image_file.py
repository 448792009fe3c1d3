"""Image files from outside (NIfTI, NRRD, MetaImage), opened with care: nothing they say about themselves is believed before it is checked.

ITK reads a truncated ``.nii.gz`` as zeros or as whatever lay in memory, and a damaged compressed NRRD or MHA as noise, all without a
word. So the content decides what a file is, the size it claims is held against limits, and a compressed stream is unpacked once, in
small blocks, to see that it is whole. Which file the voxels are read from is not the header's to say: ``image_header``.
"""

import io
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fedliver.errors import FedLiverError
from fedliver.image_header import VoxelPlace, voxel_place

MAX_AXIS = 4096
MAX_VOXELS = 2**31
READABLE = ".nii.gz, .nii, .nrrd, .mha or .mhd"

_BLOCK = 1 << 20
_PICTURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"RIFF": "WebP",
    b"%PDF": "PDF",
}
_IMAGE_IO = {"nifti": "NiftiImageIO", "nrrd": "NrrdImageIO", "meta": "MetaImageIO"}


@dataclass(frozen=True)
class OpenedImage:
    """A three-dimensional image, of one component or several, and what a person should know about it."""

    image: sitk.Image
    metadata: dict[str, str]
    warnings: tuple[str, ...]


def read_head(path: Path, size: int = 560) -> bytes:
    """The first ``size`` bytes of a file.

    Raises
    ------
    FedLiverError
        ``no-such-file``, ``not-readable`` or ``empty-file``.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(size)
    except FileNotFoundError as error:
        raise FedLiverError("no-such-file", f"There is no file {path}: check the name.") from error
    except PermissionError as error:
        raise FedLiverError("not-readable", f"{path} may not be read by you: ask for read permission.") from error
    except OSError as error:
        raise FedLiverError("not-readable", f"{path} cannot be read ({error.strerror}): check the disk or the connection, or copy the file again.") from error
    if not head:
        raise FedLiverError("empty-file", f"{path.name} is empty (0 bytes): export or copy it again.")
    return head


def format_of(path: Path) -> str:
    """What a file is by its content: ``nifti``, ``nrrd``, ``meta`` or ``dicom``.

    Raises
    ------
    FedLiverError
        As :func:`read_head`; ``photograph`` for a picture; ``truncated`` for a gzip file that is cut off at once; ``unknown-format``.
    """
    head = read_head(path)
    for magic, kind in _PICTURES.items():
        if head.startswith(magic):
            raise FedLiverError("photograph", f"{path.name} is a {kind} picture, not a CT volume: give the DICOM folder, or a {READABLE} file.")
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"NRRD0"):
        return "nrrd"
    if b"ObjectType" in head[:300] or b"NDims" in head[:300]:
        return "meta"
    if head.startswith(b"\x1f\x8b"):
        head = _unpack_head(path, head)
    if _is_nifti(head):
        return "nifti"
    if head[:2] in (b"\x02\0", b"\x08\0"):
        return "dicom"
    if head.startswith(b"PK"):
        raise FedLiverError("unknown-format", f"{path.name} is a ZIP archive: unpack it and give the folder.")
    raise FedLiverError("unknown-format", f"{path.name} is no image this program knows: give a DICOM folder, or a {READABLE} file.")


def check_alone(path: Path) -> None:
    """Refuse a file that would have its voxels read from another one, even from one beside it: for what came from elsewhere.

    Raises
    ------
    FedLiverError
        As :func:`format_of`, or :func:`~fedliver.image_header.voxel_place`.
    """
    kind = format_of(path)
    if kind in ("nrrd", "meta"):
        voxel_place(path, kind, beside=False)


def open_image(path: Path) -> OpenedImage:
    """Read a three-dimensional NIfTI, NRRD or MetaImage file that is whole and of a sane size.

    A fourth axis of length one is dropped; vector components are kept (a colour image, or the layers of a segmentation).

    Raises
    ------
    FedLiverError
        As :func:`format_of`; ``two-dimensional``, ``four-dimensional``, ``too-large``, ``truncated``, ``sheared``, ``damaged`` or ``detached-data``.
    """
    kind = format_of(path)
    if kind == "dicom":
        raise FedLiverError("unknown-format", f"{path.name} is a DICOM file: a {READABLE} file is needed here.")
    warnings, place = [], None
    if kind == "nifti":
        _check_nifti_name(path)
        warnings = _check_nifti(path)
    else:
        place = voxel_place(path, kind)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_IMAGE_IO[kind])  # by what was looked at above; left to itself, ITK may take the file for another format
    reader.SetFileName(str(path))
    quiet = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        component_bytes = sitk.Image([1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
        expected = check_size(path.name, size, component_bytes * reader.GetNumberOfComponents())
        if place is not None:
            _check_packed_data(place, kind, expected)
        image = reader.Execute()
        metadata = _metadata(reader)
    except RuntimeError as error:
        raise _in_words(path, str(error)) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(quiet)
    if len(size) == 4:
        image = image[:, :, :, 0]
    if kind == "nifti" and image.GetPixelID() in (sitk.sitkFloat32, sitk.sitkFloat64):
        image = _with_its_nan(image, path)
    return OpenedImage(image, metadata, tuple(warnings))


def check_size(name: str, size: Sequence[int], voxel_bytes: int) -> int:
    """The bytes that an image of ``size`` (i, j, k, ...) needs, once its axes and its memory are known to be sane.

    Raises
    ------
    FedLiverError
        ``two-dimensional``, ``four-dimensional`` or ``too-large``.
    """
    axes = [int(n) for n in size]
    while len(axes) > 3 and axes[-1] == 1:
        axes.pop()
    if len(axes) > 3:
        raise FedLiverError("four-dimensional", f"{name} holds {axes[3]} volumes (4D): save the one to segment as a 3D volume and give that.")
    if len(axes) < 3 or axes[2] == 1:
        raise FedLiverError("two-dimensional", f"{name} is a single 2D image: give the whole CT volume, or the DICOM folder of the series.")
    voxels = int(np.prod(axes, dtype=object))
    text = " × ".join(map(str, axes))
    if min(axes) < 1 or max(axes) > MAX_AXIS or voxels > MAX_VOXELS:
        raise FedLiverError(
            "too-large",
            f"{name} claims {text} voxels; at most {MAX_AXIS} along an axis and {MAX_VOXELS} in all are read: crop or resample it, or export it again.",
        )
    if voxels * (voxel_bytes + 4) > _memory_bytes():
        raise FedLiverError("too-large", f"{name} ({text} voxels) does not fit into this computer's memory: crop or resample it first.")
    return voxels * voxel_bytes


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 16 << 30


def _unpack_head(path: Path, packed: bytes) -> bytes:
    try:
        return zlib.decompressobj(47).decompress(packed, 560)
    except zlib.error as error:
        raise _truncated(path) from error


def _is_nifti(head: bytes) -> bool:
    little, big = int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
    return (348 in (little, big) and head[344:347] == b"n+1") or (540 in (little, big) and head[4:7] == b"n+2")


def _check_nifti_name(path: Path) -> None:
    """NIfTI is the one format whose reader goes by the name."""
    packed = read_head(path, 2) == b"\x1f\x8b"
    if not path.name.lower().endswith((".nii.gz",) if packed else (".nii", ".nii.gz")):
        suffix = ".nii.gz" if packed else ".nii"
        raise FedLiverError("wrong-name", f"{path.name} holds a NIfTI image but is not called so: rename it to end in {suffix}.")


def _check_nifti(path: Path) -> list[str]:
    """Hold the length of the file against its header, and say so when the header does not tell how the patient lies."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    packed = read_head(path, 2).startswith(b"\x1f\x8b")
    head = read_head(path, 4096)
    head = zlib.decompressobj(47).decompress(head, 560) if packed else head
    header_class = Nifti2Header if 540 in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")) else Nifti1Header
    if len(head) < header_class.sizeof_hdr:
        raise _truncated(path)
    try:
        header = header_class.from_fileobj(io.BytesIO(head), check=False)
        shape = header.get_data_shape()
        voxel_bytes = int(header["bitpix"]) // 8
        start = int(header.get_data_offset())
        if len(shape) == 5:  # a vector per voxel; open_image counts its components
            shape, voxel_bytes = shape[:4], voxel_bytes * int(shape[4])
    except Exception as error:  # nibabel raises many kinds for a nonsensical header
        raise FedLiverError("damaged", f"{path.name} has a NIfTI header that makes no sense: export it again.") from error
    expected = start + check_size(path.name, shape, voxel_bytes)
    if packed:
        _check_stream(path, 0, expected)
    elif path.stat().st_size < expected:
        raise _truncated(path)
    if int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0:
        return ["The file does not say how the patient lies (no qform, no sform): left and right may be exchanged. Check before use."]
    return []


def _with_its_nan(image: sitk.Image, path: Path) -> sitk.Image:
    """NIfTI's own library, which ITK reads with, turns NaN and infinity into 0 (water); here they are put back."""
    import nibabel as nib

    try:
        stored = np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
    except Exception:  # nibabel goes by the name, which may be unusual; then ITK's word stands
        return image
    stored = stored.reshape(image.GetSize())
    if np.isfinite(stored).all():
        return image
    restored = sitk.GetImageFromArray(stored.transpose(2, 1, 0))
    restored.CopyInformation(image)
    return restored


def _metadata(reader: sitk.ImageFileReader) -> dict[str, str]:
    """The file's key/value pairs that are text."""
    found = {}
    for key in reader.GetMetaDataKeys():
        try:
            found[key] = str(reader.GetMetaData(key))
        except (TypeError, UnicodeError):  # not UTF-8
            continue
    return found


def _check_packed_data(place: VoxelPlace, kind: str, expected: int) -> None:
    """Unpack the compressed data of a NRRD or MetaImage once, in the file or beside it. Raw data are checked by their readers."""
    packed = rb"^encoding: *gz" if kind == "nrrd" else rb"^CompressedData *= *T"
    if not re.search(packed, place.header, re.IGNORECASE | re.MULTILINE):
        return
    if kind == "nrrd" and re.search(rb"^(line|byte) ?skip:", place.header, re.IGNORECASE | re.MULTILINE):
        return
    _check_stream(place.path, place.start, expected)


def _check_stream(path: Path, start: int, expected: int) -> None:
    """Unpack a gzip or zlib stream block by block, keeping none of it, until ``expected`` bytes were seen and the checksum agreed."""
    unpacker = zlib.decompressobj(47)
    seen = 0
    with path.open("rb") as stream:
        stream.seek(start)
        pending = stream.read(_BLOCK)
        try:
            while pending:
                seen += len(unpacker.decompress(pending, _BLOCK))
                if seen > expected + _BLOCK:  # whatever follows the image is not read by anybody
                    return
                pending = unpacker.unconsumed_tail
                if unpacker.eof:
                    if seen >= expected:
                        return
                    pending, unpacker = unpacker.unused_data, zlib.decompressobj(47)  # gzip files may be joined end to end
                pending = pending or stream.read(_BLOCK)
        except zlib.error as error:
            raise FedLiverError("damaged", f"{path.name} is damaged (its compressed data cannot be unpacked): copy or export it again.") from error
    raise _truncated(path)


def _truncated(path: Path) -> FedLiverError:
    return FedLiverError("truncated", f"{path.name} is cut off before its end: copy or export it again.")


def _in_words(path: Path, message: str) -> FedLiverError:
    """SimpleITK's message in a sentence. Its own text names full paths and C++ files, which help nobody."""
    if "orthonormal" in message:
        return FedLiverError("sheared", f"{path.name} has axes that are not at right angles: resample it onto a straight grid first.")
    if "hit end of" in message or "received" in message or "fread got only" in message:
        return _truncated(path)
    return FedLiverError("damaged", f"{path.name} cannot be read as an image: it is damaged or not what its name says. Export it again as {READABLE}.")
