"""Child processes end, all of them, and nobody else's are touched."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from fedliver.errors import FedLiverError
from fedliver.site.processes import ProcessRecord, end_processes, is_alive, processes_of, read_record, start_process

# A leader that starts a child in its own session and one in another, both deaf to SIGTERM, and tells when they are up.
_FAMILY = """
import pathlib, signal, subprocess, sys, time
deaf = "import signal, time, pathlib, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
for n, apart in enumerate((False, True)):
    subprocess.Popen([sys.executable, "-c", deaf, f"{sys.argv[1]}/up{n}"], start_new_session=apart)
time.sleep(600)
"""


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def start(tmp_path: Path, code: str) -> ProcessRecord:
    return start_process(
        [sys.executable, "-c", code, str(tmp_path)], role="test", environment=os.environ, log=tmp_path / "log", record=tmp_path / "record.json", folder=tmp_path
    )


def family(tmp_path: Path) -> tuple[ProcessRecord, list[psutil.Process]]:
    record = start(tmp_path, _FAMILY)
    wait_until(lambda: (tmp_path / "up0").exists() and (tmp_path / "up1").exists())
    processes = processes_of(record)
    assert len(processes) == 3
    return record, processes


def test_the_whole_family_ends_even_if_it_ignores_the_first_signal(tmp_path: Path) -> None:
    record, processes = family(tmp_path)
    assert end_processes([tmp_path / "record.json"], 2.0) == []
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)
    assert not is_alive(record)
    assert not (tmp_path / "record.json").exists()


def test_children_in_the_session_end_though_their_leader_has_died(tmp_path: Path) -> None:
    record, processes = family(tmp_path)
    psutil.Process(record.pid).kill()
    wait_until(lambda: not is_alive(record))
    apart = [process for process in processes if process.pid != record.pid and os.getsid(process.pid) != record.pid]
    end_processes([tmp_path / "record.json"], 2.0)
    alive = [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    for process in apart:  # a child that left the session of a dead leader is out of reach; Flower's are not such
        process.kill()
    assert {process.pid for process in alive} <= {process.pid for process in apart}


def test_a_child_that_died_by_itself_does_not_stay_behind_as_a_zombie(tmp_path: Path) -> None:
    record = start(tmp_path, "pass")
    wait_until(lambda: not is_alive(record))
    assert not psutil.pid_exists(record.pid)


def test_a_recycled_pid_is_not_signalled(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        record = ProcessRecord(role="test", pid=bystander.pid, started=psutil.Process(bystander.pid).create_time() - 100)
        (tmp_path / "record.json").write_text(record.model_dump_json())
        assert not is_alive(record)
        assert end_processes([tmp_path / "record.json"], 1.0) == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_record_that_is_damaged_or_missing_counts_as_no_process(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{")
    assert read_record(tmp_path / "record.json") is None
    assert end_processes([tmp_path / "record.json", tmp_path / "missing.json"]) == []


def test_a_program_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError, match="could not be started"):
        start_process([tmp_path / "nothing"], role="SuperNode", environment={}, log=tmp_path / "log", record=tmp_path / "record.json", folder=tmp_path)
