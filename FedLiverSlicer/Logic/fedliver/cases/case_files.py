"""The files of a case store: one lock, a staging area, and one folder per case that appears and changes in one rename.

``cases/.lock`` is held for every write. Whatever takes long is written below ``cases/.staging/<token>`` under a lock of its own
(``<token>.lock``) and renamed into place last; a token whose lock nobody holds is the leftover of a crash and is swept on open.
The order of renames makes ``case.json`` the last word: label files that it does not name do not exist for anybody.
"""

import gc
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from filelock import FileLock, Timeout
from pydantic import ValidationError

from fedliver.cases.case import SCHEMA_VERSION, Case
from fedliver.cases.pseudonym import is_case_pseudonym
from fedliver.errors import FedLiverError
from fedliver.files import write_file, write_folder, write_text
from fedliver.image import Geometry, Volume, from_sitk, to_sitk

CT_FILE = "ct.nii.gz"
RECORD_FILE = "case.json"


class CaseFiles:
    """Reads and writes the folder ``root``. ``wait_seconds``: how long a write waits for another process's write."""

    def __init__(self, root: Path, wait_seconds: float = 5.0) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._staging = root / ".staging"
        self._staging.mkdir(exist_ok=True, mode=0o700)
        self._lock = FileLock(root / ".lock")
        self._wait_seconds = wait_seconds

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's lock; it may be taken again by the thread that holds it."""
        try:
            self._lock.acquire(timeout=self._wait_seconds)
        except Timeout as error:
            raise FedLiverError("store-busy", "Another FedLiver process is writing to the case store: wait for it to finish, then try again.") from error
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A private empty folder on the store's disk, removed at the end."""
        token = uuid.uuid4().hex
        folder, lock = self._staging / token, FileLock(self._staging / f"{token}.lock")
        with self.locked():  # so that a sweep never meets a token whose lock is not yet held
            lock.acquire(timeout=0)
            folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()
            (self._staging / f"{token}.lock").unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what crashed processes left behind. Does nothing while another process writes: the next open sweeps."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return
        try:
            for token in {path.name.removesuffix(".lock") for path in self._staging.iterdir()}:
                self._sweep_token(token)
        finally:
            self._lock.release()

    def _sweep_token(self, token: str) -> None:
        lock = FileLock(self._staging / f"{token}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return  # in use
        try:
            shutil.rmtree(self._staging / token, ignore_errors=True)
        finally:
            lock.release()
            (self._staging / f"{token}.lock").unlink(missing_ok=True)

    def folder(self, pseudonym: str) -> Path:
        if not is_case_pseudonym(pseudonym):
            raise FedLiverError("no-such-case", f"There is no case {pseudonym[:40]!r} here: `fedliver case list` shows them.")
        return self.root / pseudonym

    def read_all(self) -> tuple[list[Case], list[str]]:
        """Every whole case, and the names of folders whose record cannot be read.

        Raises
        ------
        FedLiverError
            ``newer-store``: a newer version wrote here; reading on could train on held-out cases.
        """
        cases, damaged = [], []
        with os.scandir(self.root) as entries:
            names = sorted(entry.name for entry in entries if is_case_pseudonym(entry.name))
        with _no_garbage():
            for name in names:
                try:
                    cases.append(self._read(name))
                except FedLiverError as error:
                    if error.code == "newer-store":
                        raise
                    if (self.root / name).exists():  # or else it was erased while we were reading
                        damaged.append(name)
        return cases, damaged

    def read(self, pseudonym: str) -> Case:
        """One case. Raises FedLiverError ``no-such-case``, ``case-damaged`` or ``newer-store``."""
        if not self.folder(pseudonym).exists():
            raise FedLiverError("no-such-case", f"There is no case {pseudonym} here: `fedliver case list` shows them.")
        return self._read(pseudonym)

    def _read(self, name: str) -> Case:
        folder = f"{self.root}/{name}"  # no Path and no buffer: there may be ten thousand of them
        try:
            with open(f"{folder}/{RECORD_FILE}", "rb", buffering=0) as stream:
                text = stream.read()
            os.stat(f"{folder}/{CT_FILE}")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _damaged(name, "is incomplete") from error
        try:
            case = Case.model_validate_json(text)
        except ValidationError as error:
            if _schema_version(text) > SCHEMA_VERSION:
                sentence = f"Case {name} was written by a newer FedLiverSlicer: update this one before using the case store."
                raise FedLiverError("newer-store", sentence) from error
            raise _damaged(name, "has a damaged record") from error
        if case.pseudonym != name:
            raise _damaged(name, "has another case's record")
        return case

    def write_new(self, case: Case, ct: Volume, staging: Path) -> None:
        """Write a case's folder into ``staging``; :meth:`publish_new` makes it appear."""

        def fill(folder: Path) -> None:
            write_volume(ct, folder / CT_FILE)
            (folder / RECORD_FILE).write_text(_json(case), encoding="utf-8")

        write_folder(staging / case.pseudonym, fill)
        (staging / case.pseudonym).chmod(0o700)

    def publish_new(self, case: Case, staging: Path) -> None:
        """One rename and the case is there. Under the lock, and only where the folder does not exist."""
        (staging / case.pseudonym).replace(self.folder(case.pseudonym))
        _sync_folder(self.root)

    def write_volume(self, volume: Volume, staging: Path, name: str) -> None:
        """Write a volume into ``staging``; :meth:`publish` moves it beside the CT."""
        write_file(staging / name, lambda part: write_volume(volume, part))

    def write_labels(self, labels: Volume, staging: Path, name: str) -> None:
        """As :meth:`write_volume`, and small where the labels are; illegal values are kept, for the checks to show them."""
        small = labels.array.astype(np.uint8)
        self.write_volume(labels.with_array(small) if np.array_equal(small, labels.array) else labels, staging, name)

    def publish(self, case: Case, staging: Path, files: tuple[str, ...] = ()) -> None:
        """Move ``files`` from ``staging`` into the case's folder, then replace its record: the change happens with that last rename."""
        folder = self.folder(case.pseudonym)
        write_text(staging / RECORD_FILE, _json(case))
        for name in files:
            (staging / name).replace(folder / name)
        if files:
            _sync_folder(folder)
        (staging / RECORD_FILE).replace(folder / RECORD_FILE)
        _sync_folder(folder)

    def erase(self, pseudonym: str, staging: Path) -> None:
        """Make the case vanish in one rename; ``staging`` is removed by its owner, or swept."""
        self.folder(pseudonym).replace(staging / pseudonym)
        _sync_folder(self.root)


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Records make no cycles, but ten thousand of them make Python look for some again and again: two thirds of the time of reading."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def write_volume(volume: Volume, target: Path) -> None:
    """Write a volume as SimpleITK does, with its grid and without any other header text, and read it back: on a full disk ITK may stay silent.

    Raises
    ------
    OSError
        What the disk says; :func:`fedliver.files.write_file` puts it in words. FedLiverError ``not-saved`` where the disk says nothing.
    """
    try:
        sitk.WriteImage(to_sitk(volume), str(target), True)
        whole = np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(target))), volume.array, equal_nan=volume.array.dtype.kind == "f")
    except RuntimeError:
        whole = False
    if not whole:
        with target.open("ab", buffering=0) as stream:  # a little more, to hear from the system why
            stream.write(bytes(65536))
            os.fsync(stream.fileno())
        raise FedLiverError("not-saved", f"{target.name} could not be saved: check the disk, then try again.")


