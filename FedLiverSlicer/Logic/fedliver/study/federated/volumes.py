"""Volumes to segment: data sets as people download them, and generated patients, brought onto the network's grid."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from fedliver.datasets.layouts import inside
from fedliver.errors import FedLiverError
from fedliver.files import sha256_of
from fedliver.image import Volume, from_sitk, resample, to_monai
from fedliver.study.federated.division import Record
from fedliver.study.federated.prepared import Item
from fedliver.study.federated.task import DataSettings
from fedliver.teacher.plan import StagePlan
from fedliver.teacher.preparation import ct_to_network_grid, network_grid

_MMWHS_IMAGE, _MMWHS_LABEL = "_image.nii", "_label.nii"
_CSV_LIMIT = _JSON_LIMIT = 64 << 20


@dataclass(frozen=True)
class ScanFiles:
    """A scan and its label map on disk."""

    record: Record
    image: Path
    labels: Path


class FileVolumes:
    """Scans from files."""

    classes: tuple[str, ...] = ()

    def __init__(self, scans: Sequence[ScanFiles], data: DataSettings, label_count: int) -> None:
        self._scans = scans
        self._data = data
        self._label_count = label_count

    def __len__(self) -> int:
        return len(self._scans)

    def __iter__(self) -> Iterator[Item]:
        for scan in self._scans:
            if scan.record.name in self._data.exclude:
                continue
            ct, labels = _opened(scan.image), _opened(scan.labels)
            if not ct.geometry.same_grid(labels.geometry, 0.02):
                raise FedLiverError("different-grid", f"{scan.labels.name} does not lie on the grid of {scan.image.name}: leave it out or correct it.")
            yield prepared_item(scan.record, ct, labels, self._data, self._label_count, sha256_of(scan.image) + sha256_of(scan.labels))


class GeneratedHearts:
    """Heart phantoms. Every third is of another scanner: other contrast, other noise, other sharpness."""

    classes: tuple[str, ...] = ()
    _SOURCE = "heart-phantom 1"
    """To be counted up when other voxels come of the same settings: results of one do not go with those of the other."""
    _SCANNERS = (("arterial", 18.0, 1.0), ("venous", 26.0, 1.6), ("late", 22.0, 1.3))

    def __init__(self, data: DataSettings) -> None:
        self._data = data

    def __len__(self) -> int:
        return self._data.generated

    def __iter__(self) -> Iterator[Item]:
        from fedliver.phantom.heart import HeartSettings, generate_heart

        for number in range(self._data.generated):
            phase, noise, blur = self._SCANNERS[number % len(self._SCANNERS)]
            ct, labels = generate_heart(HeartSettings(seed=number, phase=phase, noise_hu=noise, blur_mm=blur))  # type: ignore[arg-type]
            name = f"heart-{number:04d}"
            yield prepared_item(Record(name, name, phase), ct, labels, self._data, 3, self._SOURCE)


class GeneratedLivers:
    """The liver phantoms of :mod:`fedliver.phantom`, by contrast phase."""

    classes: tuple[str, ...] = ()
    _SOURCE = "liver-phantom 2"
    _PHASES = ("portal", "arterial", "plain")

    def __init__(self, data: DataSettings) -> None:
        self._data = data

    def __len__(self) -> int:
        return self._data.generated

    def __iter__(self) -> Iterator[Item]:
        from fedliver.phantom import PhantomSettings, generate

        for number in range(self._data.generated):
            phase = self._PHASES[number % len(self._PHASES)]
            settings = PhantomSettings(seed=number, spacing_mm=(3.0, 3.0, 3.0), lesions=3 + number % 4, noise_hu=14.0 + number % 8, phase=phase)  # type: ignore[arg-type]
            ct, labels = generate(settings)
            name = f"liver-{number:04d}"
            yield prepared_item(Record(name, name, phase), ct, labels, self._data, 3, self._SOURCE)


def prepared_item(record: Record, ct: Volume, labels: Volume, data: DataSettings, label_count: int, source: str) -> Item:
    """A CT and its labels on the network's grid, MONAI's axes; cut to the structures' surroundings where the task says so."""
    plan = StagePlan(spacing_mm=data.spacing_mm, window_hu=data.window)
    image = to_monai(ct_to_network_grid(ct, plan).array)
    target = to_monai(_labels_on_grid(_renamed(labels, data, label_count), plan, label_count))
    if data.margin_mm is not None and target.any():
        from fedliver.training.sources import box_around

        box = (slice(None), *box_around(target[0] > 0, data.spacing_mm, data.margin_mm))
        image, target = image[box], target[box]
    return Item(record, np.ascontiguousarray(image.astype(np.float16)), np.ascontiguousarray(target), source)


