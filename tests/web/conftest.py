"""The tests of the page use the small federation of the federation's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "federation"))
