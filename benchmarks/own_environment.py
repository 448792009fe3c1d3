"""Another project in a virtual environment of its own, since what it pins clashes with what we pin."""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path


class NotInstalled(Exception):
    """It could not be installed; the message is a sentence that says why."""


def python_with(what: str, environment: Path, requirements: Path, same: Sequence[str] = ("torch",)) -> Path:
    """The Python that has what ``requirements`` name, installed the first time, and of ``same`` the versions that we have, or the comparison is none.

    Raises
    ------
    NotInstalled
    """
    ours = [f"{name}=={version(name).split('+')[0]}" for name in same]
    python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = environment / ".installed"
    wanted = hashlib.sha256("\n".join([*ours, requirements.read_text()]).encode()).hexdigest()
    if python.is_file() and stamp.is_file() and stamp.read_text() == wanted:
        return python
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *ours, "--requirement", str(requirements)]
    for command in ([sys.executable, "-m", "venv", str(environment)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "see pip's output")
            raise NotInstalled(f"{what} could not be installed ({reason}): connect to a package index and run the benchmark again.")
    stamp.write_text(wanted)
    return python
