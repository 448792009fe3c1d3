"""Segmentations in files: plain label maps, and 3D Slicer's ``.seg.nrrd`` with names, colours and SNOMED terminology.

The layout of ``.seg.nrrd`` is that of Slicer's vtkMRMLSegmentationStorageNode: an ordinary NRRD label map (or one layer per component)
whose key/value pairs ``SegmentN_...`` describe the segments.
"""

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fedliver.errors import FedLiverError
from fedliver.files import write_file
from fedliver.image import Geometry, Volume, from_sitk, geometry_of, to_sitk
from fedliver.image_file import OpenedImage, open_image
from fedliver.labels import LEGAL_VALUES, LIVER, LIVER_STRUCTURE, STRUCTURES, TUMOUR, TUMOUR_STRUCTURE, Structure

WRITABLE = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")

_GRID_TOLERANCE_MM = 0.02  # NIfTI keeps its grid in single precision, others round it
_TUMOUR_WORDS = re.compile(r"\b(tumou?rs?|lesions?|mass|masses|metastas[ie]s|hcc|cancer|carcinoma|malignan\w*|neoplasms?)\b", re.IGNORECASE)
_OTHER_WORDS = re.compile(r"\b(veins?|vena|vessels?|portal|arter\w+|ducts?|bile|biliary|cysts?|gallbladder|kidney\w*|spleen)\b", re.IGNORECASE)
_LIVER_WORDS = re.compile(r"\b(liver|hepar|leber|foie|h[ií]gado|fegato|lever)\b", re.IGNORECASE)
_TUMOUR_CODES = (TUMOUR_STRUCTURE.type.value, "108369006", "86049000", "1240414004", "52988006")


def write_segmentation(labels: Volume, target: Path) -> None:
    """Write liver and tumour (0, 1, 2) on exactly their grid, in the format that ``target``'s name asks for.

    ``.seg.nrrd`` is 3D Slicer's segmentation; ``.nii.gz``, ``.nii``, ``.nrrd`` and ``.mha`` are plain label maps (uint8). The file is
    read back before it takes its name: ``target`` is whole and right, or as it was.

    Raises
    ------
    FedLiverError
        ``unknown-suffix``, ``illegal-labels``, ``disk-full``, ``not-writable`` or ``not-saved``.
    """
    target = Path(target)
    suffix = check_target(target)
    values = _values(labels.array)
    _check_legal(target.name, values)
    image = to_sitk(labels.with_array(labels.array.astype(np.uint8, copy=False)))
    if suffix == ".seg.nrrd":
        _describe_segments(image, labels.array, values)
    write_file(target, lambda part: _write_checked(image, part, compress=suffix != ".nii"))


def read_segmentation(path: Path, onto: Geometry | None = None) -> Volume:
    """Read a segmentation as a label map (uint8: 0, 1 liver, 2 tumour).

    In a ``.seg.nrrd`` the segments are told by their names and, where a name says nothing, by their terminology; segments that are neither
    liver nor tumour are passed over; tumour lies over liver. Slicer stores only the box around the segments: with ``onto`` it is put
    back to its place.

    Parameters
    ----------
    onto:
        The grid of the CT that the segmentation must lie on. The result carries exactly this grid.

    Raises
    ------
    FedLiverError
        ``different-grid``, ``illegal-labels``, ``unknown-segments``, ``not-a-segmentation``, or as :func:`fedliver.image_file.open_image`.
    """
    path = Path(path)
    opened = open_image(path)
    if any(re.fullmatch(r"Segment\d+_ID", key) for key in opened.metadata):
        labels = _labels_of_segments(path, opened)
        return labels if onto is None else _place(path, labels, onto)
    if opened.image.GetNumberOfComponentsPerPixel() != 1:
        raise FedLiverError("not-a-segmentation", f"{path.name} has several values per voxel: give a label map with 0, 1 (liver) and 2 (tumour).")
    labels = from_sitk(opened.image)
    _check_legal(path.name, _values(labels.array))
    labels = labels.with_array(labels.array.astype(np.uint8))
    if onto is None:
        return labels
    if not labels.geometry.same_grid(onto, _GRID_TOLERANCE_MM):
        raise _different_grid(path, labels.geometry, onto)
    return Volume(labels.array, onto)


