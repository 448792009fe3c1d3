"""One site's membership of one federation: enrol, join, leave, and what is going on. Starts Flower's processes and reads their files; imports no flwr."""

import contextlib
import json
import secrets
import shutil
import socket
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
from fedliver.site.launchers import CLIENT_APPS_ONLY, LAUNCHER, SUPER_EXEC, SUPER_NODE, write_client_app
from fedliver.site.ledger import Ledger
from fedliver.site.link import Link, LinkReader
from fedliver.site.policy import Policy
from fedliver.site.processes import children_of, end_processes, is_alive, read_record, start_process
from fedliver.site.progress import ProgressTail
from fedliver.site.reach import KEY_WORDS, Step, examine_connection, probe
from fedliver.site.rules import EgressRules, read_rules
from fedliver.site.site_files import SiteFiles
from fedliver.site.turns import Turns

_JOIN_SECONDS = 120.0
_FORGET_SECONDS = 80.0
"""A SuperLink counts a node that ended without a word as online for two heartbeats (60 s), and refuses its key until then."""
_TRY_AGAIN_SECONDS = 3.0
_LOOK_SECONDS = 0.1
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
class SiteStatus:
    """What a panel shows. ``link`` carries its own sentence."""

    enrolled: bool
    joined: bool
    link: Link
    site_name: str = ""
    coordinator_name: str = ""


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
        self._turns = Turns(self.files.folder / "run")

    def enrol(self, invitation: Path, request: Path | None = None) -> Path:
        """Accept an invitation, make this site's key if there is none, and write the enrolment request that goes back to the coordinator.

        Raises
        ------
        FedLiverError
            As :func:`~fedliver.site.enrolment.read_invitation`; ``already-joined``, ``joining-already``.
        """
        accepted = read_invitation(invitation)
        with self._turns.joining():  # a Join that is under way must not find itself half in another federation
            return self._enrol(accepted, request or self.files.request)

    def _enrol(self, accepted: Invitation, target: Path) -> Path:
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
        write_model(target, EnrolmentRequest(invitation=accepted.identifier, site_name=accepted.site_name, public_key=public_key))
        return target

    def join(self, tell: Callable[[str], None] = lambda sentence: None) -> SiteStatus:
        """Check everything that can be checked, then start the site's processes and wait until the coordinator has accepted them.

        A site that ended abruptly (power, kill) and joins again within a minute is refused at first: it tries again, and ``tell`` says so.

        Raises
        ------
        FedLiverError
            ``not-enrolled``, ``already-joined``, ``no-approved-case``, ``too-few-cases``, ``rules-unreadable``, ``no-federation-environment``, ``refused-key``,
            ``joined-elsewhere``, ``join-failed``, ``clock``, or what :func:`~fedliver.site.connection.read_health` says; ``joining-already``, and
            ``left-meanwhile`` where Leave was asked for, here or elsewhere. Nothing is left running.
        """
        self._invitation()  # before anything is made in a folder that may not be a site's
        with self._turns.joining() as look:
            return self._join(tell, look)

    def _join(self, tell: Callable[[str], None], look: Callable[[], None]) -> SiteStatus:
        invitation = self._invitation()
        if self.status().joined:
            raise FedLiverError("already-joined", "This site has already joined: leave first to join anew.")
        patients = self._patients(self.files.home).teaching(invitation.policy.learns_from_unlabelled)
        if patients < 1:
            raise FedLiverError("no-approved-case", "There is no approved case to train on: approve at least one corrected case, then join.")
        admit(self.rules(), patients)
        python = find_python(self.files.home)
        program(python, "flower-supernode")  # an environment that is not whole is named as one before anything starts
        check_clock(read_health(invitation.host, invitation.port, invitation.ca_certificate))
        end_processes(self.files.records)
        self.files.stop.unlink(missing_ok=True)
        self.files.progress.unlink(missing_ok=True)
        try:
            self._connect(python, invitation, tell, look)
        except BaseException:
            end_processes(self.files.records, _END_SECONDS)
            raise
        return self.status()

    def leave(self) -> None:
        """Ask the training to stop, then end every process of this site. Takes less than 5 s; harmless when not joined.

        A Join that is under way elsewhere gives up first: at once, or as soon as the coordinator has said whether it knows this site's key.

        Raises
        ------
        FedLiverError
            ``cannot-end`` if the operating system would not end one of them, or a Join elsewhere does not give up.
        """
        if not self.files.folder.is_dir():
            return  # nothing was ever joined here
        with self._turns.leaving() as alone:
            if any(is_alive(read_record(path)) for path in self.files.records):
                with contextlib.suppress(FedLiverError):  # a full disk must not keep a site joined
                    write_text(self.files.stop, "")
                self._wait_for_training_to_stop()
            left = end_processes(self.files.records, _END_SECONDS)
        if not alone:
            raise FedLiverError("cannot-end", "This site is being joined in another window, which does not give up: close that window, then press Leave again.")
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
        return SiteStatus(True, joined, link, invitation.site_name, invitation.coordinator_name)

    def examine(self) -> Iterator[Step]:
        """Every step from here to the coordinator, in words; the first that fails is the last (``not-enrolled``)."""
        return examine_connection(self.files.home, self._invitation())

    def policy(self) -> Policy:
        """What this site agreed to when it enrolled (``not-enrolled``)."""
        return self._invitation().policy

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
        # -P: of the folder that they start in, nothing is imported.
        node: list[str | Path] = [python, "-P", "-m", SUPER_NODE, "--superlink", invitation.address, "--root-certificates", files.ca_certificate]
        node += ["--auth-supernode-private-key", files.key, "--isolation", "process", "--host", "127.0.0.1", "--port", str(port)]
        node += ["--superexec-auth-secret-file", secret, "--node-config", node_settings]
        start_process(node, role="SuperNode", environment=variables, log=files.node_log, record=node_record, folder=files.folder)
        own = files.programs
        write_client_app(own, python, self._launcher)
        files.warm_unable.unlink(missing_ok=True)
        executor: list[str | Path] = [python, "-P", "-m", SUPER_EXEC, own, "--runtime-api-address", f"127.0.0.1:{port}", "--insecure"]
        executor += ["--superexec-auth-secret-file", secret]
        executor_variables = {**variables, "FEDLIVER_HOME": str(files.home)}
        start_process(executor, role="SuperExec", environment=executor_variables, log=files.executor_log, record=executor_record, folder=files.folder)

    def _connect(self, python: Path, invitation: Invitation, tell: Callable[[str], None], look: Callable[[], None]) -> None:
        end = time.monotonic() + _FORGET_SECONDS
        while True:
            look()
            self._start(python, invitation)
            if self._wait_for_answer(look) is Link.UP:
                write_text(self.files.accepted, "")
                return
            why = why_refused(probe(self.files.home), self.files.accepted.exists(), time.monotonic() > end)
            look()
            if why:
                raise why
            tell("The coordinator still counts this site as connected, as after a sudden end; trying again until it has noticed (about a minute) ...")
            end_processes(self.files.records, _END_SECONDS)
            again = time.monotonic() + _TRY_AGAIN_SECONDS
            while time.monotonic() < again:
                look()
                time.sleep(_LOOK_SECONDS)

    def _wait_for_answer(self, look: Callable[[], None]) -> Link:
        """UP or REFUSED, whichever the coordinator says (``join-failed`` if it says nothing, or if what starts the ClientApps has not begun as it must)."""
        end = time.monotonic() + _JOIN_SECONDS
        executor, node = (read_record(path) for path in self.files.records)
        ended = False
        while time.monotonic() < end and not ended:
            ended = not is_alive(node) or not is_alive(executor)
            link = self._read_link()  # after the look at the processes: a node writes why it ends, then ends
            look()
            if link is Link.REFUSED or (link is Link.UP and is_alive(executor) and self._starts_client_apps_only()):
                return link
            time.sleep(_LOOK_SECONDS)
        if self._starts_client_apps_only():
            raise FedLiverError("join-failed", f"Joining failed: the node did not connect. Its log says why: {self.files.node_log}")
        raise FedLiverError("join-failed", f"Joining failed: what starts the training did not begin. Its log says why: {self.files.executor_log}")

    def _starts_client_apps_only(self) -> bool:
        with contextlib.suppress(OSError):
            return CLIENT_APPS_ONLY in self.files.executor_log.read_text(errors="replace").splitlines()
        return False

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
    return FedLiverError("refused-key", f"Joining failed. {KEY_WORDS.get(answer, KEY_WORDS['error'])}")


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
