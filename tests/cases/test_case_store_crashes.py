"""SIGKILL at every step on disk, then at random moments: the store opens, lists whole cases only, and has lost nothing approved."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedliver.cases.store import CaseStore

DRIVER = Path(__file__).with_name("crash_driver.py")


@pytest.mark.parametrize("share", [1, 2, 3, 4])
def test_a_kill_before_any_step_on_disk_leaves_whole_cases_and_every_approval(tmp_path, share):
    result = subprocess.run([sys.executable, DRIVER, "every-step", tmp_path, str(share), "4"], capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    steps = int(result.stdout.split()[-1])
    assert steps > 40  # or the driver no longer sees the steps


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_a_random_moment_leaves_whole_cases_and_every_approval(tmp_path, seed):
    moment = random.Random(seed)  # noqa: S311 a moment, not a secret
    approved: set[str] = set()
    for _ in range(2):
        process = subprocess.Popen([sys.executable, DRIVER, "work", tmp_path, str(len(approved))], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(moment.uniform(0.0, 0.7))
        process.send_signal(signal.SIGKILL)
        approved |= {line.strip() for line in process.stdout if line.endswith("\n")}
        process.wait()
        process.stdout.close()
        store = CaseStore(tmp_path)
        assert store.damaged() == []
        assert approved <= {case.pseudonym for case in store.cases() if case.approval}
        for case in store.cases():
            assert store.ct(case).array.shape == case.grid.geometry.shape
            if case.draft or case.approval:
                assert store.labels(case).array.max() <= 2
        assert list((tmp_path / "cases" / ".staging").iterdir()) == []