def _renamed(labels: Volume, data: DataSettings, label_count: int) -> Volume:
    array = np.zeros(labels.array.shape, np.uint8)
    names = data.labels or {str(value): value for value in range(1, label_count)}
    for theirs, ours in names.items():
        array[labels.array == int(theirs)] = ours
    return labels.with_array(array)


def _labels_on_grid(labels: Volume, plan: StagePlan, label_count: int) -> np.ndarray:
    """Each voxel gets the label that has the largest part of its neighbourhood."""
    grid = network_grid(labels.geometry, plan)
    parts = [
        resample(labels.with_array((labels.array == value).astype(np.float32)), grid, order=1, outside=float(value == 0), extend_edges=True).array
        for value in range(label_count)
    ]
    return np.argmax(parts, axis=0).astype(np.uint8)


def scans_in_layout(folder: Path) -> list[ScanFiles]:
    """The annotated images of a liver data set: every layout that ``fedliver dataset`` knows, MSD, nnU-Net and LiTS among them."""
    from fedliver.datasets.layouts import annotated, read_layout

    return [ScanFiles(Record(one.name, one.patient), one.example.ct, one.example.labels) for one in annotated(read_layout(folder)) if one.example.labels]


def scans_mm_whs(folder: Path) -> list[ScanFiles]:
    """MM-WHS (Zhuang and Shen 2016): ``ct_train_1001_image.nii.gz`` beside ``ct_train_1001_label.nii.gz``, in one folder or in several."""
    found = []
    for image in sorted(folder.rglob(f"*{_MMWHS_IMAGE}*")):
        labels = image.with_name(image.name.replace(_MMWHS_IMAGE, _MMWHS_LABEL))
        if not image.name.startswith(".") and labels.is_file():
            name = image.name.split(_MMWHS_IMAGE)[0]
            found.append(ScanFiles(Record(name, name, name.split("_")[0]), image, labels))
    if not found:
        raise FedLiverError("no-dataset", f"{folder} holds no NAME_image.nii.gz with NAME_label.nii.gz: give the folder of MM-WHS's ct_train.")
    return found


class _Listed(BaseModel):
    image: str
    label: str


class _DatasetJson(BaseModel):
    training: list[_Listed] = []
    file_ending: str = ".nii.gz"


def scans_msd(folder: Path) -> list[ScanFiles]:
    """Medical Segmentation Decathlon or nnU-Net with any labels: ``dataset.json``, ``imagesTr``, ``labelsTr``. Only the first channel is read."""
    try:
        if (folder / "dataset.json").stat().st_size > _JSON_LIMIT:
            raise ValueError("too large")
        told = _DatasetJson.model_validate_json((folder / "dataset.json").read_bytes())
    except (OSError, ValueError) as error:
        raise FedLiverError("dataset-json", f"{folder} has no dataset.json as MSD or nnU-Net write it: give the data set's folder.") from error
    pairs = [(inside(folder, one.image), inside(folder, one.label)) for one in told.training]
    for labels in [] if pairs else sorted((folder / "labelsTr").glob(f"[!.]*{told.file_ending}")):
        pairs.append((folder / "imagesTr" / labels.name, labels))
    found = []
    for image, labels in pairs:
        name = labels.name.removesuffix(told.file_ending)
        channel = image.with_name(f"{image.name.removesuffix(told.file_ending)}_0000{told.file_ending}")
        found.append(ScanFiles(Record(name, name), channel if channel.is_file() else image, labels))
    if not found:
        raise FedLiverError("no-dataset", f"{folder} names no annotated image: expected imagesTr and labelsTr.")
    return found


def scans_in_csv(table: Path) -> list[ScanFiles]:
    """A CSV file with the columns image, labels and, where known, patient and group; paths are relative to it."""
    return [
        ScanFiles(Record(Path(row["image"]).name, row["patient"] or row["image"], row["group"]), table.parent / row["image"], table.parent / row["labels"])
        for row in rows_of(table, ("image", "labels"))
    ]


def rows_of(table: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file; patient and group are empty where it has no such column. Raises FedLiverError ``bad-table``."""
    try:
        if table.stat().st_size > _CSV_LIMIT:
            raise ValueError("too large")
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error) as error:
        raise FedLiverError("bad-table", f"{table} cannot be read as a CSV file in UTF-8: correct it.") from error
    if not rows or any(not row.get(column) for row in rows for column in needed):
        raise FedLiverError("bad-table", f"{table.name} needs the columns {' and '.join(needed)}, and a value of each in every row.")
    return [{"patient": "", "group": "", **{key: (value or "").strip() for key, value in row.items() if key}} for row in rows]


def _opened(path: Path) -> Volume:
    from fedliver.image_file import open_image

    return from_sitk(open_image(path).image)
