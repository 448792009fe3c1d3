"""Who belongs to the federation: invited, approved, revoked. The files say so first, and a SuperLink that runs is brought into line with them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import IssuedInvitation, Revocation, Site, Sites
from fedliver.coordinator.superlink import SuperLink
from fedliver.errors import FedLiverError
from fedliver.site.enrolment import EnrolmentRequest, Invitation, read_request, write_model
from fedliver.site.keys import fingerprint_of
from fedliver.site.policy import SiteName

_WAIT_SECONDS = 120.0
"""For the lock: registering a key takes Flower's command some seconds."""
_LEAST_DAYS, _MOST_DAYS = 0.01, 365.0
"""Of an invitation; the least is a quarter of an hour."""


@dataclass(frozen=True)
class Member:
    """One line of ``fedliver coordinator list``."""

    name: str
    state: str
    fingerprint: str


class Membership:
    """The members in one coordinator's home."""

    def __init__(self, home: CoordinatorHome) -> None:
        self._home = home

    def invite(self, site_name: str, target: Path, valid_days: float = 14.0) -> Invitation:
        """Write an invitation file for one site. It holds no secret (``bad-name``, ``bad-days``)."""
        settings = self._home.settings()
        if not _LEAST_DAYS <= valid_days <= _MOST_DAYS:  # so written, it refuses what is not a number too
            raise FedLiverError("bad-days", f"An invitation is good for {_LEAST_DAYS:g} to {_MOST_DAYS:g} days, not for {valid_days:g}: choose --days anew.")
        invitation = Invitation(
            site_name=_checked_name(site_name),
            coordinator_name=settings.name,
            host=settings.host,
            port=settings.port,
            ca_certificate=self._home.certificates.ca_certificate.read_text(),
            expires=datetime.now(UTC) + timedelta(days=valid_days),
            policy=settings.policy,
            allowed_apps=(settings.app_hash,),
        )
        write_model(target, invitation)
        issued = IssuedInvitation(identifier=invitation.identifier, site=invitation.site_name, expires=invitation.expires)
        with self._changing():
            self._home.save_sites(self._home.sites().with_invitation(issued))
        return invitation

    def approve(self, request: Path) -> Site:
        """Write down that a site may take part; :meth:`register_new` makes its key known.

        Raises
        ------
        FedLiverError
            ``not-a-request``, ``unknown-invitation``, ``invitation-expired``, ``key-revoked``, ``name-taken`` (another key has that name) or ``key-taken``.
        """
        self._home.settings()
        asked = read_request(request)
        with self._changing():
            return self._approved(asked)

    def _approved(self, asked: EnrolmentRequest) -> Site:
        sites = self._home.sites()
        _check_invitation(sites, asked, datetime.now(UTC))
        known = sites.named(asked.site_name)
        if known and known.public_key != asked.public_key:
            raise FedLiverError("name-taken", f"A site named {asked.site_name} is approved already with another key: invite this one under another name.")
        if not known and any(site.public_key == asked.public_key for site in sites.sites):
            raise FedLiverError("key-taken", "This key is approved already under another name.")
        site = known or Site(name=asked.site_name, public_key=asked.public_key)
        self._home.save_sites(sites.with_site(site))
        return site

    def revoke(self, name: str) -> Revocation:
        """Write down that a site's key must not come back; :meth:`forget_revoked` makes the SuperLink forget it (FedLiverError ``no-such-site``)."""
        self._home.settings()
        with self._changing():
            return self._revoked(name)

    def _revoked(self, name: str) -> Revocation:
        sites = self._home.sites()
        site = sites.named(name)
        if site is None:
            unfinished = next((one for one in sites.revocations if one.name == name and one.node_id is not None), None)
            if unfinished is not None:
                return unfinished
            names = ", ".join(other.name for other in sites.sites) or "none"
            raise FedLiverError("no-such-site", f"No site named {name} is approved here; approved: {names}.")
        revocation = Revocation(name=site.name, public_key=site.public_key, revoked=datetime.now(UTC), node_id=site.node_id)
        self._home.save_sites(sites.with_revocation(revocation))
        return revocation

    def everybody(self, states: Mapping[str, str]) -> list[Member]:
        """Invited, approved and revoked. ``states``: what a SuperLink says of the approved sites, by name."""
        sites, now = self._home.sites(), datetime.now(UTC)
        found = [Member(site.name, states.get(site.name, "approved"), fingerprint_of(site.public_key)) for site in sites.sites]
        for invitation in {invitation.site: invitation for invitation in sites.invitations}.values():  # of each site the newest
            if sites.named(invitation.site) is None:
                until = f"{invitation.expires:%d %B %Y %H:%M} UTC"
                found.append(Member(invitation.site, f"invited until {until}" if invitation.expires > now else f"invitation expired on {until}", ""))
        revoked = (Member(one.name, f"revoked on {one.revoked:%d %B %Y %H:%M} UTC", fingerprint_of(one.public_key)) for one in sites.revocations)
        return [*found, *revoked]

    def register_new(self, superlink: SuperLink) -> None:
        """Make the keys of the approved sites known that are not yet."""
        with self._changing():  # also while the SuperLink is asked: a site that is revoked in that moment would be approved again
            for site in self._home.sites().sites:
                if site.node_id is None:
                    node_id = superlink.register(site.name, site.public_key)
                    self._home.save_sites(self._home.sites().with_site(site.model_copy(update={"node_id": node_id})))

    def forget_revoked(self, superlink: SuperLink) -> None:
        """Make the SuperLink forget the revoked keys that it still knows."""
        with self._changing():
            for revocation in self._home.sites().revocations:
                if revocation.node_id is not None:
                    superlink.unregister(revocation.node_id)
                    self._home.save_sites(self._home.sites().with_revocation(revocation.model_copy(update={"node_id": None})))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change of the members at a time, in whatever process (FedLiverError ``members-busy``)."""
        try:
            with FileLock(self._home.sites_lock, timeout=_WAIT_SECONDS):
                yield
        except Timeout as error:
            raise FedLiverError("members-busy", "Another command is changing the list of sites: let it end, then try again.") from error


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
