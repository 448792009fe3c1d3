"""One site's membership of one federation: enrol, join, leave, and what is going on. Starts Flower's processes and reads their files; imports no flwr."""

import contextlib
import json
import os
import secrets
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedliver.errors import FedLiverError
from fedliver.files import write_text
from fedliver.site.connection import check_clock, read_health
from fedliver.site.egress import PatientCount, admit
from fedliver.site.enrolment import EnrolmentRequest, Invitation, accepted_invitation, read_invitation, write_model
from fedliver.site.environment import find_python, flower_variables, program
from fedliver.site.home import SiteHome
from fedliver.site.keys import ensure_site_key, write_secret
from fedliver.site.ledger import Ledger
from fedliver.site.link import Link, LinkReader
from fedliver.site.processes import children_of, end_processes, is_alive, read_record, start_process
from fedliver.site.progress import ProgressTail
from fedliver.site.reach import Step, examine_connection, probe
from fedliver.site.rules import EgressRules, read_rules

LAUNCHER = "fedliver.federation.launch"
_STAND_IN = "fedliver.federation.warm_stand_in"
WARM_VARIABLE = "FEDLIVER_WARM"
"""``0`` in a site's environment when it joins: every ClientApp imports its libraries itself, and no warm process holds them (``federation/warm.py``)."""
_JOIN_SECONDS = 120.0
_FORGET_SECONDS = 80.0
"""A SuperLink counts a node that ended without a word as online for two heartbeats (60 s), and refuses its key until then."""
_TRY_AGAIN_SECONDS = 3.0
_JOINED_ELSEWHERE = (
    "Joining failed: the coordinator counts this site as connected already. If it has joined from another machine or folder, leave there first;"
    " if it ended suddenly, try again in a minute."
)
_STOP_GRACE_SECONDS = 1.2
_END_SECONDS = 2.0


def count_patients(home: Path) -> PatientCount:
    """Of how many patients the site's case store has something to train on."""
    return SiteHome.open(home).patients()


@dataclass(frozen=True)
class SiteFiles:
    """Where things lie in a site's home. Everything of the federation is under ``federation/``."""

    home: Path

    @property
    def folder(self) -> Path:
        return self.home / "federation"

    @property
    def ledger(self) -> Path:
        """The folder of the ledger: it outlives every federation, so it is beside theirs."""
        return self.home / "ledger"

    @property
    def student(self) -> Path:
        """The optimiser and the Mean Teacher of the last round, for the next one to go on from."""
        return self.folder / "student.pt"

    @property
    def invitation(self) -> Path:
        return self.folder / "invitation.json"

    @property
    def request(self) -> Path:
        return self.folder / "enrolment-request.json"

    @property
    def key(self) -> Path:
        return self.folder / "site_key"

    @property
    def accepted(self) -> Path:
        """There since the coordinator first accepted this site's key; gone when the site enrols anew."""
        return self.folder / "run" / "accepted"

    @property
    def ca_certificate(self) -> Path:
        return self.folder / "coordinator-ca.pem"

    @property
    def stop(self) -> Path:
        """While this file exists, training stops within one step."""
        return self.folder / "stop"

    @property
    def progress(self) -> Path:
        return self.folder / "progress.jsonl"

    @property
    def candidates(self) -> Path:
        """``candidates/round-NNN``: the global models that arrived, as bundles, newest last."""
        return self.folder / "candidates"

    @property
    def rounding(self) -> Path:
        """What rounding took away from the last update, for the next one."""
        return self.folder / "rounding.npz"

    @property
    def masked_round(self) -> Path:
        """The folder of what must be remembered between the steps of a masked sum (``federation/secure/round_secrets.py``)."""
        return self.folder / "masked-round"

    @property
    def node_log(self) -> Path:
        return self.folder / "logs" / "supernode.log"

    @property
    def executor_log(self) -> Path:
        return self.folder / "logs" / "superexec.log"

    @property
    def warm_unable(self) -> Path:
        """There once the warm process had to give up; says why."""
        return self.folder / "run" / "warm.unable"

    @property
    def records(self) -> tuple[Path, Path]:
        """The process records: the executor first, so that no new ClientApp starts while the rest ends."""
        return self.folder / "run" / "superexec.json", self.folder / "run" / "supernode.json"


@dataclass(frozen=True)
class SiteStatus:
    """What a panel shows. ``link`` carries its own sentence."""

    enrolled: bool
    joined: bool
    link: Link
    site_name: str = ""
    coordinator_name: str = ""
    learns_from_unlabelled: bool = False
    """Whether the accepted policy lets scans without approval teach."""


