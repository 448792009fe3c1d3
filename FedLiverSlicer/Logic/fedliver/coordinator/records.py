"""What the coordinator writes down and reads back: its settings, its sites, its jobs, its rounds."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedliver.site.enrolment import Host, Identifier
from fedliver.site.policy import Policy, Sha256, SiteName
from fedliver.teacher.plan import TeacherPlan

_Model = TypeVar("_Model", bound=BaseModel)
MOST_ROUNDS = 1000
"""Of one run."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Settings(_Record):
    """``coordinator.json``."""

    version: Literal[1] = 1
    name: SiteName
    host: Host
    """Under which the sites reach this coordinator."""
    port: int = Field(ge=1, le=65535)
    """On which the sites reach this coordinator."""
    control_port: int = Field(ge=1, le=65535)
    """The coordinator's own door, on loopback: Flower's Control and Runtime APIs, for the operating-system user that started it."""
    proxied_port: int | None = Field(None, ge=1, le=65535)
    """The loopback port to which a reverse proxy brings the sites' requests; None where the sites come to ``port`` itself."""
    plan: TeacherPlan
    policy: Policy
    app_hash: Sha256

    @model_validator(mode="after")
    def _every_door_has_a_port_of_its_own(self) -> Self:
        ports = [port for port in (self.port, self.control_port, self.proxied_port) if port is not None]
        if len(set(ports)) < len(ports):
            raise ValueError("port, control_port and proxied_port must be different ports")
        return self


class Site(_Record):
    """An approved site. ``node_id`` is Flower's number for it, once its key is registered with the SuperLink."""

    name: SiteName
    public_key: str
    node_id: int | None = None


class IssuedInvitation(_Record):
    """An invitation that was written for a site."""

    identifier: Identifier
    site: SiteName
    expires: AwareDatetime


class Revocation(_Record):
    """A key that must not come back. ``node_id`` stands until the SuperLink has forgotten it too."""

    name: SiteName
    public_key: str
    revoked: AwareDatetime
    node_id: int | None = None


class Sites(_Record):
    """``sites.json``."""

    version: Literal[1] = 1
    sites: tuple[Site, ...] = ()
    invitations: tuple[IssuedInvitation, ...] = ()
    revocations: tuple[Revocation, ...] = ()

    def named(self, name: str) -> Site | None:
        """The site of that name, if it is approved."""
        return next((site for site in self.sites if site.name == name), None)

    def with_site(self, site: Site) -> "Sites":
        """With ``site`` added, or put in the place of the one of the same name."""
        return self.model_copy(update={"sites": (*(other for other in self.sites if other.name != site.name), site)})

    def with_invitation(self, invitation: IssuedInvitation) -> "Sites":
        """With one more invitation."""
        return self.model_copy(update={"invitations": (*self.invitations, invitation)})

    def with_revocation(self, revocation: Revocation) -> "Sites":
        """With the revoked site and its invitations gone, or with its revocation brought up to date."""
        others = (other for other in self.revocations if other.public_key != revocation.public_key)
        sites = tuple(site for site in self.sites if site.public_key != revocation.public_key)
        invitations = tuple(one for one in self.invitations if one.site != revocation.name or self.revocation_of(revocation.public_key))
        return self.model_copy(update={"sites": sites, "invitations": invitations, "revocations": (*others, revocation)})

    def revocation_of(self, public_key: str) -> Revocation | None:
        """The revocation of that key."""
        return next((found for found in self.revocations if found.public_key == public_key), None)


class Job(_Record):
    """What one run is to do: ``jobs/<id>/job.json``, written before the run starts, read by the ServerApp."""

    job: str = Field(pattern=r"^[0-9a-z-]{1,64}$")
    rounds: int = Field(ge=1, le=MOST_ROUNDS)
    policy: Policy
    plan: TeacherPlan


