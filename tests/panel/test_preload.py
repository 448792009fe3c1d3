"""torch's library is opened without Python's lock, and torch is the same afterwards."""

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


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is mapped on Linux only")
def test_the_library_is_open_before_torch_is_imported_and_torch_works() -> None:
    logic = next(path for path in sys.path if path.endswith("Logic")) if any(path.endswith("Logic") for path in sys.path) else None
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env={"PYTHONPATH": logic} if logic else None)
    assert answer.returncode == 0, answer.stderr


def test_without_torch_nothing_is_opened_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not open_torch_library()