def check_target(target: Path) -> str:
    """The suffix that names the format of ``target``. Raises FedLiverError ``unknown-suffix``: ask before the work is done, not after."""
    for suffix in WRITABLE:
        if target.name.lower().endswith(suffix) and len(target.name) > len(suffix):
            return suffix
    raise FedLiverError("unknown-suffix", f"A segmentation is not saved as {target.name}: end the name in {', '.join(WRITABLE[:-1])} or {WRITABLE[-1]}.")


def _values(array: np.ndarray) -> np.ndarray:
    """The values that occur, slice by slice: no sorted copy of a big volume is made."""
    return np.unique(np.concatenate([np.unique(piece) for piece in array]))


def _check_legal(name: str, values: np.ndarray) -> None:
    wrong = [v for v in values.tolist() if v not in LEGAL_VALUES]
    if wrong:
        shown = ", ".join(f"{v:g}" for v in wrong[:5]) + (", ..." if len(wrong) > 5 else "")
        raise FedLiverError("illegal-labels", f"{name} holds the values {shown}; only 0 (background), 1 (liver) and 2 (tumour) are allowed: relabel it first.")


def _describe_segments(image: sitk.Image, array: np.ndarray, values: np.ndarray) -> None:
    """Slicer's key/value pairs: both segments always, so that one that is still empty can be drawn."""
    for index, structure in enumerate(STRUCTURES):
        extent = _extent(array == structure.value) if structure.value in values else "0 -1 0 -1 0 -1"
        for key, value in {
            "ID": structure.name,
            "Name": structure.name,
            "NameAutoGenerated": "0",
            "Color": " ".join(f"{c / 255:.6g}" for c in structure.colour),
            "ColorAutoGenerated": "0",
            "LabelValue": str(structure.value),
            "Layer": "0",
            "Extent": extent,
            "Tags": f"TerminologyEntry:{structure.terminology_entry}|",
        }.items():
            image.SetMetaData(f"Segment{index}_{key}", value)
    image.SetMetaData("Segmentation_MasterRepresentation", "Binary labelmap")
    image.SetMetaData("Segmentation_ContainedRepresentationNames", "Binary labelmap|")
    image.SetMetaData("Segmentation_ConversionParameters", "")
    image.SetMetaData("Segmentation_ReferenceImageExtentOffset", "0 0 0")


def _extent(mask: np.ndarray) -> str:
    """First and last index along i, j and k: "i0 i1 j0 j1 k0 k1"."""
    ends = []
    for axes in ((0, 1), (0, 2), (1, 2)):
        filled = np.flatnonzero(mask.any(axis=axes))
        ends += [int(filled[0]), int(filled[-1])]
    return " ".join(map(str, ends))


def _write_checked(image: sitk.Image, part: Path, *, compress: bool) -> None:
    """Write and read back: ITK's writers do not always notice a full disk."""
    try:
        sitk.WriteImage(image, str(part), compress)
        written = open_image(part).image
        same = np.array_equal(sitk.GetArrayViewFromImage(written), sitk.GetArrayViewFromImage(image))
        if same and geometry_of(written).same_grid(geometry_of(image), _GRID_TOLERANCE_MM):
            return
        reason: Exception | None = None
    except (RuntimeError, FedLiverError) as error:
        reason = error
    _raise_what_the_disk_says(part)
    raise FedLiverError("not-saved", "The segmentation could not be written: try another folder or another format; the old file is as it was.") from reason


def _raise_what_the_disk_says(part: Path) -> None:
    """Append a little to the file that could not be written, unbuffered, so that the system tells the true reason (OSError)."""
    with part.open("ab", buffering=0) as stream:
        for _ in range(64):
            stream.write(bytes(1 << 16))


