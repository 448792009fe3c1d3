"""The Flower app of a run. It ships no code: it names the entry points in the ``fedliver`` that is installed on each machine.

Its bundle's SHA-256 is what a site allows when it enrols.
"""

import hashlib
import subprocess
import tempfile
from pathlib import Path

from fedliver import __version__
from fedliver.errors import FedLiverError
from fedliver.files import write_text
from fedliver.site.environment import flower_variables, program

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "fedliver-app"
version = "{version}"
description = "FedLiverSlicer: federated training of liver and tumour segmentation"
license = "Apache-2.0"
dependencies = ["flwr>=1.41,<1.42"]

[tool.flwr.app]
publisher = "fedliver"

[tool.flwr.app.components]
serverapp = "fedliver.federation.server_app:app"
clientapp = "fedliver.federation.client_app:app"

[tool.flwr.app.config]
job = ""
"""


def write_app(folder: Path) -> None:
    """Write the app's folder: one ``pyproject.toml``."""
    write_text(folder / "pyproject.toml", _PYPROJECT.format(version=__version__.split("+")[0].split(".dev")[0]))


def app_hash(folder: Path, python: Path) -> str:
    """The SHA-256 of the bundle that Flower makes of ``folder``: the same on every machine, for Flower fixes order and dates.

    Raises
    ------
    FedLiverError
        ``app-bundle``.
    """
    with tempfile.TemporaryDirectory() as scratch:
        variables = flower_variables(python, Path(scratch) / "flower")
        done = subprocess.run(
            [program(python, "flwr"), "build", "--app", folder], cwd=scratch, env=variables, capture_output=True, text=True, timeout=120, check=False
        )
        bundles = list(Path(scratch).glob("*.fab"))
        if done.returncode or len(bundles) != 1:
            raise FedLiverError(
                "app-bundle", "Flower could not build the app bundle: create the federation's environment again ('fedliver site environment create')."
            )
        return hashlib.sha256(bundles[0].read_bytes()).hexdigest()