class SiteUpdate(_Record):
    """What one site did in one round."""

    site: str
    cases: int = 0
    unlabelled: int = 0
    """Scans without approval that trained the update too."""
    weight: float = 0.0
    """Share of the mean, 0 to 1; 0 for a site that gave no usable update."""
    megabytes_up: float = 0.0
    megabytes_down: float = 0.0
    seconds: float = 0.0
    """From sending the model to receiving the update."""
    training_seconds: float = 0.0
    loss: float | None = None
    dice: float | None = None
    """Liver Dice, on the site's held-out cases, of the model that the site *received* in this round: the aggregate of the round before."""
    dice_cases: int = 0
    norm: float | None = None
    """Length of its change of the weights (Euclidean norm), where it was looked at."""
    model: int | None = None
    """The model that the site has for certain, since it answered with an update of it or took its delivery."""
    refused: str = ""
    """Why the update was not used, in words; empty when it was."""


class MaskedSum(_Record):
    """What the sites of a masked round say together. What one of them said nobody knows."""

    sites: int
    cases: int
    unlabelled: int = 0
    loss: float | None = None
    """The mean over the sites that told one."""
    dice: float | None = None
    """As :attr:`SiteUpdate.dice`; the mean over the sites that told one."""


class RoundRecord(_Record):
    """One line of ``rounds.jsonl``.

    ``kind`` is ``delivery`` for the message after the last round, which only brings the sites the last aggregate, and ``rollback`` where nobody trained: the
    model of an earlier round, :attr:`back_to`, was made the newest one.
    """

    kind: Literal["round", "delivery", "rollback"] = "round"
    job: str
    round: int = Field(ge=1)
    finished: float = Field(default_factory=time.time)
    seconds: float
    aggregated: bool
    updates: tuple[SiteUpdate, ...]
    summed: MaskedSum | None = None
    """Where the updates were masked: then ``updates`` say who took part, and no numbers."""
    teacher: str = ""
    """The bundle's folder name under ``teachers/``."""
    back_to: int | None = Field(None, ge=0)
    """Of a rollback."""


class RunEvent(_Record):
    """One line of a job's ``events.jsonl``: what a person watching the run sees."""

    time: float = Field(default_factory=time.time)
    kind: Literal["warning", "waiting", "round", "update", "aggregated", "delivered", "finished", "failed"]
    round: int = 0
    rounds: int = 0
    """The number of the run's last round."""
    sentence: str
    update: SiteUpdate | None = None
    record: RoundRecord | None = None


def append_line(path: Path, record: BaseModel) -> None:
    """Append one JSON line in one write, synced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (record.model_dump_json() + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_rounds(path: Path) -> list[RoundRecord]:
    """Every whole record of ``rounds.jsonl``, oldest first."""
    records, _ = _read_lines(path, 0, RoundRecord)
    return records


def held_models(records: Iterable[RoundRecord]) -> dict[str, int]:
    """By site, the number of the newest model that it is known to have."""
    return {update.site: update.model for record in records for update in record.updates if update.model is not None}


def usual_norm(records: Iterable[RoundRecord], number: int) -> float | None:
    """The median length of the updates that made the model of that round; None if there are none."""
    made = [record for record in records if record.kind == "round" and record.round == number and record.aggregated]
    norms = [update.norm for update in made[-1].updates if update.norm is not None and not update.refused] if made else []
    return median(norms) if norms else None


class EventTail:
    """The events appended since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[RunEvent]:
        """The new events, oldest first."""
        events, self._offset = _read_lines(self._path, self._offset, RunEvent)
        return events


def _read_lines(path: Path, offset: int, model: type[_Model]) -> tuple[list[_Model], int]:
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            content = stream.read()
    except FileNotFoundError:
        return [], 0
    whole = content[: content.rfind(b"\n") + 1]
    found = []
    for line in whole.splitlines():
        try:
            found.append(model.model_validate_json(line))
        except ValidationError:
            continue
    return found, offset + len(whole)
