"""The coordinator: makes a federation, invites and approves sites, runs rounds. Starts Flower's processes; imports no flwr."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedliver.coordinator.address import AddressChange, change_address, checked_settings, chosen_ports
from fedliver.coordinator.app_bundle import app_hash, write_app
from fedliver.coordinator.certificates import make_certificates
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.interrupted import cut_short
from fedliver.coordinator.membership import Member, Membership
from fedliver.coordinator.records import MOST_ROUNDS, Job, Revocation, RoundRecord, RunEvent, Site, append_line, read_rounds
from fedliver.coordinator.rollback import roll_back
from fedliver.coordinator.run import FINISHED_GRACE_SECONDS, RunProcesses, in_progress
from fedliver.coordinator.superlink import SuperLink
from fedliver.errors import FedLiverError
from fedliver.site.enrolment import Invitation, write_model
from fedliver.site.environment import find_python
from fedliver.site.federation import by_round
from fedliver.site.policy import Policy, contract_of
from fedliver.site.processes import end_processes, is_alive, read_record


@dataclass(frozen=True)
class RunOutcome:
    """What a run left behind."""

    job: str
    rounds: tuple[RoundRecord, ...]
    """The records of this run, its delivery included."""
    teacher: Path
    """The newest global teacher, a bundle."""


@dataclass(frozen=True)
class SiteState:
    """One approved site as ``status`` shows it."""

    name: str
    online: bool
    state: str


@dataclass(frozen=True)
class CoordinatorStatus:
    """What ``fedliver coordinator status`` shows."""

    started: bool
    address: str
    sites: tuple[SiteState, ...]
    rounds: tuple[RoundRecord, ...]


def installed_superlink(home: CoordinatorHome) -> SuperLink:
    """The SuperLink of the federation's own environment (``no-federation-environment``)."""
    return SuperLink(home, find_python(home.path))