def _labels_of_segments(path: Path, opened: OpenedImage) -> Volume:
    """Liver and tumour of a ``.seg.nrrd``, each segment looked up in its layer, tumour over liver."""
    layers = sitk.GetArrayFromImage(opened.image)
    if opened.image.GetNumberOfComponentsPerPixel() == 1:
        layers = layers[..., None]
    masks = {LIVER: np.zeros(layers.shape[:3], bool), TUMOUR: np.zeros(layers.shape[:3], bool)}
    names, known = [], False
    for number in sorted(int(key[7:-3]) for key in opened.metadata if re.fullmatch(r"Segment\d+_ID", key)):
        tags = {key: opened.metadata.get(f"Segment{number}_{key}", "") for key in ("Name", "LabelValue", "Layer", "Tags")}
        names.append(tags["Name"])
        structure = _structure(tags["Name"], tags["Tags"])
        if structure is None:
            continue
        known = True
        single = layers.shape[3] == 1
        layer = _whole_number(tags["Layer"], 0 if single else number)  # Slicer before 4.11 named no layer: each segment had its own
        value = _whole_number(tags["LabelValue"], 1)
        if not 0 <= layer < layers.shape[3] or value < 1:
            raise FedLiverError("damaged", f"{path.name} describes a segment that it does not hold: save it again from 3D Slicer.")
        masks[structure.value] |= layers[..., layer] == value
    if not known:
        raise FedLiverError(
            "unknown-segments", f"No segment of {path.name} is called Liver or Tumour ({len(names)} segments): rename them in 3D Slicer and save it again."
        )
    labels = np.zeros(layers.shape[:3], np.uint8)
    labels[masks[LIVER]] = LIVER
    labels[masks[TUMOUR]] = TUMOUR
    return Volume(labels, geometry_of(opened.image))


def _whole_number(text: str, default: int) -> int:
    return default if not text else int(text) if text.isdecimal() else -1


def _structure(name: str, tags: str) -> Structure | None:
    """What a segment is: by its name, which is what the clinician sees, else by its terminology's SNOMED code."""
    words = re.sub(r"[\W\d_]+", " ", name)
    if _TUMOUR_WORDS.search(words):
        return TUMOUR_STRUCTURE
    if _OTHER_WORDS.search(words):
        return None
    if _LIVER_WORDS.search(words):
        return LIVER_STRUCTURE
    entry = re.search(r"TerminologyEntry:([^|]*)", tags)
    fields = entry.group(1).split("~") if entry else []
    code = fields[2].split("^")[1] if len(fields) > 2 and fields[2].count("^") == 2 else ""
    if code == LIVER_STRUCTURE.type.value:
        return LIVER_STRUCTURE
    return TUMOUR_STRUCTURE if code in _TUMOUR_CODES else None


def _place(path: Path, labels: Volume, onto: Geometry) -> Volume:
    """Put the box that Slicer stored back onto the CT's grid: it must lie on that grid's voxels, and what is labelled inside it."""
    grid = labels.geometry
    to_index = np.linalg.inv(onto.affine_lps) @ grid.affine_lps
    offset = np.round(to_index[:3, 3]).astype(int)
    shifted = Geometry(grid.size, onto.spacing, _point(onto, offset), onto.direction)
    if not grid.same_grid(shifted, _GRID_TOLERANCE_MM):
        raise _different_grid(path, grid, onto)
    filled = [np.flatnonzero(labels.array.any(axis=axes)) for axes in ((0, 1), (0, 2), (1, 2))]
    placed = np.zeros(onto.shape, np.uint8)
    if not filled[0].size:
        return Volume(placed, onto)
    low = np.array([axis[0] for axis in filled])
    high = np.array([axis[-1] + 1 for axis in filled])
    if (low + offset < 0).any() or (high + offset > np.array(onto.size)).any():
        raise _different_grid(path, grid, onto)
    source = tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1], strict=True))
    goal = tuple(slice(int(a), int(b)) for a, b in zip((low + offset)[::-1], (high + offset)[::-1], strict=True))
    placed[goal] = labels.array[source]
    return Volume(placed, onto)


def _point(grid: Geometry, index: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (grid.affine_lps @ [*index.tolist(), 1])[:3].tolist()
    return (x, y, z)


def _different_grid(path: Path, grid: Geometry, onto: Geometry) -> FedLiverError:
    def words(g: Geometry) -> str:
        return f"{' × '.join(map(str, g.size))} voxels of {' × '.join(f'{s:.2f}' for s in g.spacing)} mm"

    if grid.size == onto.size and np.allclose(grid.spacing, onto.spacing, atol=1e-3):
        reason = f"has the CT's size ({words(grid)}) but lies elsewhere or is turned"
    else:
        reason = f"has {words(grid)}; the CT has {words(onto)}"
    return FedLiverError("different-grid", f"{path.name} lies on another grid than the CT: it {reason}. Draw it on this CT, or resample it onto it.")
