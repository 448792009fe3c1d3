"""The guide's rehearsal, as it is written there: coordinator and two hospitals in network namespaces, from nothing to two rounds."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import read_rounds
from tiny_site import tiny_bundle

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "coordinators.md"
NAMESPACES = ("coordinator", "site-a", "site-b")


def _commands() -> str:
    section = GUIDE.read_text().split("## Rehearse it")[1].split("\n## ")[0]
    return section.split("```sh\n")[1].split("```")[0]


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """A folder in which ``.venv/bin/fedliver`` is the command, as in a clone after ``make setup``."""
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root on Linux, and the command ip")
    probe = subprocess.run(["ip", "netns", "add", f"probe{os.getpid()}"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this machine has no network namespaces")
    subprocess.run(["ip", "netns", "delete", f"probe{os.getpid()}"], check=True)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    yield tmp_path
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(tmp_path) in " ".join(process.cmdline()):
                process.kill()
    for name in NAMESPACES:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def test_every_line_of_the_rehearsal_works_and_two_sites_train_two_rounds_across_their_namespaces(clone: Path) -> None:
    commands = _commands()
    tiny = tiny_bundle(clone / "tiny")
    for long, quick in (("--steps 5", f"--steps 2 --teacher {tiny}"), ("--patients 3", "--patients 3 --spacing 8")):
        assert long in commands
        commands = commands.replace(long, quick)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=clone, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rounds = read_rounds(CoordinatorHome(clone / "rehearsal" / "coordinator").rounds_file)
    assert [record.aggregated for record in rounds if record.kind == "round"] == [True, True]
    assert {update.site for record in rounds for update in record.updates if not update.refused} == {"Hospital a", "Hospital b"}
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    assert not set(NAMESPACES) & set(left)
