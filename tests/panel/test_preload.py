"""The network's libraries are imported without what holds the window for long, and are the same afterwards."""

import subprocess
import sys

import pytest

from fedliver.slicer.preload import open_torch_library

PROGRAM = """
from pathlib import Path
from fedliver.slicer.preload import open_torch_library
mapped = lambda: "libtorch_cpu" in Path("/proc/self/maps").read_text()
assert not mapped()
assert open_torch_library()
assert mapped()
import sys
assert "torch" not in sys.modules
import torch
assert torch.ones(3).sum() == 3
assert not open_torch_library()
"""


def _environment() -> dict[str, str] | None:
    logic = next((path for path in sys.path if path.endswith("Logic")), None)
    return {"PYTHONPATH": logic} if logic else None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is mapped on Linux only")
def test_the_library_is_open_before_torch_is_imported_and_torch_works() -> None:
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=_environment())
    assert answer.returncode == 0, answer.stderr


def test_without_torch_nothing_is_opened_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not open_torch_library()


IMPORTING = """
import gc, sys
from fedliver.slicer.preload import importing
full = []
gc.callbacks.append(lambda phase, about: full.append(about["generation"]) if phase == "start" and about["generation"] == 2 else None)
before = gc.get_threshold()
with importing():
    kept = [[number] for number in range(300_000)]
    assert full == [], "all old objects were looked at while it imported"
assert gc.get_threshold() == before
assert gc.get_freeze_count() > 300_000
"""


def test_while_the_libraries_are_imported_no_collection_holds_the_window_and_later_ones_pass_them_by() -> None:
    answer = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, env=_environment())
    assert answer.returncode == 0, answer.stderr


def test_the_same_lists_make_full_collections_elsewhere() -> None:
    """Or else the test above would show nothing."""
    answer = subprocess.run([sys.executable, "-c", IMPORTING.replace("with importing():", "if True:")], capture_output=True, text=True, env=_environment())
    assert "while it imported" in answer.stderr
