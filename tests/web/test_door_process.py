"""A user's workbench as a process: it starts with what the front hands it, says why it ended, and nothing of it is left."""

import stat
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
from federation_kit import processes_under, wait_until

from fedliver.site.processes import read_record
from fedliver.web.door_folder import clear, clear_what_was_left, new_door_folder
from fedliver.web.door_process import RECORD, Standing, WorkbenchProcess, reason_in
from fedliver.web.settings import KEY_HEADER

STUB = (sys.executable, str(Path(__file__).with_name("stub_workbench.py")))
_START_SECONDS = 120


def _workbench(folder: Path, manners: str = "") -> WorkbenchProcess:
    return WorkbenchProcess(folder / "user", folder / "home", folder / manners if manners else None, STUB)


@pytest.mark.processes
def test_it_starts_for_its_owner_only_answers_who_has_the_key_and_ends_with_all_that_was_uploaded(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    workbench = _workbench(tmp_path)
    try:
        workbench.start()
        wait_until(lambda: workbench.look() is not Standing.STARTING, _START_SECONDS, "the stub is ready")
        assert workbench.look() is Standing.READY
        assert stat.S_IMODE(workbench.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((workbench.folder / "settings.json").stat().st_mode) == 0o600, "the key is in it"
        assert not any(workbench.key in line for line in processes_under(tmp_path)), "and not on its command line"
        page = urllib.request.Request(f"http://127.0.0.1:{workbench.port}/", headers={KEY_HEADER: workbench.key})
        with urllib.request.urlopen(page) as answer:  # noqa: S310
            assert b"I am a stub" in answer.read()
        (workbench.inbox / "upload").mkdir()
        (workbench.inbox / "upload" / "00001.dcm").write_bytes(b"a patient")
    finally:
        workbench.end()
    assert workbench.look() is Standing.ENDED
    assert processes_under(tmp_path) == []
    assert not workbench.folder.exists()


@pytest.mark.processes
def test_one_that_was_killed_is_seen_to_have_ended_and_starts_again(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    workbench = _workbench(tmp_path)
    try:
        workbench.start()
        wait_until(lambda: workbench.look() is Standing.READY, _START_SECONDS, "the stub is ready")
        record = read_record(workbench.folder / RECORD)
        assert record
        psutil.Process(record.pid).kill()
        wait_until(lambda: workbench.look() is Standing.ENDED, 30, "its end is seen")
        workbench.start()
        wait_until(lambda: workbench.look() is Standing.READY, _START_SECONDS, "the stub is ready again")
    finally:
        workbench.end()
    assert processes_under(tmp_path) == []


@pytest.mark.processes
@pytest.mark.parametrize(("manners", "said"), [("library", "sudo apt-get install libegl1 libgl1-mesa-dri"), ("crash", "ended by itself")])
def test_one_that_cannot_start_says_what_to_do_and_quotes_nothing_of_its_log(tmp_path: Path, manners: str, said: str) -> None:
    pytest.importorskip("aiohttp")
    workbench = _workbench(tmp_path, manners)
    try:
        workbench.start()
        wait_until(lambda: workbench.look() is Standing.ENDED, _START_SECONDS, "it has ended")
        assert said in workbench.why_it_ended()
        assert "DOE" not in workbench.why_it_ended()
    finally:
        workbench.end()


@pytest.mark.processes
def test_what_a_killed_door_left_is_cleared_away_and_a_living_doors_is_not(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    ours = new_door_folder(tmp_path)
    killed = new_door_folder(tmp_path)
    workbench = WorkbenchProcess(killed / "user-1", tmp_path / "home", None, STUB)
    workbench.start()
    record = (killed / "door.json").read_text()
    (killed / "door.json").write_text(record.replace(str(psutil.Process().pid), "4194303"))  # as of a process that is no more
    assert clear_what_was_left(tmp_path) == 1
    assert processes_under(tmp_path) == []
    assert ours.exists()
    assert not killed.exists()
    clear(ours)
    assert list((tmp_path / "browser").iterdir()) == []


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("ImportError: libGL.so.1: cannot open shared object file", "sudo apt-get install libgl1"),
        ("OSError: libodd.so.2: cannot open shared object file", "libodd.so"),
        ("ModuleNotFoundError: No module named 'trame_slicer'", "make app"),
        ("fedliver: The page needs a newer teacher.", "The page needs a newer teacher."),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "too little free memory"),
        ("", "ended by itself"),
    ],
)
def test_a_log_becomes_a_sentence(log: str, said: str) -> None:
    assert said in reason_in(f"something\n{log}\n")
