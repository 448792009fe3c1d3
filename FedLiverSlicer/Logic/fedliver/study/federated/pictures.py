"""Images to classify: a folder for every class, or a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fedliver.errors import FedLiverError
from fedliver.files import sha256_of
from fedliver.image_file import check_alone
from fedliver.study.federated.division import Record
from fedliver.study.federated.prepared import Item
from fedliver.study.federated.task import DataSettings
from fedliver.study.federated.volumes import rows_of

_PHOTOGRAPHS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
ENDINGS = (*_PHOTOGRAPHS, ".dcm", ".nii", ".nii.gz", ".nrrd", ".mha")
_MOST_PIXELS = 1 << 28
_DRAW_SEED = 7


@dataclass(frozen=True)
class PictureFile:
    """An image on disk and its class, by name."""

    path: Path
    label: str
    patient: str
    group: str = ""


class Pictures:
    """Images of the same size, 8 bits: (1, rows, columns) or (1, i, j, k)."""

    def __init__(self, files: Sequence[PictureFile], data: DataSettings) -> None:
        self.classes = data.classes or tuple(sorted({file.label for file in files}))
        unknown = {file.label for file in files} - set(self.classes)
        if len(self.classes) < 2 or (unknown and not data.classes):
            raise FedLiverError("too-few-classes", "The images are all of one class: a study of classification needs two or more.")
        self._files = _drawn([file for file in files if file.label in self.classes], data.most_per_class)
        self._data = data

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Item]:
        for file in self._files:
            record = Record(f"{file.label}/{file.path.name}", file.patient, file.group, self.classes.index(file.label))
            yield Item(record, _read(file.path, self._data.size), None, sha256_of(file.path))


def class_folders(folder: Path) -> list[PictureFile]:
    """``CLASS/IMAGE.png``, or ``CLASS/PATIENT/IMAGE.png`` where a patient has several; otherwise every image is taken for a patient of its own.

    Raises
    ------
    FedLiverError
        ``no-dataset`` where there are no images.
    """
    found = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")) if folder.is_dir() else []:
        for path in sorted(place.rglob("*")):
            if path.is_file() and path.name.lower().endswith(ENDINGS) and not path.name.startswith("."):
                inner = path.relative_to(place).parts
                # A patient's folder is the same patient in every class, or one may train with whom another tests.
                found.append(PictureFile(path, place.name, inner[0] if len(inner) > 1 else f"{place.name}/{inner[0]}"))
    if not found:
        raise FedLiverError("no-dataset", f"{folder} holds no folders of images: expected CLASS/IMAGE.png.")
    return found


def table_of_pictures(table: Path) -> list[PictureFile]:
    """A CSV file with the columns image and label and, where known, patient and group; paths are relative to it."""
    return [PictureFile(table.parent / row["image"], row["label"], row["patient"] or row["image"], row["group"]) for row in rows_of(table, ("image", "label"))]


def _drawn(files: list[PictureFile], most: int | None) -> list[PictureFile]:
    if most is None:
        return files
    rng = np.random.default_rng(_DRAW_SEED)
    kept: list[PictureFile] = []
    for label in sorted({file.label for file in files}):
        of_label = [file for file in files if file.label == label]
        kept += [of_label[int(place)] for place in sorted(rng.permutation(len(of_label))[:most])]
    return kept


def _read(path: Path, size: tuple[int, ...]) -> np.ndarray:
    """A grey image of ``size``, uint8. Images of other types are stretched from their 0.5th to their 99.5th percentile."""
    import torch

    array = _opened(path)
    array = array.mean(axis=-1) if array.ndim > len(size) and array.shape[-1] in (2, 3, 4) else array
    array = array[0] if array.ndim == len(size) + 1 and len(array) == 1 else array
    if array.ndim != len(size):
        raise FedLiverError("other-dimensions", f"{path.name} has {array.ndim} dimensions, the task's size {len(size)}: correct the task.")
    small = torch.nn.functional.interpolate(torch.from_numpy(np.ascontiguousarray(array, np.float32))[None, None], size=size, mode="area")
    return np.rint(small[0].numpy()).clip(0, 255).astype(np.uint8)


def _opened(path: Path) -> np.ndarray:
    array = _photograph(path) if path.suffix.lower() in _PHOTOGRAPHS else _medical(path)
    if array.dtype == np.uint8:
        return array
    low, high = np.percentile(array, (0.5, 99.5))
    return (array.astype(np.float32) - low) * (255 / max(float(high - low), 1e-6))


def _photograph(path: Path) -> np.ndarray:
    """Pillow's, for it says nothing about colour profiles in grey images, as ITK does a thousand times; it refuses images that claim to be enormous."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            deep = picture.mode.startswith(("I", "F"))
            return np.asarray(picture if deep else picture.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FedLiverError("unknown-format", f"{path.name} cannot be read as an image: leave it out.") from error


def _medical(path: Path) -> np.ndarray:
    check_alone(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if np.prod(reader.GetSize(), dtype=np.float64) > _MOST_PIXELS:
            raise FedLiverError("too-large", f"{path.name} claims to be larger than any image of this kind is: leave it out.")
        return sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise FedLiverError("unknown-format", f"{path.name} cannot be read as an image: leave it out.") from error
