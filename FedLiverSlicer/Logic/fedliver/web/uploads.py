"""Uploads: multipart files streamed to a folder of the inbox, whole or not at all, under names of our own.

What a browser says about a file is not believed: its name is used for nothing but a known suffix, its size is counted while it comes.
Whether it is a CT is judged by the reader when it is opened.
"""

import asyncio
import re
import secrets
import shutil
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from fedliver.errors import FedLiverError
from fedliver.files import write_folder

if TYPE_CHECKING:
    from aiohttp import BodyPartReader, MultipartReader
    from aiohttp.web import Request

T = TypeVar("T")
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".dcm")
"""What a name may keep of itself. A file without one of them is taken as DICOM, whose content says what it is."""
_PIECE = 1 << 20
_PIECES = 500
_LOOK_AT_DISK = 64 << 20
_FILE = re.compile(r"filename\*?\s*=", re.IGNORECASE)


@dataclass(frozen=True)
class UploadLimits:
    """``total``: bytes of one upload. ``disk_left``: bytes that stay free on the disk. ``stalled_seconds``: how long an upload may send nothing."""

    total: int = 2_000_000_000
    files: int = 20_000
    disk_left: int = 1_000_000_000
    stalled_seconds: float = 60.0


@dataclass
class Uploads:
    """Receives uploads.

    Parameters
    ----------
    executor:
        The threads that write, one per upload.
    free:
        Free bytes of the disk that holds a folder; a seam for tests.
    """

    executor: Executor
    limits: UploadLimits = UploadLimits()
    free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free

    async def receive(self, request: "Request", inbox: Path) -> str:
        """Write the request's files to a new folder of ``inbox`` and return its name; the folder appears when all is on the disk.

        Raises
        ------
        FedLiverError
            ``upload-too-large``, ``too-many-files``, ``disk-full``, ``upload-broken``, ``upload-stalled`` or ``no-upload``. Nothing is left.
        """
        if request.content_type != "multipart/form-data" or "Content-Encoding" in request.headers:
            raise FedLiverError("no-upload", "That was no upload of files: choose files with the page's Open button.")
        if (request.content_length or 0) > self.limits.total:
            raise self.too_large()
        self.check_disk(inbox, request.content_length or 0)
        try:
            reader = await request.multipart()
        except (ValueError, AssertionError) as error:
            raise _broken() from error
        name = secrets.token_hex(8)
        loop = asyncio.get_running_loop()
        files = _Files(reader, loop, self, inbox)
        await loop.run_in_executor(self.executor, write_folder, inbox / name, files.write_to)
        return name

    def check_disk(self, folder: Path, wanted: int) -> None:
        if self.free(folder) - wanted < self.limits.disk_left:
            raise FedLiverError("disk-full", "The disk of the computer that the workbench runs on is nearly full: free some space there, then send it again.")

    def too_large(self) -> FedLiverError:
        limit = f"{self.limits.total / 1e9:.3g} GB" if self.limits.total >= 1e8 else f"{self.limits.total / 1e6:.3g} MB"
        return FedLiverError("upload-too-large", f"That is more than {limit} at once: send one series, or one file, at a time.")

    def too_many(self) -> FedLiverError:
        return FedLiverError("too-many-files", f"That is more than {self.limits.files} files at once: send one series at a time.")


class _Files:
    """One upload's files. The writing thread asks the event loop for every piece, so no more than a piece is ever in memory."""

    def __init__(self, reader: "MultipartReader", loop: asyncio.AbstractEventLoop, uploads: Uploads, inbox: Path) -> None:
        self._reader = reader
        self._loop = loop
        self._uploads = uploads
        self._limits = uploads.limits
        self._inbox = inbox
        self._files = 0
        self._bytes = 0
        self._looked_at = 0
        self._part: BodyPartReader | None = None

    def write_to(self, folder: Path) -> None:
        target: BinaryIO | None = None
        try:
            while batch := self._await(self._batch()):
                for suffix, piece in batch:
                    if suffix is not None:
                        if target is not None:
                            target.close()
                        target = (folder / f"{self._named():05d}{suffix}").open("xb")
                    assert target is not None  # noqa: S101 a batch begins with a file's suffix
                    target.write(piece)
        finally:
            if target is not None:
                target.close()
        if not self._files:
            raise FedLiverError("no-upload", "No file came with that: choose files or a folder with the page's Open button.")

    def _named(self) -> int:
        self._files += 1
        if self._files > self._limits.files:
            raise self._uploads.too_many()
        return self._files

    async def _batch(self) -> list[tuple[str | None, bytes]]:
        """About a megabyte of what comes next, in pieces; with the first piece of every file its suffix, with all others None. Nothing at the end."""
        found: list[tuple[str | None, bytes]] = []
        size = 0
        while size < _PIECE and len(found) < _PIECES:
            suffix = None
            if self._part is None:
                self._part = await self._next_file()
                if self._part is None:
                    break
                suffix = suffix_of(self._part.filename)
            piece = await self._read(self._part)
            if piece or suffix is not None:
                found.append((suffix, piece))
            if not piece:
                self._part = None
            size += len(piece)
        return found

    async def _next_file(self) -> "BodyPartReader | None":
        """The next part that is a file; fields of the form are passed over, as the browser's own."""
        from aiohttp import BodyPartReader

        while True:
            async with asyncio.timeout(self._limits.stalled_seconds):
                part = await self._reader.next()
            if part is None:
                return None
            if not isinstance(part, BodyPartReader):
                raise _broken()
            if part.filename != "" and _FILE.search(part.headers.get("Content-Disposition", "")):
                return part
            while await self._read(part):
                pass

    async def _read(self, part: "BodyPartReader") -> bytes:
        async with asyncio.timeout(self._limits.stalled_seconds):
            piece = bytes(await part.read_chunk(1 << 16))
        self._bytes += len(piece)
        if self._bytes > self._limits.total:
            raise self._uploads.too_large()
        if self._bytes - self._looked_at > _LOOK_AT_DISK:
            self._looked_at = self._bytes
            self._uploads.check_disk(self._inbox, 0)
        return piece

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        """From the writing thread: do ``work`` in the event loop; silence and nonsense become sentences."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except FedLiverError:
            raise
        except TimeoutError as error:
            raise FedLiverError("upload-stalled", "The upload stood still for too long and was dropped: send it again.") from error
        except (Exception, CancelledError) as error:  # whatever a parser says of bytes that somebody made up, a connection that broke, a door that closes
            raise _broken() from error


def suffix_of(name: str | None) -> str:
    """The known suffix of a file's name, in lower case, or nothing."""
    lower = (name or "").lower()
    return next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), "")


def _broken() -> FedLiverError:
    return FedLiverError("upload-broken", "The upload broke off, or is malformed: nothing was kept; send it again.")
