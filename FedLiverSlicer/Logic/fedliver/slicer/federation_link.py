"""The federation as the panel sees it: commands in child processes, answers in files. No flwr, and nothing here blocks the window.

``enrol``, ``join`` and ``leave`` run ``fedliver site ...`` with the Python of the federation's own environment; what goes on is read
from the site's status and from the JSONL progress file whenever a timer calls :meth:`FederationLink.poll`.
"""

import importlib.util
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fedliver.errors import FedLiverError
from fedliver.slicer import panel_events as on
from fedliver.slicer.consent import consent_to
from fedliver.slicer.panel_state import Account, Check, Environment, Round, Tone
from fedliver.watch import Watcher, report

if TYPE_CHECKING:
    from fedliver.site.federation import SiteFederation
    from fedliver.site.progress import ProgressEvent, ProgressTail

_LOGIC_FOLDER = Path(__file__).resolve().parents[2]
_PROGRAM = "from fedliver.cli.main import main; main()"
_LAST_ENTRIES = 5
_NEEDED = ("pydantic", "psutil")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and its last words on standard error."""

    code: int
    words: str


class Running(Protocol):
    """A command that runs."""

    def poll(self) -> Ended | None: ...
    def end(self) -> None: ...


class CommandLine(Protocol):
    """Seam: starts ``fedliver`` with these arguments in a child process."""

    def start(self, arguments: Sequence[str]) -> Running: ...


class _Child:
    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as the child
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        self._process = subprocess.Popen(
            list(command), env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors, creationflags=flags
        )

    def poll(self) -> Ended | None:
        code = self._process.poll()
        if code is None:
            return None
        self._errors.seek(0)
        lines = self._errors.read(65_536).decode(errors="replace").strip().splitlines()
        return Ended(code, lines[-1].removeprefix("fedliver: ") if lines else "")

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()


class FederationCommandLine:
    """The real one. ``environment``: the variables to start from; Slicer's own would lead the other Python to Slicer's libraries."""

    def __init__(self, home: Path, environment: Callable[[], Mapping[str, str]] | None = None) -> None:
        self._home = home
        self._environment = environment or startup_environment

    def start(self, arguments: Sequence[str]) -> Running:
        from fedliver.site.environment import find_python

        python = find_python(self._home)
        variables = {**_another_pythons(self._environment()), "PYTHONPATH": str(_LOGIC_FOLDER)}
        return _Child([str(python), "-c", _PROGRAM, *arguments, "--home", str(self._home)], variables)


def startup_environment() -> Mapping[str, str]:
    """The environment as it was before Slicer's launcher changed it; this process's own outside Slicer."""
    try:
        import slicer

        return dict(slicer.util.startupEnvironment())
    except Exception:  # slicer-core has slicer.util, but no application to ask
        return dict(os.environ)


def _another_pythons(variables: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in variables.items() if key not in ("PYTHONHOME", "PYTHONPATH")}


class FederationLink:
    """Parameters
    ----------
    home:
        The site's folder.
    command_line:
        Starts the commands; a seam for tests.
    site:
        Makes the reader of the site's status; a seam for tests.
    """

    def __init__(self, home: Path, command_line: CommandLine | None = None, site: "Callable[[Path], SiteFederation] | None" = None) -> None:
        self.home = home
        self._command_line = command_line or FederationCommandLine(home)
        self._make_site = site or _site
        self._site: SiteFederation | None = None
        self._tail: ProgressTail | None = None
        self._running: tuple[str, Running] | None = None
        self._joined = False
        self._inviting = ""
        self._available = False
        self._last_dice: float | None = None
        self._offered: Path | None = None

    def available(self) -> bool:
        """Whether the packages that reading a site's files needs are installed in this Python."""
        self._available = self._available or all(importlib.util.find_spec(name) is not None for name in _NEEDED)
        return self._available

    def environment_ready(self) -> bool:
        """Whether the federation's own Python environment is there."""
        from fedliver.site.environment import find_python

        try:
            find_python(self.home)
        except FedLiverError:
            return False
        return True

    def environment(self) -> Environment:
        """Where the federation's own Python is; a look at the disk, no more."""
        from fedliver.site.environment import environment_folder, find_python

        try:
            python = find_python(self.home)
        except FedLiverError:
            return Environment()
        return Environment(True, python.is_relative_to(environment_folder(self.home)))

    def variables_for_another_python(self) -> Mapping[str, str]:
        """What the two below start from. Asks Slicer, so it is for the window's thread."""
        return _another_pythons(startup_environment())

    def examine_environment(self, variables: Mapping[str, str], watcher: Watcher) -> Environment:
        """Whether it is whole, in words. Takes seconds: for a worker thread."""
        from fedliver.site.environment import examine_environment

        report(watcher, "Looking into the federation's environment", 0.3)
        return replace(self.environment(), sentence=examine_environment(self.home, variables).sentence)

    def make_environment(self, variables: Mapping[str, str], wheels: Path | None, show: Callable[[str], None]) -> None:
        """Make it, or make it anew: for a worker thread. What ``show`` raises ends it, and nothing half made is left."""
        from fedliver.site.environment import create_environment

        create_environment(self.home, wheels, show, variables)

    def remove_environment(self) -> None:
        """Remove what :meth:`make_environment` made, and nothing else."""
        from fedliver.site.environment import remove_environment

        remove_environment(self.home)

    @property
    def request_file(self) -> Path:
        """The enrolment request, which goes back to the coordinator. It holds a public key, no secret."""
        return self._reader().files.request

    def enrol(self, invitation: Path) -> None:
        """Accept an invitation. Raises FedLiverError if the file is none, or has expired."""
        from fedliver.site.enrolment import read_invitation

        self._inviting = read_invitation(invitation).coordinator_name
        self._start("enrol", ["site", "enrol", str(invitation)])

    def join(self) -> None:
        self._start("join", ["site", "join"])

    def leave(self) -> None:
        if self._running is not None and self._running[0] == "join":
            self._running[1].end()
            self._running = None
        self._start("leave", ["site", "leave"])

    def resume(self) -> list[object]:
        """What was going on before this panel opened: an invitation, or a membership."""
        status = self._reader().status()
        if not status.enrolled:
            return []
        invited = self._invited(status.coordinator_name)
        if not status.joined:
            return [invited]
        self._begin_following()
        return [invited, on.Joined(status.coordinator_name)]

    def poll(self) -> list[object]:
        """What happened since the last look, as events of the panel."""
        events = self._poll_command()
        if self._joined:
            events += self._poll_progress()
            if self._running is None and not self._reader().status().joined:
                self._joined = False
                events.append(on.Left("This site's node has stopped by itself: press Join to connect again, and tell the coordinator if it happens twice."))
        return events

    def examine(self, watcher: Watcher) -> tuple[Check, ...]:
        """Every step from here to the coordinator, in words; the first that fails is the last. Takes seconds: for a worker thread."""
        steps: list[Check] = []
        for step in self._reader().examine():
            steps.append(Check(step.name, step.ok, step.sentence))
            report(watcher, step.sentence, min(0.95, len(steps) / 8))
        return tuple(steps)

    def account(self) -> Account:
        """What has left this site and come in, as its ledger says."""
        entries = self._reader().ledger().entries()
        updates = [entry for entry in entries if entry.kind == "update"]
        noised = [entry.epsilon for entry in updates if entry.epsilon is not None]
        return Account(
            updates=len(updates),
            megabytes_out=sum(entry.bytes for entry in updates) / 1e6,
            megabytes_in=sum(entry.bytes for entry in entries if entry.kind == "model") / 1e6,
            epsilon=noised[-1] if noised else None,
            without_noise=len(updates) - len(noised),
            last=tuple(entry.sentence for entry in entries[-_LAST_ENTRIES:]),
        )

    def history(self) -> "list[ProgressEvent]":
        """All that this site has reported of its rounds, oldest first."""
        return self._reader().progress().read()

    def newest_candidate(self) -> Path | None:
        """A new teacher that arrived since it was last asked for."""
        candidates = self._reader().candidates()
        if not candidates or candidates[-1] == self._offered:
            return None
        self._offered = candidates[-1]
        return candidates[-1]

    def _start(self, verb: str, arguments: list[str]) -> None:
        if self._running is not None:
            raise FedLiverError("busy", "The command before has not ended yet: wait a moment and press again.")
        self._running = (verb, self._command_line.start(arguments))

    def _poll_command(self) -> list[object]:
        if self._running is None:
            return []
        verb, running = self._running
        ended = running.poll()
        if ended is None:
            return []
        self._running = None
        failed = (ended.words or "The command ended without a word: look at the logs in the site's folder.") if ended.code else ""
        if verb == "enrol":
            if failed:
                return [on.Noticed(failed, Tone.ERROR)]
            return [self._invited(self._inviting), on.Noticed(self._enrolled(), Tone.SUCCESS)]
        if verb == "join" and not failed:
            self._begin_following()
            return [on.Joined(self._reader().status().coordinator_name)]
        if verb == "leave" and failed and self._reader().status().joined:
            return [on.Joined(self._reader().status().coordinator_name), on.Noticed(failed, Tone.ERROR)]
        self._joined = False
        return [on.Left(failed)]

    def _invited(self, coordinator: str) -> on.InvitationOpened:
        site = self._reader()
        policy = site.policy()
        return on.InvitationOpened(coordinator, policy.learns_from_unlabelled, consent_to(policy, site.rules()))

    def _enrolled(self) -> str:
        return f"Send this file to the coordinator, and wait until it is accepted: {self.request_file}"

    def _begin_following(self) -> None:
        self._joined = True
        self._last_dice = None
        self._tail = self._reader().progress()

    def _poll_progress(self) -> list[object]:
        events: list[object] = []
        for progress in self._tail.read() if self._tail else []:
            events.append(on.RoundReported(self._round(progress)))
            if progress.phase == "failed":
                events.append(on.Noticed(progress.sentence + ".", Tone.WARNING))
        return events

    def _round(self, progress: "ProgressEvent") -> Round:
        if progress.dice is not None:
            self._last_dice = progress.dice
        return Round(progress.round, progress.rounds, progress.step, progress.total, progress.loss, self._last_dice)

    def _reader(self) -> "SiteFederation":
        if self._site is None:
            self._site = self._make_site(self.home)
        return self._site


def _site(home: Path) -> "SiteFederation":
    from fedliver.site.federation import SiteFederation

    return SiteFederation(home)