class SiteFederation:
    """The site's side of the federation. Every call is complete in itself: another process may have made the one before.

    Parameters
    ----------
    home:
        The site's home folder.
    patients:
        Of how many patients there is something to train on; a seam for tests.
    launcher:
        The module that is run for every message; a seam for tests that need a misbehaving site.
    """

    def __init__(self, home: Path, patients: Callable[[Path], PatientCount] = count_patients, launcher: str = LAUNCHER) -> None:
        self.files = SiteFiles(home.expanduser().resolve())
        self._patients = patients
        self._launcher = launcher

    def enrol(self, invitation: Path, request: Path | None = None) -> Path:
        """Accept an invitation, make this site's key if there is none, and write the enrolment request that goes back to the coordinator.

        Raises
        ------
        FedLiverError
            As :func:`~fedliver.site.enrolment.read_invitation`; ``already-joined``.
        """
        accepted = read_invitation(invitation)
        if self.status().joined:
            raise FedLiverError("already-joined", "This site takes part in a federation now: leave it before enrolling in another.")
        public_key = ensure_site_key(self.files.key)
        if self.files.ca_certificate.is_file() and self.files.ca_certificate.read_text() != accepted.ca_certificate:
            shutil.rmtree(self.files.candidates, ignore_errors=True)  # another federation's; its numbers would be taken for this one's
            self.files.student.unlink(missing_ok=True)
        shutil.rmtree(self.files.masked_round, ignore_errors=True)
        self.files.accepted.unlink(missing_ok=True)
        write_model(self.files.invitation, accepted)
        write_text(self.files.ca_certificate, accepted.ca_certificate)
        target = request or self.files.request
        write_model(target, EnrolmentRequest(invitation=accepted.identifier, site_name=accepted.site_name, public_key=public_key))
        return target

    def join(self, tell: Callable[[str], None] = lambda sentence: None) -> SiteStatus:
        """Check everything that can be checked, then start the site's processes and wait until the coordinator has accepted them.

        A site that ended abruptly (power, kill) and joins again within a minute is refused at first: it tries again, and ``tell`` says so.

        Raises
        ------
        FedLiverError
            ``not-enrolled``, ``already-joined``, ``no-approved-case``, ``too-few-cases``, ``rules-unreadable``, ``no-federation-environment``, ``refused-key``,
            ``joined-elsewhere``, ``join-failed``, ``clock``, or what :func:`~fedliver.site.connection.read_health` says. Nothing is left running.
        """
        invitation = self._invitation()
        if self.status().joined:
            raise FedLiverError("already-joined", "This site has already joined: leave first to join anew.")
        patients = self._patients(self.files.home).teaching(invitation.policy.learns_from_unlabelled)
        if patients < 1:
            raise FedLiverError("no-approved-case", "There is no approved case to train on: approve at least one corrected case, then join.")
        admit(self.rules(), patients)
        python = find_python(self.files.home)
        check_clock(read_health(invitation.host, invitation.port, invitation.ca_certificate))
        end_processes(self.files.records)
        self.files.stop.unlink(missing_ok=True)
        self.files.progress.unlink(missing_ok=True)
        try:
            self._connect(python, invitation, tell)
        except BaseException:
            end_processes(self.files.records, _END_SECONDS)
            raise
        return self.status()

    def leave(self) -> None:
        """Ask the training to stop, then end every process of this site. Takes less than 5 s; harmless when not joined.

        Raises
        ------
        FedLiverError
            ``cannot-end`` if the operating system would not end one of them.
        """
        if any(is_alive(read_record(path)) for path in self.files.records):
            write_text(self.files.stop, "")
            self._wait_for_training_to_stop()
        left = end_processes(self.files.records, _END_SECONDS)
        if left:
            raise FedLiverError(
                "cannot-end", f"{len(left)} process(es) of the federation could not be ended (PID {', '.join(map(str, left))}): end them by hand."
            )

    def status(self) -> SiteStatus:
        """What is going on, from the files and the process table."""
        try:
            invitation = self._invitation()
        except FedLiverError:
            return SiteStatus(enrolled=False, joined=False, link=Link.STOPPED)
        joined = is_alive(read_record(self.files.records[1]))
        link = self._read_link() if joined else Link.STOPPED
        return SiteStatus(True, joined, link, invitation.site_name, invitation.coordinator_name, invitation.policy.learns_from_unlabelled)

    def examine(self) -> Iterator[Step]:
        """Every step from here to the coordinator, in words; the first that fails is the last (``not-enrolled``)."""
        return examine_connection(self.files.home, self._invitation())

    def rules(self) -> EgressRules:
        """The rules that this site's egress filter follows: its own, made stricter where the federation's policy asks (``rules-unreadable``)."""
        own = read_rules(self.files.home)
        with contextlib.suppress(FedLiverError):
            return own.made_stricter(self._invitation().policy.privacy)
        return own

    def ledger(self) -> Ledger:
        """What has left this site, and what came in."""
        return Ledger(self.files.ledger)

    def progress(self) -> ProgressTail:
        """A tail of this site's progress, from the beginning of the present membership."""
        return ProgressTail(self.files.progress)

    def candidates(self) -> list[Path]:
        """The bundles of the global models that arrived, oldest first; the last is the newest teacher."""
        return by_round(self.files.candidates)

    def _invitation(self) -> Invitation:
        try:
            return accepted_invitation(self.files.invitation)
        except (OSError, ValueError) as error:
            raise FedLiverError("not-enrolled", "This site is not enrolled in a federation: open the coordinator's invitation file first.") from error

    def _start(self, python: Path, invitation: Invitation) -> None:
        files = self.files
        variables = flower_variables(python, files.folder / "flower")
        port = free_port()
        secret = files.folder / "run" / "executor.secret"
        write_secret(secret, secrets.token_bytes(32))
        # A file, not an argument: no quoting can go wrong, and nothing shows in the process list.
        node_settings = files.folder / "run" / "node.toml"
        write_text(node_settings, f"home = {json.dumps(str(files.home), ensure_ascii=False)}\n")
        for log in (files.node_log, files.executor_log):
            write_text(log, "")
        executor_record, node_record = files.records
        node: list[str | Path] = [program(python, "flower-supernode"), "--superlink", invitation.address, "--root-certificates", files.ca_certificate]
        node += ["--auth-supernode-private-key", files.key, "--isolation", "process", "--host", "127.0.0.1", "--port", str(port)]
        node += ["--superexec-auth-secret-file", secret, "--node-config", node_settings]
        start_process(node, role="SuperNode", environment=variables, log=files.node_log, record=node_record, folder=files.folder)
        executor: list[str | Path] = [
            program(python, "flower-superexec"),
            "--runtime-api-address",
            f"127.0.0.1:{port}",
            "--insecure",
            "--superexec-auth-secret-file",
            secret,
        ]
        executor_variables = {
            **variables,
            "PATH": f"{self._own_launcher(python)}{os.pathsep}{variables['PATH']}",
            "FEDLIVER_HOME": str(files.home),
        }
        start_process(executor, role="SuperExec", environment=executor_variables, log=files.executor_log, record=executor_record, folder=files.folder)

    def _own_launcher(self, python: Path) -> Path:
        """A folder whose ``flwr-clientapp`` is ours: the SuperExec starts it by bare name, and ours runs only the app that is installed here."""
        folder = self.files.folder / "run" / "bin"
        script = folder / "flwr-clientapp"
        module = f"{_STAND_IN} {self._launcher}" if sys.platform == "linux" and os.environ.get(WARM_VARIABLE) != "0" else self._launcher
        write_text(script, f'#!/bin/sh\nexec {shlex.quote(str(python))} -m {module} "$@"\n')
        script.chmod(0o700)
        self.files.warm_unable.unlink(missing_ok=True)
        return folder

    def _connect(self, python: Path, invitation: Invitation, tell: Callable[[str], None]) -> None:
        end = time.monotonic() + _FORGET_SECONDS
        while True:
            self._start(python, invitation)
            if self._wait_for_answer() is Link.UP:
                write_text(self.files.accepted, "")
                return
            if why := why_refused(probe(self.files.home), self.files.accepted.exists(), time.monotonic() > end):
                raise why
            tell("The coordinator still counts this site as connected, as after a sudden end; trying again until it has noticed (about a minute) ...")
            end_processes(self.files.records, _END_SECONDS)
            time.sleep(_TRY_AGAIN_SECONDS)

    def _wait_for_answer(self) -> Link:
        """UP or REFUSED, whichever the coordinator says (``join-failed`` if it says nothing)."""
        end = time.monotonic() + _JOIN_SECONDS
        executor, node = (read_record(path) for path in self.files.records)
        ended = False
        while time.monotonic() < end and not ended:
            ended = not is_alive(node) or not is_alive(executor)
            link = self._read_link()  # after the look at the processes: a node writes why it ends, then ends
            if link is Link.REFUSED or (link is Link.UP and is_alive(executor)):
                return link
            time.sleep(0.1)
        raise FedLiverError("join-failed", f"Joining failed: the node did not connect. Its log says why: {self.files.node_log}")

    def _wait_for_training_to_stop(self) -> None:
        end = time.monotonic() + _STOP_GRACE_SECONDS
        record = read_record(self.files.records[0])
        while time.monotonic() < end and children_of(record):  # one for each message
            time.sleep(0.05)

    def _read_link(self) -> Link:
        with contextlib.suppress(OSError):
            return LinkReader().feed(self.files.node_log.read_text(errors="replace"))
        return Link.STARTING


def why_refused(answer: str, accepted_before: bool, waited: bool) -> FedLiverError | None:
    """What to say of a refused node; None to try again, for a coordinator counts a node that ended abruptly as connected for a while.

    Parameters
    ----------
    answer:
        Whether the coordinator knows the key, as :func:`~fedliver.site.reach.probe` says.
    waited:
        Whether that while is over.
    """
    if answer != "unknown" and accepted_before and not waited:
        return None
    if answer == "known":
        return FedLiverError("joined-elsewhere", _JOINED_ELSEWHERE)
    return FedLiverError("refused-key", f"Joining failed: {Link.REFUSED.value}.")


def by_round(folder: Path) -> list[Path]:
    """The folders ``round-NNN`` in ``folder``, by number."""
    return sorted((path for path in folder.glob("round-*") if path.name[6:].isdigit()), key=lambda path: int(path.name[6:]))


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def joined(site: SiteFederation, tell: Callable[[str], None] = lambda sentence: None) -> Iterator[SiteFederation]:
    """Join for the length of a ``with`` block; leave whatever happens, Ctrl-C included."""
    site.join(tell)
    try:
        yield site
    finally:
        site.leave()
