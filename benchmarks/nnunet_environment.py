"""nnU-Net in a virtual environment of its own, since what it pins clashes with what we pin. The same torch in both, or the comparison is none."""

import hashlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv"
REQUIREMENTS = HERE / "requirements-nnunet.txt"


class NotInstalled(Exception):
    """nnU-Net could not be installed; the message is a sentence that says why."""


def python_with_nnunet(environment: Path = ENVIRONMENT) -> Path:
    """The Python that has nnU-Net, installed the first time. Raises :class:`NotInstalled`."""
    torch = f"torch=={version('torch').split('+')[0]}"
    python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = environment / ".installed"
    wanted = hashlib.sha256(f"{torch}\n{REQUIREMENTS.read_text()}".encode()).hexdigest()
    if python.is_file() and stamp.is_file() and stamp.read_text() == wanted:
        return python
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", torch, "--requirement", str(REQUIREMENTS)]
    for command in ([sys.executable, "-m", "venv", str(environment)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "see pip's output")
            raise NotInstalled(f"nnU-Net could not be installed ({reason}): connect to a package index and run the benchmark again.")
    stamp.write_text(wanted)
    return python
