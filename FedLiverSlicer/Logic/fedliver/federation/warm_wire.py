"""What a stand-in for ``flwr-clientapp`` and a site's warm process say to each other, over a Unix socket in the site's federation folder.

Both belong to one user of one machine; each looks whether the other does. Linux, standard library only.
"""

import contextlib
import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path

SOCKET, LOCK, UNABLE = "warm.sock", "warm.lock", "warm.unable"
STANDARD_STREAMS = 3
_WAITING = 64
_PATIENCE_SECONDS = 60.0
"""Who starts a warm process has the lock for a moment; one that was stopped there must not hold every message for ever."""
_LENGTH, _ANSWER, _CREDENTIALS = struct.Struct("!I"), struct.Struct("!Bi"), struct.Struct("3i")
_LARGEST = 8 << 20
"""Bytes of a request: a process's arguments and environment are at most 2 MiB together on Linux, and JSON may double them."""


class WireError(Exception):
    """The other side is not there, is not ours, or does not say what was agreed; the text says which."""


class Said(IntEnum):
    """What a warm process answers."""

    STARTED = 1
    """The process of the request has begun; its PID."""
    ENDED = 2
    """It has ended; its wait status, as ``os.waitpid`` gives it."""


@dataclass(frozen=True)
class Request:
    """One process to start: the words after the program's name, its environment, and the folder that it works in."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str


def run_folder(home: Path) -> Path:
    """Where all of this lies at a site; for its owner only."""
    return home / "federation" / "run"


def say(sentence: str) -> None:
    """In the site's log. That may be on a full disk, and neither a message nor what runs must end with a sentence that found no room."""
    with contextlib.suppress(OSError):
        os.write(2, f"fedliver: {sentence}\n".encode())


@contextlib.contextmanager
def the_only_one(folder: Path, patience_seconds: float = _PATIENCE_SECONDS) -> Iterator[None]:
    """One process at a time: whoever finds nobody listening makes the listener, under this lock. Raises :class:`WireError` if another keeps it for long."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + patience_seconds
        while not _locked(descriptor):
            if time.monotonic() > end:
                raise WireError("another process has been starting the warm process for too long")
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def listen(folder: Path) -> socket.socket:
    """A socket at the folder's place that nobody listens at (ask under :func:`the_only_one`); for this user alone."""
    (folder / SOCKET).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(folder) as place:
            listening.bind(place)
            os.chmod(place, 0o600)  # before anybody can connect
        listening.listen(_WAITING)
    except BaseException:
        listening.close()
        raise
    return listening


def connect(folder: Path) -> socket.socket | None:
    """A connection to whoever listens there, or None where nobody does. Raises :class:`WireError` where it is another user."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(folder) as place:
            connection.connect(place)
        check_peer(connection)
    except (ConnectionRefusedError, FileNotFoundError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def check_peer(connection: socket.socket, user: int | None = None) -> None:
    """Raises :class:`WireError` unless this very user (or ``user``) is at the other end, as the kernel says."""
    _, peer, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if peer != (os.getuid() if user is None else user):
        raise WireError("another user is at the other end of the warm process's socket")


def send_request(connection: socket.socket, request: Request, streams: list[int]) -> None:
    """``streams``: what the process has as standard input, output and error."""
    content = json.dumps(asdict(request)).encode()
    socket.send_fds(connection, [_LENGTH.pack(len(content))], streams)
    connection.sendall(content)


def receive_request(connection: socket.socket) -> tuple[Request, list[int]]:
    """As it was sent. Raises :class:`WireError` or ``OSError``; no stream stays open then."""
    head, streams, _, _ = socket.recv_fds(connection, _LENGTH.size, STANDARD_STREAMS)
    try:
        if len(head) != _LENGTH.size or len(streams) != STANDARD_STREAMS:
            raise WireError("a request to the warm process was cut short")
        (length,) = _LENGTH.unpack(head)
        if length > _LARGEST:
            raise WireError("a request to the warm process was too large")
        try:
            return Request(**json.loads(_exactly(connection, length))), streams
        except (ValueError, TypeError) as error:
            raise WireError("a request to the warm process could not be read") from error
    except BaseException:
        for stream in streams:
            os.close(stream)
        raise


def answer(connection: socket.socket, said: Said, number: int) -> None:
    """Never waits for a reader that is gone, and never raises for it."""
    with contextlib.suppress(OSError):
        connection.sendall(_ANSWER.pack(said, number))


def receive_answer(connection: socket.socket) -> tuple[Said, int] | None:
    """What the warm process says next; None if it has ended. Raises :class:`WireError` where it is no word of ours."""
    try:
        said, number = _ANSWER.unpack(_exactly(connection, _ANSWER.size))
    except (WireError, ConnectionError):
        return None
    if said not in list(Said):
        raise WireError("the warm process said what nobody had agreed on")
    return Said(said), number


def _exactly(connection: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = connection.recv(min(length - len(parts), 1 << 16))
        if not part:
            raise WireError("the other end of the warm process's socket is gone")
        parts += part
    return bytes(parts)


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A short name for the socket: a Unix socket's path has at most 107 bytes, and a site's folder may lie deep."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