def holds_grid(path: Path, geometry: Geometry) -> bool:
    """Whether the file's header tells this grid, as closely as the file format can (0.01 mm)."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return False
    read = Geometry(size=reader.GetSize(), spacing=reader.GetSpacing(), origin=reader.GetOrigin(), direction=reader.GetDirection())
    return read.same_grid(geometry, tolerance_mm=0.01)


def read_volume(path: Path, pseudonym: str) -> Volume:
    """Read a volume of a case. Raises FedLiverError ``case-damaged``."""
    try:
        return from_sitk(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        sentence = f"{path.name} of case {pseudonym} cannot be read: restore it from a backup, or erase the case and add it again."
        raise FedLiverError("case-damaged", sentence) from error


def _damaged(name: str, what: str) -> FedLiverError:
    sentence = f"Case {name} {what}: restore its folder from a backup, or run `fedliver case erase {name}` and add the scan again."
    return FedLiverError("case-damaged", sentence)


def _json(case: Case) -> str:
    """The record as text that reads back: a record that cannot be read again must never replace one that can."""
    text = case.model_dump_json(exclude_none=True)
    Case.model_validate_json(text)
    return text


def _schema_version(text: bytes) -> int:
    try:
        record = json.loads(text)
    except ValueError:
        return 0
    version = record.get("schema_version") if isinstance(record, dict) else None
    return version if isinstance(version, int) else 0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
