"""What stands in for ``fedliver.federation.launch`` in benchmarks and process tests can be imported: a mistake there shows only as a run that waits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fedliver

HERE = Path(__file__).parent
BENCHMARKS = HERE.parents[1] / "benchmarks"


@pytest.mark.parametrize("name", ["overhead_launcher", "fault_launcher", "secure_dying_site"])
def test_what_stands_in_for_a_sites_launcher_can_be_imported(name: str) -> None:
    paths = os.pathsep.join(map(str, (Path(fedliver.__file__).parents[1], BENCHMARKS, HERE, HERE.parent)))
    done = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, check=False)
    assert done.returncode == 0, done.stderr
