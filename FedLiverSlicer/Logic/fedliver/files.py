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
from tempfile import NamedTemporaryFile, mkdtemp

from fedliver.errors import FedLiverError

PART_PREFIX = ".part-"


@contextmanager
def _disk_errors_in_words(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FedLiverError("disk-full", f"The disk is full: {target.name} was not saved. Free some space and save again; nothing was lost.") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise FedLiverError("not-writable", f"{target.parent} cannot be written to: choose another folder or ask for write permission.") from error
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
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
        ``disk-full`` or ``not-writable``. The temporary file is removed and ``target`` is as it was.
    """
    with _disk_errors_in_words(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = NamedTemporaryFile(dir=target.parent, prefix=PART_PREFIX, suffix=target.name[-60:], delete=False)
        handle.close()
        part = Path(handle.name)
        try:
            write(part)
            _sync(part)
            part.replace(target)
            _sync(target.parent)
        finally:
            part.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 ``text`` to ``target`` as :func:`write_file` does."""
    write_file(target, lambda part: part.write_text(text, encoding="utf-8"))


def write_folder(target: Path, fill: Callable[[Path], object]) -> None:
    """Let ``fill`` furnish a temporary folder, then sync every file in it and rename it to ``target``.

    An existing ``target`` is replaced: it is moved aside first and removed last, so a crash leaves a whole folder.
    """
    with _disk_errors_in_words(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(dir=target.parent, prefix=PART_PREFIX))
        try:
            fill(part)
            for path in sorted(part.rglob("*")):
                _sync(path)
            _sync(part)
            part.chmod(0o755)
            if target.exists():
                aside = Path(mkdtemp(dir=target.parent, prefix=PART_PREFIX))
                target.replace(aside)
                part.replace(target)
                shutil.rmtree(aside)
            else:
                part.replace(target)
            _sync(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, or of a folder's relative paths and contents in sorted order."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        if file is not path:
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
