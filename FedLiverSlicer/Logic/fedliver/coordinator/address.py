"""Under which name, host and ports a coordinator is reached: checked before anything is made of it, and changed later without a new federation."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from fedliver.coordinator.certificates import renew_server_certificate
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import Settings, Sites
from fedliver.errors import FedLiverError
from fedliver.site.enrolment import write_model
from fedliver.site.federation import free_port


@dataclass(frozen=True)
class AddressChange:
    """What a change left behind."""

    settings: Settings
    old_address: tuple[str, ...]
    """The sites, approved or with an invitation that is still good, that know this coordinator under an address at which it no longer is."""


def checked_settings(values: Mapping[str, object]) -> Settings:
    """The settings with these values.

    Raises
    ------
    FedLiverError
        ``bad-name``, ``bad-host``, ``bad-port`` or ``same-port``.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise _in_words(error) from error


def chosen_ports(port: int, control_port: int, proxied_port: int | None) -> dict[str, int | None]:
    """The ports as the settings have them: for 0 a free one that is none of the others."""
    port = port or _free_port_beside(control_port, proxied_port)
    control_port = control_port or _free_port_beside(port, proxied_port)
    return {"port": port, "control_port": control_port, "proxied_port": proxied_port}


def change_address(
    home: CoordinatorHome, *, host: str | None = None, port: int | None = None, control_port: int | None = None, proxied_port: int | None = None
) -> AddressChange:
    """Give a coordinator that is not started another address; None keeps what is. Authority, sites, models and rounds stay.

    Parameters
    ----------
    host:
        The server's certificate is renewed for it, also where it is the same as before.
    port, control_port:
        0 picks a free one.
    proxied_port:
        0 for none: the sites come to ``port`` itself again.

    Raises
    ------
    FedLiverError
        ``nothing-to-change``, or as :func:`checked_settings`, :func:`~fedliver.coordinator.certificates.renew_server_certificate` and
        :meth:`~fedliver.coordinator.home.CoordinatorHome.settings`.
    """
    before = home.settings()
    if host is None and port is None and control_port is None and proxied_port is None:
        raise FedLiverError("nothing-to-change", "Nothing to change: give --host, --port, --control-port or --proxied-port.")
    ports = chosen_ports(
        before.port if port is None else port,
        before.control_port if control_port is None else control_port,
        before.proxied_port if proxied_port is None else proxied_port or None,
    )
    settings = checked_settings({**dict(before), **ports, "host": before.host if host is None else host})
    if host is not None:
        renew_server_certificate(home.certificates, settings.host, settings.name)
    write_model(home.settings_file, settings)  # last: where this is cut short, the same command again makes it whole
    moved = (settings.host, settings.port) != (before.host, before.port)
    return AddressChange(settings, _invited_or_approved(home.sites()) if moved else ())


def _invited_or_approved(sites: Sites) -> tuple[str, ...]:
    now = datetime.now(UTC)
    invited = (invitation.site for invitation in sites.invitations if invitation.expires > now)
    return tuple(dict.fromkeys([*(site.name for site in sites.sites), *invited]))


def _free_port_beside(*others: int | None) -> int:
    while (port := free_port()) in others:
        pass
    return port


def _in_words(error: ValidationError) -> FedLiverError:
    first = error.errors()[0]
    field, given = (str(first["loc"][0]) if first["loc"] else ""), str(first["input"])[:60]
    match field:
        case "name":
            return FedLiverError("bad-name", "A coordinator's name may have letters, digits, spaces and . , ( ) & ' + - only, 1 to 60 of them (--name).")
        case "host":
            wanted = "give --host as the sites will use it, without http:// and without a port"
            return FedLiverError("bad-host", f"{given!r} is no name or IP address of a machine: {wanted}.")
        case "port" | "control_port" | "proxied_port":
            return FedLiverError("bad-port", f"--{field.replace('_', '-')} cannot be {given}: a port is a number from 1 to 65535.")
        case "":
            return FedLiverError("same-port", "--port, --control-port and --proxied-port must be different ports: each is another door.")
    raise error