class Coordinator:
    """One federation's coordinator. Every call is complete in itself: another process may have made the one before.

    Parameters
    ----------
    home:
        The coordinator's folder.
    superlink, grace_seconds:
        Makes what starts, watches and ends Flower's processes, and how long a run that is gone may still say how it ended; seams for tests.
    """

    def __init__(
        self, home: Path, superlink: Callable[[CoordinatorHome], SuperLink] = installed_superlink, grace_seconds: float = FINISHED_GRACE_SECONDS
    ) -> None:
        self.home = CoordinatorHome(home.expanduser().resolve())
        self._membership = Membership(self.home)
        self._make_superlink = superlink
        self._grace_seconds = grace_seconds

    @classmethod
    def create(
        cls,
        home: Path,
        *,
        host: str,
        name: str = "Coordinator",
        port: int = 0,
        control_port: int = 0,
        proxied_port: int | None = None,
        teacher: Path | None = None,
        policy: Callable[[Policy], Policy] | None = None,
    ) -> "Coordinator":
        """Make a coordinator's home: CA, server certificate, policy, app, and the teacher that the federation begins with.

        Parameters
        ----------
        host:
            The name or IP address under which the sites reach this machine.
        port, control_port:
            For the sites, and on loopback for this machine's own commands. 0 picks a free one.
        proxied_port:
            Where a reverse proxy on this machine brings the sites' requests from ``port``; None if the sites come to ``port`` itself.
        teacher:
            A bundle; the shipped starter if None.
        policy:
            Changes the default policy.

        Raises
        ------
        FedLiverError
            ``already-there``, ``not-a-bundle`` and its kin, ``no-federation-environment``, or as :func:`~fedliver.coordinator.address.checked_settings`:
            then nothing was written.
        """
        from fedliver.teacher.bundle import STARTER, load_bundle, save_bundle

        coordinator = cls(home)
        files = coordinator.home
        if files.settings_file.exists():
            how = "choose another folder, or give this one another address with 'fedliver coordinator change'"
            raise FedLiverError("already-there", f"{files.path} is a coordinator already: {how}.")
        python = find_python(files.path)
        first = load_bundle(teacher or STARTER)
        rules = Policy(contract=contract_of(first.plan))
        rules = policy(rules) if policy else rules
        # Nothing is on disk yet, and so not the app whose hash belongs here; everything that a person chose is looked at now.
        ports = chosen_ports(port, control_port, proxied_port)
        draft = checked_settings({"name": name, "host": host, **ports, "plan": first.plan, "policy": rules, "app_hash": "0" * 64})
        files.keep_private()
        save_bundle(first.network, first.plan, files.teacher_of(0), name=first.name, version=first.version)
        make_certificates(files.certificates.folder, draft.host, draft.name)
        write_app(files.app)
        write_model(files.policy_file, rules)
        settings = draft.model_copy(update={"app_hash": app_hash(files.app, python)})
        write_model(files.settings_file, settings)  # last: a home without it is no coordinator
        return coordinator

    def change(self, *, host: str | None = None, port: int | None = None, control_port: int | None = None, proxied_port: int | None = None) -> AddressChange:
        """Give this coordinator another address, as :func:`~fedliver.coordinator.address.change_address` does (``coordinator-started`` too)."""
        self.home.settings()
        if in_progress(self.home) or any(is_alive(read_record(path)) for path in self._superlink().records):
            how = "'fedliver coordinator stop', or systemctl where systemd started it"
            raise FedLiverError("coordinator-started", f"The coordinator is started, at the old address: stop it first ({how}).")
        return change_address(self.home, host=host, port=port, control_port=control_port, proxied_port=proxied_port)

    def invite(self, site_name: str, target: Path, valid_days: float = 14.0) -> Invitation:
        """Write an invitation file for one site. It holds no secret (``bad-name``, ``bad-days``)."""
        return self._membership.invite(site_name, target, valid_days)

    def approve(self, request: Path) -> Site:
        """Let a site in: its key is registered now if the coordinator is started, or else when it is.

        Raises
        ------
        FedLiverError
            ``not-a-request``, ``unknown-invitation``, ``invitation-expired``, ``key-revoked``, ``name-taken`` (another key has that name) or ``key-taken``.
        """
        site, superlink = self._membership.approve(request), self._superlink()
        if superlink.running:
            self._membership.register_new(superlink)
        return self.home.sites().named(site.name) or site

    def revoke(self, name: str) -> Revocation:
        """Put a site out of the federation: its key is forgotten, now if the coordinator is started or else at its next start, and cannot come back.

        A round that is on goes on without it. Its SuperNode is refused at its next request, and ends. Where the SuperLink did not answer, revoke once more.

        Raises
        ------
        FedLiverError
            ``no-such-site``.
        """
        # The files first: the rounds look there, and a SuperLink that does not answer must not save the site.
        revocation, superlink = self._membership.revoke(name), self._superlink()
        if superlink.running:
            self._membership.forget_revoked(superlink)
        return revocation

    def members(self) -> list[Member]:
        """Everybody who is invited, approved or revoked. What is online only a started coordinator knows."""
        superlink = self._superlink()
        self.home.settings()
        states = {state.name: state.state for state in self._site_states(superlink)} if superlink.running else {}
        return self._membership.everybody(states)

    def wait(self) -> None:
        """Return only by an exception: ``coordinator-ended`` when one of its processes has ended, or what interrupts the waiting."""
        superlink = self._superlink()
        while superlink.running:
            time.sleep(1.0)
        raise FedLiverError("coordinator-ended", f"The SuperLink or its SuperExec has ended. Their logs say why: {self.home.log('superlink').parent}")

    def start(self) -> None:
        """Start the SuperLink, make it forget the sites that were revoked while it was down, and register those that were approved (see :class:`SuperLink`)."""
        superlink = self._superlink()
        superlink.start(self.home.settings())
        self._membership.forget_revoked(superlink)
        self._membership.register_new(superlink)

    def stop(self) -> None:
        """End every process of this coordinator, a run included (``cannot-end``). Takes less than 5 s; harmless when not started."""
        left = end_processes([self.home.record("run"), *self._superlink().records])
        if left:
            raise FedLiverError(
                "cannot-end", f"{len(left)} process(es) of the coordinator could not be ended (PID {', '.join(map(str, left))}): end them by hand."
            )

    def run(self, rounds: int | None = None, on_event: Callable[[RunEvent], None] = lambda event: None) -> RunOutcome:
        """Run ``rounds`` more rounds (the policy's number if None), from the newest checkpoint on, and wait for their end.

        Raises
        ------
        FedLiverError
            ``bad-rounds``, ``coordinator-not-started``, ``run-in-progress``, ``no-sites``, or ``run-failed`` with the sentence that the run ended with.
        KeyboardInterrupt
            The run is stopped first.
        """
        settings, superlink = self.home.settings(), self._superlink()
        if rounds is not None and not 1 <= rounds <= MOST_ROUNDS:
            raise FedLiverError("bad-rounds", f"One run has 1 to {MOST_ROUNDS} rounds, not {rounds}: run again for more (--rounds).")
        if not superlink.running:
            raise FedLiverError("coordinator-not-started", "The coordinator is not started: start it with 'fedliver coordinator start'.")
        if in_progress(self.home):
            raise FedLiverError("run-in-progress", "A run is in progress: wait for its end.")
        if not self.home.sites().sites:
            raise FedLiverError("no-sites", "No site is approved yet: invite sites and approve their requests first.")
        job = Job(
            job=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{time.monotonic_ns() % 10_000:04d}",
            rounds=rounds or settings.policy.rounds,
            policy=settings.policy,
            plan=settings.plan,
        )
        before = cut_short(self.home.job(""))
        write_model(self.home.job(job.job) / "job.json", job)
        if before:
            append_line(self.home.job(job.job) / "events.jsonl", RunEvent(kind="warning", sentence=before))
        run = RunProcesses(self.home, superlink, job, self._grace_seconds)
        run.start()
        try:
            last = run.follow(on_event)
            run.wait_for_server_app()
        except BaseException:
            run.stop()
            raise
        finally:
            run.end()
        if last is None or last.kind == "failed":
            raise FedLiverError("run-failed", last.sentence if last else run.ended_without_a_word())
        done = tuple(entry for entry in read_rounds(self.home.rounds_file) if entry.job == job.job)
        return RunOutcome(job.job, done, self.newest_teacher())

    def roll_back(self, number: int) -> RoundRecord:
        """Have the next run begin from the model of an earlier round, as :func:`~fedliver.coordinator.rollback.roll_back` does (``run-in-progress`` too)."""
        self.home.settings()
        if in_progress(self.home):
            raise FedLiverError("run-in-progress", "A run is in progress: wait for its end, or stop it with Ctrl-C where it runs.")
        return roll_back(self.home, number)

    def status(self) -> CoordinatorStatus:
        """What is going on."""
        settings, superlink = self.home.settings(), self._superlink()
        started = superlink.running
        states = self._site_states(superlink) if started else [SiteState(site.name, False, "approved") for site in self.home.sites().sites]
        return CoordinatorStatus(started, f"{settings.host}:{settings.port}", tuple(states), tuple(self.rounds()))

    def rounds(self) -> list[RoundRecord]:
        """Every round so far, deliveries included, oldest first."""
        return read_rounds(self.home.rounds_file)

    def newest_teacher(self) -> Path:
        """The newest global teacher's bundle."""
        return by_round(self.home.teachers)[-1]

    def _site_states(self, superlink: SuperLink) -> list[SiteState]:
        """What the SuperLink says of each site. A SuperLink that is too busy to answer must not keep the rest of the status from being shown."""
        try:
            nodes = superlink.nodes()
        except FedLiverError:
            return [SiteState(site.name, False, "unknown: the SuperLink did not answer") for site in self.home.sites().sites]
        states = [(site.name, nodes.get(site.node_id, "not registered") if site.node_id is not None else "approved") for site in self.home.sites().sites]
        return [SiteState(name, state == "online", state) for name, state in states]

    def _superlink(self) -> SuperLink:
        return self._make_superlink(self.home)
