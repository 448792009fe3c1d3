"""One user's workbench as a process of its own: started, watched through its log, ended with all that it started and all that was uploaded to it."""

import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from fedliver.errors import FedLiverError
from fedliver.files import write_text
from fedliver.site.processes import end_processes, is_alive, read_record, start_process
from fedliver.web.door_keys import new_secret
from fedliver.web.settings import WorkbenchSettings

COMMAND = (sys.executable, "-m", "fedliver.web.workbench")
RECORD = "workbench.json"
_LOG_BYTES = 1_000_000
_END_SECONDS = 3.0
_PACKAGES = {
    "libGL.so": "libgl1",
    "libEGL.so": "libegl1 libgl1-mesa-dri",
    "libOpenGL.so": "libopengl0",
    "libGLX.so": "libglx0",
    "libX11.so": "libx11-6",
    "libXt.so": "libxt6",
    "libXrender.so": "libxrender1",
    "libXcursor.so": "libxcursor1",
    "libgomp.so": "libgomp1",
    "libglib-2.0.so": "libglib2.0-0",
    "libSM.so": "libsm6",
    "libICE.so": "libice6",
}


class Standing(Enum):
    """Where a workbench stands."""

    STARTING = "starting"
    READY = "ready"
    ENDED = "ended"


class Workbench(Protocol):
    """Seam between the door and a user's process. ``port`` is known when it is ready; ``key`` goes with every request to it."""

    port: int
    key: str

    @property
    def inbox(self) -> Path: ...
    def start(self) -> None: ...
    def look(self) -> Standing: ...
    def why_it_ended(self) -> str: ...
    def end(self) -> None: ...


@dataclass
class WorkbenchProcess:
    """The real one.

    Parameters
    ----------
    folder:
        What is this user's own: settings, log, uploads. Made by :meth:`start`, removed by :meth:`end`.
    home:
        The site's folder.
    data:
        A folder of scans on this machine that the page offers.
    command:
        What is started, followed by ``--settings FILE``; a seam for tests.
    """

    folder: Path
    home: Path
    data: Path | None = None
    command: Sequence[str] = COMMAND
    port: int = 0
    key: str = field(default_factory=new_secret)

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    def start(self) -> None:
        """Start it, or start it again; uploads of before are gone. It is ready when :meth:`look` says so.

        Raises
        ------
        FedLiverError
            ``no-workbench`` if it cannot be started.
        """
        self.end()
        self.folder.mkdir(parents=True, mode=0o700)
        self.inbox.mkdir(mode=0o700)
        settings = self.folder / "settings.json"
        write_text(settings, WorkbenchSettings(home=self.home, inbox=self.inbox, data=self.data, key=self.key).model_dump_json())
        try:
            start_process(
                [*self.command, "--settings", settings],
                role="workbench",
                environment=workbench_variables(),
                log=self._log,
                record=self._record,
                folder=self.folder,
            )
        except FedLiverError as error:
            raise FedLiverError("no-workbench", f"The workbench could not be started: {self.command[0]} does not run.") from error

    def look(self) -> Standing:
        if not is_alive(read_record(self._record)):
            return Standing.ENDED
        if not self.port:
            self.port = _port_in(self._log_lines())
        return Standing.READY if self.port else Standing.STARTING

    def why_it_ended(self) -> str:
        """What a person can do about it, as far as its log tells. Nothing is quoted from the log: a path of a patient might stand in it."""
        return reason_in("\n".join(self._log_lines()))

    def end(self) -> None:
        """End it and everything it started, and remove what was uploaded to it. Harmless when it does not run."""
        end_processes([self._record], _END_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.port = 0

    @property
    def _log(self) -> Path:
        return self.folder / "workbench.log"

    @property
    def _record(self) -> Path:
        return self.folder / RECORD

    def _log_lines(self) -> list[str]:
        try:
            with self._log.open("rb") as log:
                return log.read(_LOG_BYTES).decode(errors="replace").splitlines()
        except OSError:
            return []


def workbench_variables() -> dict[str, str]:
    """The environment of a workbench: rendering without a display where there is none, and no words of wslink's between ours."""
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", "WSLINK_READY_MSG": "", "WSLINK_WS_COMPRESS": "0"}
    if sys.platform == "linux":
        variables.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    return variables


def reason_in(log: str) -> str:
    """Why a workbench ended, in one sentence, from its log."""
    if library := re.search(r"(lib[\w.+-]+\.so)[\d.]*: cannot open shared object file", log):
        package = _PACKAGES.get(library[1])
        what = f"install it with “sudo apt-get install {package}”" if package else "install the package that holds it"
        return f"This computer lacks {library[1]}, which drawing the views needs: {what}, then start again."
    if module := re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", log):
        return f"The Python package {module[1]} is missing: in the repository, “make app” or “pip install '.[federation,app]'” makes the environment anew."
    if said := re.search(r"^fedliver: (.+)$", log, re.MULTILINE):
        return said[1]
    if "MemoryError" in log or "bad_alloc" in log:
        return "This computer has too little free memory for another workbench: close other programs, then start again."
    return "The workbench ended by itself. What was approved is in the case store; start again, and tell who looks after this computer if it happens twice."


def _port_in(lines: Sequence[str]) -> int:
    for line in lines:
        if line.startswith('{"port"'):
            try:
                return int(json.loads(line)["port"])
            except (ValueError, KeyError, TypeError):
                continue
    return 0
