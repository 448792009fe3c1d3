"""The programs that a site's SuperExec finds by name: for a ClientApp ours, and for everything else that Flower could start one that refuses. No flwr."""

import os
import shlex
import shutil
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


def write_client_app(folder: Path, python: Path, launcher: str = LAUNCHER) -> None:
    """Write our ``flwr-clientapp`` into ``folder``: the SuperExec starts it by bare name, and ours runs only the app that is installed here."""
    module = f"{_STAND_IN} {launcher}" if sys.platform == "linux" and os.environ.get(WARM_VARIABLE) != "0" else launcher
    _write_script(folder / _CLIENT_APP, f'exec {shlex.quote(str(python))} -m {module} "$@"')


def write_refusals(folder: Path, programs: Iterable[str]) -> None:
    """Write into ``folder`` a program for each of these names but the ClientApp's, which says in one sentence that it runs nothing, and fails."""
    for name in programs:
        if name != _CLIENT_APP:
            sentence = f"fedliver: {name} was to be started here; a site runs ClientApps only, so nothing was run."
            _write_script(folder / name, f"echo {shlex.quote(sentence)} >&2\nexit 1")


def found_elsewhere(folder: Path, programs: Iterable[str]) -> list[str]:
    """Which of these names the operating system would start from somewhere else than ``folder``, or not find.

    A file there is not enough: on a disk from which nothing may be executed it is passed over, and so is a script without a suffix on Windows.
    """

    def is_there(name: str) -> bool:
        found = shutil.which(name)
        return found is not None and Path(found).parent.resolve() == folder.resolve()

    return [name for name in programs if not is_there(name)]


def _write_script(path: Path, text: str) -> None:
    write_text(path, f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
