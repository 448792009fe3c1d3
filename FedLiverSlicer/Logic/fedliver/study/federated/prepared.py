"""Images as the networks see them, prepared once and kept on disk: every arm, every seed and every process reads the same numbers.

Arrays are memory-mapped, so that memory does not grow with the number of patients or sites.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from fedliver.errors import FedLiverError
from fedliver.files import sha256_of, write_folder, write_text
from fedliver.study.federated.division import Record
from fedliver.study.federated.task import Task
from fedliver.watch import Watcher, report

PLACES = 2000
_INDEX = "index.json"
_SETTINGS = "settings.sha256"
_TOGETHER = "images"
"""Images to classify are small and of one size: they lie in one file."""
_OPEN_FILES = 256


@dataclass(frozen=True)
class Item:
    """One prepared image.

    ``image``: (1, ...) in 0..1, float16 for volumes to segment, uint8 in 0..255 for images to classify. ``labels``: (1, i, j, k) uint8, or None where the
    record has a class. ``source``: what it was made from, as the SHA-256 of the files, or a generator's name and version.
    """

    record: Record
    image: np.ndarray
    labels: np.ndarray | None
    source: str


class Reader(Protocol):
    """Seam to the data sets: how many there are, and each of them when it is asked for."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Item]: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in order; empty for volumes to segment."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    patient: str
    group: str = ""
    label: int | None = None
    source: str


class _Index(BaseModel):
    records: list[_Record]
    classes: list[str] = []


class Prepared:
    """The prepared images of a study's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            index = _Index.model_validate_json((folder / _INDEX).read_bytes())
        except (OSError, ValidationError) as error:
            raise FedLiverError("prepared-unreadable", f"{folder} cannot be read: take it away, and the images are prepared anew.") from error
        self.records = tuple(Record(**record.model_dump(exclude={"source"})) for record in index.records)
        self.classes = tuple(index.classes)
        self._array = lru_cache(_OPEN_FILES)(self._open)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def fingerprint(self) -> str:
        """The same for the same images in the same order: their names, patients and classes, and what they were made from."""
        return sha256_of(self._folder / _INDEX)

    def image(self, index: int) -> np.ndarray:
        """(1, ...) in 0..1, float32."""
        array = self.stored(index)
        return array.astype(np.float32) / np.float32(255) if array.dtype == np.uint8 else array.astype(np.float32)

    def stored(self, index: int) -> np.ndarray:
        """The image as it is kept, memory-mapped."""
        if self.classes:
            return self._array(_TOGETHER)[index]
        return self._array(f"{index:05d}-image")

    def labels(self, index: int) -> np.ndarray:
        """(1, i, j, k) uint8, memory-mapped."""
        return self._array(f"{index:05d}-labels")

    def places(self, index: int) -> np.ndarray:
        """For every label from 1 on, :data:`PLACES` voxels that have it, as flat indexes, drawn at random; -1 where none has."""
        return self._array(f"{index:05d}-places")

    def _open(self, name: str) -> np.ndarray:
        return np.load(self._folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def prepare(task: Task, reader: Callable[[], Reader], folder: Path, watcher: Watcher) -> Prepared:
    """Write what ``reader`` gives into ``folder``, whole or not at all; what is there already is taken as it is, if it was prepared with the same settings
    from the same place."""
    settings = _settings(task)
    if not (folder / _INDEX).is_file() or _read(folder / _SETTINGS) != settings:
        write_folder(folder, lambda part: _fill(part, task, reader(), settings, watcher), mark=_INDEX)
    return Prepared(folder)


def _settings(task: Task) -> str:
    """What decides how images are prepared, and from where; a digest, for a path may name a person."""
    told = task.data.model_copy(update={"path": task.data.path and task.data.path.absolute(), "folds": 1, "test_share": 0.5})
    return hashlib.sha256(told.model_dump_json().encode() + str(task.kind).encode() + str(task.structures).encode()).hexdigest()


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace").strip() if path.is_file() else ""


def _fill(part: Path, task: Task, reader: Reader, settings: str, watcher: Watcher) -> None:
    records: list[_Record] = []
    together, seen = [], set[int]()
    for item in _without(reader, task.data.exclude):
        report(watcher, f"preparing image {len(records) + 1}", min(1.0, len(records) / max(1, len(reader))))
        if item.labels is None:
            together.append(item.image)
        else:
            stem = f"{len(records):05d}"
            for what, array in (("image", item.image), ("labels", item.labels), ("places", _places(item.labels, task.label_count))):
                np.save(part / f"{stem}-{what}.npy", array, allow_pickle=False)
            seen |= set(np.unique(item.labels).tolist())
        records.append(_Record(**asdict(item.record), source=item.source))
    for structure in task.structures:
        if records and not seen & set(structure.labels):
            raise FedLiverError("no-structure", f"No image has the structure {structure.name} in its labels: correct the task's structures or data.labels.")
    if together:
        np.save(part / f"{_TOGETHER}.npy", np.stack(together), allow_pickle=False)
    write_text(part / _INDEX, _Index(records=records, classes=list(reader.classes)).model_dump_json(indent=1))
    write_text(part / _SETTINGS, settings + "\n")


def _without(items: Iterable[Item], names: tuple[str, ...]) -> Iterator[Item]:
    return (item for item in items if item.record.name not in names)


def _places(labels: np.ndarray, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    table = np.full((count - 1, PLACES), -1, np.int32)
    for label in range(1, count):
        found = np.flatnonzero(labels[0] == label)
        if len(found):
            table[label - 1] = found[rng.integers(len(found), size=PLACES)]
    return table
