"""The programs that a site's SuperExec starts: for a ClientApp ours, and for everything else that Flower could start one that refuses. No flwr."""

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from fedliver.files import write_text

LAUNCHER = "fedliver.federation.launch"
SUPER_EXEC = "fedliver.federation.super_exec"
"""The module that a site runs as its SuperExec."""
SUPER_NODE = "fedliver.federation.super_node"
"""The module that a site runs as its SuperNode."""
CLIENT_APPS_ONLY = "fedliver: this SuperExec starts ClientApps only."
"""What it says once it has seen to that; without these words in its log no Join succeeds."""
WARM_VARIABLE = "FEDLIVER_WARM"
"""``0`` in a site's environment when it joins: every ClientApp imports its libraries itself, and no warm process holds them (``federation/warm.py``)."""
_STAND_IN = "fedliver.federation.warm_stand_in"
_CLIENT_APP = "flwr-clientapp"
_WINDOWS = os.name == "nt"


def program_file(folder: Path, name: str, windows: bool = _WINDOWS) -> Path:
    """The file in ``folder`` that takes the place of Flower's program ``name``."""
    return folder / (f"{name}.cmd" if windows else name)


def write_client_app(folder: Path, python: Path, launcher: str = LAUNCHER, windows: bool = _WINDOWS) -> None:
    """Write our ``flwr-clientapp`` into ``folder``: it runs only the app that is installed here."""
    module = f"{_STAND_IN} {launcher}" if sys.platform == "linux" and os.environ.get(WARM_VARIABLE) != "0" else launcher
    command = f'@"{str(python).replace("%", "%%")}" -m {module} %*' if windows else f'exec {shlex.quote(str(python))} -m {module} "$@"'
    _write_script(program_file(folder, _CLIENT_APP, windows), command, windows)


def write_refusals(folder: Path, programs: Iterable[str], windows: bool = _WINDOWS) -> None:
    """Write into ``folder`` a program for each of these names but the ClientApp's, which says in one sentence that it runs nothing, and fails."""
    for name in programs:
        if name != _CLIENT_APP:
            sentence = f"fedliver: {name} was to be started here; a site runs ClientApps only, so nothing was run."
            refuse = f"@echo {sentence} 1>&2\n@exit /b 1" if windows else f"echo {shlex.quote(sentence)} >&2\nexit 1"
            _write_script(program_file(folder, name, windows), refuse, windows)


def _write_script(path: Path, text: str, windows: bool) -> None:
    write_text(path, f"{text}\n" if windows else f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
