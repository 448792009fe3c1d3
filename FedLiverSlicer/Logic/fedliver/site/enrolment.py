"""The two files of an enrolment: the coordinator's invitation, and the site's request. Neither holds a secret."""

import ipaddress
import re
import secrets
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fedliver.errors import FedLiverError
from fedliver.files import write_text
from fedliver.site.keys import check_public_key
from fedliver.site.policy import Policy, Sha256, SiteName

_LARGEST = 64 * 1024
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
Identifier = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


def _one_machine(host: str) -> str:
    """Refuses what the pattern lets through and no site could ever reach: a port after the name, 10.0.0.300, 0.0.0.0."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        if labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
            raise ValueError("neither a name nor an IP address") from None
    else:
        if address.is_unspecified or address.is_multicast:
            raise ValueError("not the address of one machine")
    return host


Host = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:-]+$"), AfterValidator(_one_machine)]
"""A name or an IP address under which a coordinator is reached; no scheme, no port."""


class Invitation(BaseModel):
    """What a site needs to know to find and trust one coordinator."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["fedliver-invitation"] = "fedliver-invitation"
    version: Literal[1] = 1
    identifier: Identifier = Field(default_factory=lambda: secrets.token_hex(16))
    """The request names it, so that the coordinator knows which invitation is answered. No secret: it opens nothing."""
    site_name: SiteName
    coordinator_name: SiteName
    host: Host
    port: int = Field(ge=1, le=65535)
    ca_certificate: str = Field(max_length=16_384)
    expires: AwareDatetime
    policy: Policy
    allowed_apps: tuple[Sha256, ...] = Field(min_length=1, max_length=16)
    """SHA-256 of the Flower app bundles that this site agrees to run."""

    @property
    def address(self) -> str:
        """``host:port`` as Flower takes it; IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class EnrolmentRequest(BaseModel):
    """The site's answer: who it is and the public half of its key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["fedliver-enrolment-request"] = "fedliver-enrolment-request"
    version: Literal[1] = 1
    invitation: Identifier
    """The invitation that it answers."""
    site_name: SiteName
    public_key: str = Field(max_length=1024)


_Model = TypeVar("_Model", bound=BaseModel)


def _read(path: Path, model: type[_Model], code: str, sentence: str) -> _Model:
    """Read a small JSON file that came from outside: its size is checked first, and nothing in it is executed."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise FedLiverError(code, f"There is no file {path}.") from error
    except OSError as error:
        raise FedLiverError(code, f"{path} cannot be read: {error.strerror}.") from error
    try:
        if len(content) > _LARGEST:
            raise ValueError("too large")
        return model.model_validate_json(content)
    except (ValidationError, ValueError) as error:
        raise FedLiverError(code, f"{path.name} {sentence}") from error


def read_invitation(path: Path, now: datetime | None = None) -> Invitation:
    """Read and check an invitation file.

    Raises
    ------
    FedLiverError
        ``not-an-invitation`` (unreadable, too large, not JSON, damaged) or ``invitation-expired``.
    """
    wrong = "is not an invitation to a federation: ask the coordinator to send the file again."
    invitation = _read(path, Invitation, "not-an-invitation", wrong)
    try:
        ssl.create_default_context(cadata=invitation.ca_certificate)
    except (ssl.SSLError, ValueError) as error:
        raise FedLiverError("not-an-invitation", f"{path.name} {wrong}") from error
    if invitation.expires <= (now or datetime.now(UTC)):
        raise FedLiverError("invitation-expired", f"The invitation expired on {invitation.expires:%d %B %Y at %H:%M} UTC: ask the coordinator for a new one.")
    return invitation


def accepted_invitation(path: Path) -> Invitation:
    """The invitation that a site accepted when it enrolled (``SiteFiles.invitation``); its date no longer matters. Raises OSError or ValueError: what that
    means is the caller's to say."""
    return Invitation.model_validate_json(path.read_bytes())


def read_request(path: Path) -> EnrolmentRequest:
    """Read and check a site's enrolment request (``not-a-request``)."""
    wrong = "is not an enrolment request: ask the site to enrol again and send the file that it wrote."
    request = _read(path, EnrolmentRequest, "not-a-request", wrong)
    try:
        check_public_key(request.public_key)
    except ValueError as error:
        raise FedLiverError("not-a-request", f"{path.name} {wrong}") from error
    return request


def write_model(path: Path, model: BaseModel) -> None:
    """Write a model as JSON, whole or not at all."""
    write_text(path, model.model_dump_json(indent=2) + "\n")
