"""Files that are whole or absent: written under a temporary name, synced, then renamed.

A crash, a full disk or a pulled plug at any moment leaves the old file or the new one, never half of either.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp, mkstemp

from fedliver.errors import Cancelled, FedLiverError

PART_PREFIX = ".part-"

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LEAST_ROOM = 64 * 1024
"""Bytes; less, and what failed while it was written failed for that."""
_NO_PERMISSION = (errno.EACCES, errno.EROFS, errno.EPERM)
_BAD_NAME = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG)


@contextmanager
def _disk_errors_in_words(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise FedLiverError("disk-full", f"The disk is full: {target.name} was not saved. Free some space and save again; nothing was lost.") from error
        if error.errno in _NO_PERMISSION:
            raise FedLiverError("not-writable", f"{target.parent} cannot be written to: choose another folder or ask for write permission.") from error
        if error.errno in _BAD_NAME:
            raise FedLiverError(
                "bad-name", f"{target} cannot be the name of what is saved (too long, or a file and a folder in each other's place): choose another."
            ) from error
        # What a network drive says when it goes away has many names.
        why = error.strerror or error
        raise FedLiverError("not-saved", f"{target.name} could not be saved ({why}): look at the drive, or choose another folder.") from error


@contextmanager
def _full_disk_noticed(part: Path) -> Iterator[None]:
    """A library may say of a full disk something of its own: torch says RuntimeError. Looked at before the part is removed and makes room again."""
    try:
        yield
    except (OSError, FedLiverError, Cancelled):
        raise
    except Exception as error:
        if shutil.disk_usage(part.parent).free < _LEAST_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def _sync(path: Path) -> None:
    """Wait until the disk has it. Windows cannot sync a folder, and syncs a file only through a handle that may write."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(target: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make the file under a temporary name beside ``target``, then sync and rename it into place.

    The temporary name keeps every suffix of ``target``, since SimpleITK and others choose the format by it.

    Raises
    ------
    FedLiverError
        ``disk-full``, ``not-writable`` or ``bad-name``. The temporary file is removed and ``target`` is as it was.
    """
    with _disk_errors_in_words(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = mkstemp(dir=target.parent, prefix=PART_PREFIX, suffix=target.name[-60:])
        os.close(descriptor)
        part = Path(name)
        try:
            with _full_disk_noticed(part):
                write(part)
            _sync(part)
            part.replace(target)
            _sync(target.parent)
        finally:
            part.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 ``text`` to ``target`` as :func:`write_file` does."""
    write_file(target, lambda part: part.write_text(text, encoding="utf-8"))


def check_replaceable(target: Path, mark: str) -> None:
    """Ask before long work whether :func:`write_folder` would replace what is there. Raises FedLiverError ``exists``."""
    if target.is_dir() and any(target.iterdir()) and not (mark and (target / mark).is_file()):
        raise FedLiverError("exists", f"{target} is there already, with other things in it: choose a new folder name.")


def write_folder(target: Path, fill: Callable[[Path], object], *, mark: str = "") -> None:
    """Let ``fill`` furnish a temporary folder, then sync every file in it and rename it to ``target``.

    An existing ``target`` is replaced where it is empty or holds ``mark``, a file by which it is known to be one of those that are written here: somebody's
    own folder never is. It is moved aside first and removed last. A crash in the moment between the two renames leaves the old folder whole beside it
    under a ``.part-`` name; so what must survive everything goes to a name of its own.

    Raises
    ------
    FedLiverError
        ``exists``, ``disk-full``, ``not-writable``, ``bad-name`` or ``not-saved``. The temporary folder is removed and ``target`` is as it was.
    """
    with _disk_errors_in_words(target):
        check_replaceable(target, mark)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(dir=target.parent, prefix=PART_PREFIX))
        try:
            with _full_disk_noticed(part):
                fill(part)
            for path in sorted(part.rglob("*")):
                _sync(path)
            _sync(part)
            part.chmod(0o755)
            if target.exists():
                aside = Path(mkdtemp(dir=target.parent, prefix=PART_PREFIX))
                target.replace(aside)
                try:
                    part.replace(target)
                except OSError:
                    aside.replace(target)
                    raise
                shutil.rmtree(aside, ignore_errors=True)
            else:
                part.replace(target)
            _sync(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, or of a folder's relative paths and the hashes of their contents in sorted order.

    Raises FileNotFoundError where there is neither.
    """
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.relative_to(path).as_posix()):
            digest.update(file.relative_to(path).as_posix().encode() + b"\0" + bytes.fromhex(sha256_of(file)))
        return digest.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
