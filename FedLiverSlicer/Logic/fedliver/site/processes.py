"""Child processes that outlive the command that started them, and that end, all of them, when asked.

Each is the leader of a session of its own. A record file names it by PID *and* start time, so a recycled PID is never signalled.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedliver.errors import FedLiverError
from fedliver.files import write_text

if TYPE_CHECKING:
    import psutil

_SAME_START_SECONDS = 1.0
_KILLED_SECONDS = 10.0  # a killed process ends at once, but a machine under load may be late to say so


class ProcessRecord(BaseModel):
    """Which process is ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str
    pid: int = Field(gt=0)
    started: float
    """The process's start time, seconds since the epoch, as the operating system tells it."""


def start_process(command: Sequence[str | Path], *, role: str, environment: Mapping[str, str], log: Path, record: Path, folder: Path) -> ProcessRecord:
    """Start ``command`` in a session of its own, its output appended to ``log``, and write its ``record``.

    Raises
    ------
    FedLiverError
        ``cannot-start`` if the program is not there.
    """
    import psutil

    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                umask=0o077,  # what Flower writes is nobody else's to read
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # on Windows, where a console would open before the radiologist
            )
    except OSError as error:
        raise FedLiverError("cannot-start", f"The {role} could not be started ({error.strerror}): create the federation's environment again.") from error
    try:
        started = psutil.Process(process.pid).create_time()
    except psutil.NoSuchProcess:
        started = time.time()
    # The process is watched through its record from here on, also by other commands; Popen must not wait for it at garbage collection.
    process.returncode = 0
    made = ProcessRecord(role=role, pid=process.pid, started=started)
    try:
        write_text(record, made.model_dump_json())
    except BaseException:
        _end(_family(made), 2.0)
        raise
    return made


def read_record(path: Path) -> ProcessRecord | None:
    """The record in ``path``, or None where there is none that can be read."""
    try:
        return ProcessRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def is_alive(record: ProcessRecord | None) -> bool:
    """Whether that very process runs (a zombie does not)."""
    return record is not None and _leader(record) is not None


def processes_of(record: ProcessRecord | None) -> list["psutil.Process"]:
    """The process and everything it started that still runs."""
    return _family(record) if record is not None else []


def children_of(record: ProcessRecord | None) -> list["psutil.Process"]:
    """What the process itself has started and still runs; not what that has started in turn."""
    import psutil

    leader = _leader(record) if record is not None else None
    if leader is None:
        return []
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process for process in leader.children() if _runs(process)]
    return []


def end_processes(records: Iterable[Path], within_seconds: float = 3.0) -> list[int]:
    """End the recorded processes with all they started, then remove their records.

    They get SIGTERM and ``within_seconds``, for a SuperNode that takes its leave is seen offline at once; what is left is killed.
    A record whose process is gone costs nothing.

    Returns
    -------
    list[int]
        PIDs that are still alive: empty unless the operating system refuses.
    """
    paths = list(records)
    family = [process for path in paths if (record := read_record(path)) for process in _family(record)]
    left = _end(family, within_seconds)
    # A ClientApp may have been started between the look and the signal.
    left += _end([process for path in paths if (record := read_record(path)) for process in _family(record)], 0.5)
    if not left:
        for path in paths:
            path.unlink(missing_ok=True)
    return left


def _leader(record: ProcessRecord) -> "psutil.Process | None":
    import psutil

    try:
        process = psutil.Process(record.pid)
        if abs(process.create_time() - record.started) > _SAME_START_SECONDS:
            return None
        if process.status() == psutil.STATUS_ZOMBIE:
            with contextlib.suppress(psutil.Error, ChildProcessError):
                process.wait(0)  # it was our child: nobody else takes note of its end
            return None
        return process
    except psutil.NoSuchProcess:
        return None


def _family(record: ProcessRecord) -> list["psutil.Process"]:
    """The leader, its descendants, and every member of its session.

    The operating system does not give a PID away while a session of that number has members, so members are ours even when the leader has died,
    unless another process now bears the leader's PID.
    """
    import psutil

    leader = _leader(record)
    found: dict[int, psutil.Process] = {}
    if leader is not None:
        found[leader.pid] = leader
        with contextlib.suppress(psutil.NoSuchProcess):
            found.update({child.pid: child for child in leader.children(recursive=True)})
    if (leader is not None or not psutil.pid_exists(record.pid) or _is_zombie(record)) and hasattr(os, "getsid"):
        for process in psutil.process_iter():
            if process.pid not in found and _session(process.pid) == record.pid:
                found[process.pid] = process
    return [process for process in found.values() if process.pid != os.getpid() and _runs(process)]


def _is_zombie(record: ProcessRecord) -> bool:
    import psutil

    try:
        process = psutil.Process(record.pid)
        return process.status() == psutil.STATUS_ZOMBIE and abs(process.create_time() - record.started) <= _SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return False


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _end(processes: Sequence["psutil.Process"], within_seconds: float) -> list[int]:
    import psutil

    def signal(targets: Sequence[psutil.Process], kill: bool) -> None:
        for process in targets:
            try:
                if kill:
                    process.kill()
                else:
                    process.terminate()
            except psutil.Error:
                continue  # it has ended meanwhile, or is not ours to end: the look afterwards tells

    signal(processes, kill=False)
    alive = _wait_for_end(processes, within_seconds)
    signal(alive, kill=True)
    return [process.pid for process in _wait_for_end(alive, _KILLED_SECONDS)]


def _wait_for_end(processes: Sequence["psutil.Process"], seconds: float) -> list["psutil.Process"]:
    """Those that still run after ``seconds``. A zombie has ended, whether or not its parent has noticed; our own children are reaped."""
    import psutil

    end = time.monotonic() + seconds
    left = list(processes)
    while left and time.monotonic() < end:
        for process in left:
            with contextlib.suppress(psutil.Error, ChildProcessError):
                process.wait(0)
        left = [process for process in left if _runs(process)]
        if not left:
            break
        time.sleep(0.02)
    return left


def _runs(process: "psutil.Process") -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
