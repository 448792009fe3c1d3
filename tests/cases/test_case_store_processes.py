"""Two processes on one store."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedliver.cases.case_files import CaseFiles
from fedliver.cases.store import CaseStore
from fedliver.errors import FedLiverError

DRIVER = Path(__file__).with_name("crash_driver.py")
HOLD = "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def held_elsewhere(tmp_path):
    """Another process holds the store's lock until its standard input closes."""
    CaseStore(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "cases" / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.communicate()


def test_a_write_waits_then_says_who_is_in_the_way_and_reading_goes_on(tmp_path, patient, held_elsewhere):
    store = CaseStore(tmp_path, bytes(32), wait_seconds=0.2)
    with pytest.raises(FedLiverError, match="Another FedLiver process") as caught:
        store.add(patient(1)[0])
    assert caught.value.code == "store-busy"
    assert store.cases() == []


def test_a_write_goes_through_once_the_other_process_is_done(tmp_path, patient, held_elsewhere):
    store = CaseStore(tmp_path, bytes(32), wait_seconds=30)
    held_elsewhere.kill()
    held_elsewhere.wait()
    assert store.add(patient(1)[0]) == store.cases()[0]


def test_opening_a_store_does_not_sweep_what_another_is_writing(tmp_path):
    files = CaseFiles(tmp_path / "cases")
    with files.staging() as staging:
        (staging / "half").write_text("half")
        CaseStore(tmp_path)
        assert (staging / "half").is_file()
    assert list((tmp_path / "cases" / ".staging").iterdir()) == []


def test_several_processes_approve_at_once_and_every_case_and_role_is_right(tmp_path):
    workers = [subprocess.Popen([sys.executable, DRIVER, "some", tmp_path, str(10 * n)], stdout=subprocess.DEVNULL) for n in range(3)]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    store = CaseStore(tmp_path)
    assert len(store.cases()) == 12
    assert len(store.held_out_examples()) == 3  # the 2nd, 6th and 10th, whoever approved them
    assert len(store.training_examples()) == 9
