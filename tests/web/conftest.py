"""The tests of the page use the small federation of the federation's tests, and a bench of tools where trame-slicer is."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "federation"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from tools_kit import bench, made  # noqa: F401 fixtures, which import trame-slicer when they are asked for
