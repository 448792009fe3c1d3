"""The coordinator: makes a federation, invites and approves sites, runs rounds. Starts Flower's processes; imports no flwr."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fedliver.coordinator.app_bundle import app_hash, write_app
from fedliver.coordinator.certificates import make_certificates
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.interrupted import cut_short
from fedliver.coordinator.records import EventTail, IssuedInvitation, Job, Revocation, RoundRecord, RunEvent, Settings, Site, Sites, append_line, read_rounds
from fedliver.coordinator.superlink import SuperLink
from fedliver.errors import FedLiverError
from fedliver.site.enrolment import EnrolmentRequest, Invitation, read_request, write_model
from fedliver.site.environment import find_python
from fedliver.site.federation import by_round, free_port
from fedliver.site.keys import fingerprint_of
from fedliver.site.policy import Policy, SiteName, contract_of
from fedliver.site.processes import end_processes, is_alive, read_record, start_process

_POLL_SECONDS = 0.2
_FINISHED_GRACE_SECONDS = 10.0


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
class Member:
    """One line of ``fedliver coordinator list``."""

    name: str
    state: str
    fingerprint: str


@dataclass(frozen=True)
class CoordinatorStatus:
    """What ``fedliver coordinator status`` shows."""

    started: bool
    address: str
    sites: tuple[SiteState, ...]
    rounds: tuple[RoundRecord, ...]


class Coordinator:
    """One federation's coordinator. Every call is complete in itself: another process may have made the one before."""

    def __init__(self, home: Path) -> None:
        self.home = CoordinatorHome(home.expanduser().resolve())

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
            ``already-there``, ``not-a-bundle`` and its kin, or ``no-federation-environment``.
        """
        from fedliver.teacher.bundle import STARTER, load_bundle, save_bundle

        coordinator = cls(home)
        files = coordinator.home
        if files.settings_file.exists():
            raise FedLiverError("already-there", f"{files.path} is a coordinator already: choose another folder, or remove that one to begin anew.")
        python = find_python(files.path)
        first = load_bundle(teacher or STARTER)
        save_bundle(first.network, first.plan, files.teacher_of(0), name=first.name, version=first.version)
        make_certificates(files.certificates.folder, host, name)
        write_app(files.app)
        rules = Policy(contract=contract_of(first.plan))
        rules = policy(rules) if policy else rules
        write_model(files.policy_file, rules)
        settings = Settings(
            name=name,
            host=host,
            port=port or free_port(),
            control_port=control_port or free_port(),
            proxied_port=proxied_port,
            plan=first.plan,
            policy=rules,
            app_hash=app_hash(files.app, python),
        )
        write_model(files.settings_file, settings)  # last: a home without it is no coordinator
        return coordinator

    def invite(self, site_name: str, target: Path, valid_days: float = 14.0) -> Invitation:
        """Write an invitation file for one site. It holds no secret (``bad-name``)."""
        settings = self.home.settings()
        invitation = Invitation(
            site_name=_checked_name(site_name),
            coordinator_name=settings.name,
            host=settings.host,
            port=settings.port,
            ca_certificate=self.home.certificates.ca_certificate.read_text(),
            expires=datetime.now(UTC) + timedelta(days=valid_days),
            policy=settings.policy,
            allowed_apps=(settings.app_hash,),
        )
        write_model(target, invitation)
        issued = IssuedInvitation(identifier=invitation.identifier, site=invitation.site_name, expires=invitation.expires)
        self.home.save_sites(self.home.sites().with_invitation(issued))
        return invitation

    def approve(self, request: Path) -> Site:
        """Let a site in: its key is registered now if the coordinator is started, or else when it is.

        Raises
        ------
        FedLiverError
            ``not-a-request``, ``unknown-invitation``, ``invitation-expired``, ``key-revoked``, ``name-taken`` (another key has that name) or ``key-taken``.
        """
        self.home.settings()
        asked = read_request(request)
        sites = self.home.sites()
        _check_invitation(sites, asked, datetime.now(UTC))
        known = sites.named(asked.site_name)
        if known and known.public_key != asked.public_key:
            raise FedLiverError("name-taken", f"A site named {asked.site_name} is approved already with another key: invite this one under another name.")
        if not known and any(site.public_key == asked.public_key for site in sites.sites):
            raise FedLiverError("key-taken", "This key is approved already under another name.")
        site = known or Site(name=asked.site_name, public_key=asked.public_key)
        self.home.save_sites(sites.with_site(site))
        superlink = self._superlink()
        if superlink.running:
            self._register_new_sites(superlink)
        return self.home.sites().named(asked.site_name) or site

    def revoke(self, name: str) -> Revocation:
        """Put a site out of the federation: its key is forgotten, now if the coordinator is started or else at its next start, and cannot come back.

        A round that is on goes on without it. Its SuperNode is refused at its next request, and ends. Where the SuperLink did not answer, revoke once more.

        Raises
        ------
        FedLiverError
            ``no-such-site``.
        """
        sites, superlink = self.home.sites(), self._superlink()
        site = sites.named(name)
        unfinished = next((one for one in sites.revocations if one.name == name and one.node_id is not None), None)
        if site is None and unfinished is not None and superlink.running:
            self._forget_revoked_sites(superlink)
            return unfinished
        if site is None:
            names = ", ".join(other.name for other in sites.sites) or "none"
            raise FedLiverError("no-such-site", f"No site named {name} is approved here; approved: {names}.")
        revocation = Revocation(name=site.name, public_key=site.public_key, revoked=datetime.now(UTC), node_id=site.node_id)
        self.home.save_sites(sites.with_revocation(revocation))  # first: the rounds look here, and a SuperLink that does not answer must not save the site
        if superlink.running:
            self._forget_revoked_sites(superlink)
        return revocation

    def members(self) -> list[Member]:
        """Everybody who is invited, approved or revoked. What is online only a started coordinator knows."""
        sites, superlink, now = self.home.sites(), self._superlink(), datetime.now(UTC)
        self.home.settings()
        states = {state.name: state.state for state in self._site_states(superlink)} if superlink.running else {}
        found = [Member(site.name, states.get(site.name, "approved"), fingerprint_of(site.public_key)) for site in sites.sites]
        for invitation in {invitation.site: invitation for invitation in sites.invitations}.values():  # of each site the newest
            if sites.named(invitation.site) is None:
                until = f"{invitation.expires:%d %B %Y %H:%M} UTC"
                found.append(Member(invitation.site, f"invited until {until}" if invitation.expires > now else f"invitation expired on {until}", ""))
        revoked = (Member(one.name, f"revoked on {one.revoked:%d %B %Y %H:%M} UTC", fingerprint_of(one.public_key)) for one in sites.revocations)
        return [*found, *revoked]

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
        self._forget_revoked_sites(superlink)
        self._register_new_sites(superlink)

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
            ``coordinator-not-started``, ``run-in-progress``, ``no-sites``, or ``run-failed`` with the sentence that the run ended with.
        KeyboardInterrupt
            The run is stopped first.
        """
        settings, superlink = self.home.settings(), self._superlink()
        if not superlink.running:
            raise FedLiverError("coordinator-not-started", "The coordinator is not started: start it with 'fedliver coordinator start'.")
        if is_alive(read_record(self.home.record("run"))) or self._last_server_app_runs():
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
        record = self.home.record("run")
        log = self.home.job(job.job) / "flower.log"
        start_process(superlink.run_command(job.job), role="run", environment=superlink.variables(), log=log, record=record, folder=self.home.path)
        try:
            last = self._follow(job, on_event)
            self._wait_for_server_app(job)
        except BaseException:
            self._stop_run(superlink, log)
            raise
        finally:
            end_processes([record, self.home.server_app(job.job)])
        if last is None or last.kind == "failed":
            raise FedLiverError("run-failed", last.sentence if last else self._ended_without_a_word(log))
        done = tuple(entry for entry in read_rounds(self.home.rounds_file) if entry.job == job.job)
        return RunOutcome(job.job, done, self.newest_teacher())

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
        return SuperLink(self.home, find_python(self.home.path))

    def _register_new_sites(self, superlink: SuperLink) -> None:
        for site in self.home.sites().sites:
            if site.node_id is None:
                node_id = superlink.register(site.name, site.public_key)
                self.home.save_sites(self.home.sites().with_site(site.model_copy(update={"node_id": node_id})))

    def _forget_revoked_sites(self, superlink: SuperLink) -> None:
        for revocation in self.home.sites().revocations:
            if revocation.node_id is not None:
                superlink.unregister(revocation.node_id)
                self.home.save_sites(self.home.sites().with_revocation(revocation.model_copy(update={"node_id": None})))

    def _follow(self, job: Job, on_event: Callable[[RunEvent], None]) -> RunEvent | None:
        """Hand on the run's events until its last one; None if the run ends without one."""
        tail = EventTail(self.home.job(job.job) / "events.jsonl")
        record = read_record(self.home.record("run"))
        gone_since: float | None = None
        while True:
            for event in tail.read():
                on_event(event)
                if event.kind in ("finished", "failed"):
                    return event
            if self._superlink_runs() and (is_alive(record) or self._server_app_runs(job)):
                gone_since = None
            elif gone_since is None:
                gone_since = time.monotonic()
            elif time.monotonic() - gone_since > _FINISHED_GRACE_SECONDS:
                return None
            time.sleep(_POLL_SECONDS)

    def _superlink_runs(self) -> bool:
        """A ServerApp whose SuperLink is gone asks for it for ever, and its deadline is never looked at."""
        return is_alive(read_record(self.home.record("superlink")))

    def _ended_without_a_word(self, log: Path) -> str:
        if not self._superlink_runs():
            why = f"the SuperLink has ended. Start the coordinator again; what it said last is in {self.home.log('superlink')}"
        else:
            why = f"its ServerApp was killed, or failed before its first word. Its log: {log}"
        return f"The run ended without a result: {why}"

    def _server_app_runs(self, job: Job) -> bool:
        """Whether the run's ServerApp still works, though the command that started it has ended (it does when the SuperLink was restarted)."""
        return is_alive(read_record(self.home.server_app(job.job)))

    def _last_server_app_runs(self) -> bool:
        jobs = sorted(path.name for path in self.home.job("").glob("*"))
        return bool(jobs) and is_alive(read_record(self.home.server_app(jobs[-1])))

    def _wait_for_server_app(self, job: Job) -> None:
        """Let the ServerApp tell the SuperLink how it ended."""
        end = time.monotonic() + _FINISHED_GRACE_SECONDS
        while self._server_app_runs(job) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)

    def _stop_run(self, superlink: SuperLink, log: Path) -> None:
        marker = "Successfully started run "
        text = log.read_text(errors="replace") if log.is_file() else ""
        if marker in text and superlink.running:
            run_id = text.split(marker, 1)[1].split()[0]
            if run_id.isdigit():
                try:
                    superlink.flwr("stop", run_id, "fedliver", timeout=15.0)
                except FedLiverError:
                    return  # the run ends with the SuperLink at the latest


def _check_invitation(sites: Sites, asked: EnrolmentRequest, now: datetime) -> None:
    """A request must answer an invitation of ours, in time and under its name, with a key that was not revoked."""
    issued = next((invitation for invitation in sites.invitations if invitation.identifier == asked.invitation), None)
    if issued is None or issued.site != asked.site_name:
        raise FedLiverError(
            "unknown-invitation",
            f"The request of {asked.site_name} answers no invitation of this coordinator: invite the site; it enrols with that file.",
        )
    if issued.expires <= now:
        raise FedLiverError("invitation-expired", f"The invitation of {issued.site} expired on {issued.expires:%d %B %Y at %H:%M} UTC: invite the site again.")
    if revoked := sites.revocation_of(asked.public_key):
        raise FedLiverError(
            "key-revoked",
            f"The key of {asked.site_name} was revoked on {revoked.revoked:%d %B %Y}: the site must move its federation/site_key away and enrol again.",
        )


def _checked_name(name: str) -> str:
    try:
        return TypeAdapter(SiteName).validate_python(name)
    except ValidationError as error:
        raise FedLiverError("bad-name", "A site's name may have letters, digits, spaces and . , ( ) & ' + - only, and at most 60 of them.") from error
