"""Whether a coordinator can be reached, and whether it and this machine agree on time and version, in words, before any process is started."""

import http.client
import socket
import ssl
import time
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from fedliver.errors import FedLiverError

VERSION_HEADER, FLOWER_HEADER = "fedliver-version", "fedliver-flower"
"""What a coordinator's ``/health`` answers with beside the time."""

_SELF_SIGNED = (18, 19, 20, 21)
_NOT_YET_VALID, _EXPIRED = 9, 10
_HOSTNAME_MISMATCH = (62, 64)
_AHEAD_SECONDS, _BEHIND_SECONDS = 5.0, 300.0
"""How far a site's clock may be off before Flower 1.41 refuses its signatures (``flwr.common.constant``, SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE)."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Health:
    """What a coordinator says about itself."""

    clock_ahead_seconds: float | None
    """How far this machine's clock is ahead of the coordinator's; None if it does not tell the time."""
    version: str
    """Its ``fedliver``, empty if it does not say."""
    flower: str


def proxy_of(host: str) -> tuple[str, int] | None:
    """The proxy through which this machine's environment sends web requests to ``host``, Flower's among them; None for a direct way."""
    if host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    named = proxies.get("https") or proxies.get("all")
    if not named:
        return None
    parts = urlsplit(named if "://" in named else f"http://{named}")
    return (parts.hostname, parts.port or 80) if parts.hostname else None


def check_name(host: str) -> str:
    """Resolve a name (``name-unknown``); the first address."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except (socket.gaierror, UnicodeError) as error:
        raise FedLiverError(
            "name-unknown", f"The name {host} cannot be resolved: check the network (and VPN) and the coordinator's address in the invitation."
        ) from error


def check_port(host: str, port: int, timeout: float = 5.0) -> None:
    """Open the port and close it again (``port-closed``, ``connection``). Behind a proxy there is nothing to open here."""
    try:
        socket.create_connection((host, port), timeout=timeout).close()
    except OSError as error:
        raise _not_reached(error, host, port) from error


def check_connection(host: str, port: int, ca_certificate: str, timeout: float = 5.0) -> None:
    """Resolve the name, open the port, and speak TLS with a server whose certificate ``ca_certificate`` (PEM) vouches for, through the proxy if there is one.

    Raises
    ------
    FedLiverError
        ``name-unknown``, ``port-closed``, ``proxy``, ``wrong-ca``, ``wrong-address``, ``certificate-expired``, ``clock``, ``no-tls`` or ``connection``.
    """
    _connected(host, port, ca_certificate, timeout).close()


def read_health(host: str, port: int, ca_certificate: str, timeout: float = 5.0) -> Health:
    """Ask the coordinator's ``/health``.

    Raises
    ------
    FedLiverError
        As :func:`check_connection`, or ``not-a-coordinator``.
    """
    connection = _connected(host, port, ca_certificate, timeout)
    try:
        asked = time.time()
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read(1024)
    except (OSError, http.client.HTTPException) as error:
        raise FedLiverError("not-a-coordinator", f"What answers at {host}:{port} ends the connection: ask the coordinator whether it is started.") from error
    finally:
        connection.close()
    if answer.status in (502, 503, 504):
        raise FedLiverError(
            "not-a-coordinator", f"A reverse proxy answers at {host}:{port}, but the coordinator behind it does not: ask whether it is started."
        )
    if answer.status != 200:
        raise FedLiverError("not-a-coordinator", f"What answers at {host}:{port} is no coordinator (HTTP {answer.status}): check the address.")
    return Health(_ahead(answer.headers.get("Date"), asked), *(str(answer.headers.get(name, ""))[:40] for name in (VERSION_HEADER, FLOWER_HEADER)))


def check_clock(health: Health) -> None:
    """Raise FedLiverError ``clock`` if this machine's clock is so far from the coordinator's that every signature of this site would be refused."""
    ahead = health.clock_ahead_seconds
    if ahead is not None and (ahead > _AHEAD_SECONDS or ahead < -_BEHIND_SECONDS):
        direction = "ahead of" if ahead > 0 else "behind"
        raise FedLiverError(
            "clock",
            f"This machine's clock is {_span(abs(ahead))} {direction} the coordinator's, which would refuse this site: set it right (NTP), or the other.",
        )


def check_versions(health: Health, own: str) -> None:
    """Raise FedLiverError ``version`` if the coordinator runs another version of ``fedliver`` than ``own``: major and minor number must match."""
    if not health.version:
        raise FedLiverError("version", f"The coordinator does not tell its version; this site runs fedliver {own}: ask the coordinator to update.")
    if health.version.split(".")[:2] != own.split(".")[:2]:
        raise FedLiverError("version", f"The coordinator runs fedliver {health.version} and this site {own}: install the same version on both.")


def _connected(host: str, port: int, ca_certificate: str, timeout: float) -> http.client.HTTPSConnection:
    proxy = proxy_of(host)
    if proxy is None:
        check_name(host)
    context = ssl.create_default_context(cadata=ca_certificate)
    connection = http.client.HTTPSConnection(*(proxy or (host, port)), context=context, timeout=timeout)
    if proxy is not None:
        connection.set_tunnel(host, port)
    try:
        connection.connect()
        return connection
    except ssl.SSLCertVerificationError as error:
        raise _certificate_in_words(error, host) from error
    except ssl.SSLError as error:
        raise FedLiverError("no-tls", f"What answers at {host}:{port} does not speak TLS: it is no coordinator of ours, or a proxy stands between.") from error
    except OSError as error:
        if proxy is not None:
            raise FedLiverError(
                "proxy",
                f"The proxy {proxy[0]}:{proxy[1]} does not let this machine through to {host}:{port} ({error.strerror or error}):"
                " ask your network department to allow it, or to name the coordinator in NO_PROXY.",
            ) from error
        raise _not_reached(error, host, port) from error


def _not_reached(error: OSError, host: str, port: int) -> FedLiverError:
    if isinstance(error, TimeoutError):
        return FedLiverError("port-closed", f"{host}:{port} does not answer: a firewall may block the port; ask your network department to open it.")
    if isinstance(error, ConnectionRefusedError):
        return FedLiverError("port-closed", f"No coordinator answers at {host}:{port}: ask whether it is started, and on that port.")
    return FedLiverError("connection", f"{host}:{port} cannot be reached ({error.strerror or 'connection ended'}): check the network.")


def _ahead(date: str | None, asked: float) -> float | None:
    """The header is cut to whole seconds: half of one is the best guess of what it lacks."""
    if not date:
        return None
    try:
        return (asked + time.time()) / 2 - parsedate_to_datetime(date).timestamp() - 0.5
    except ValueError:
        return None


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"


def _certificate_in_words(error: ssl.SSLCertVerificationError, host: str) -> FedLiverError:
    code = error.verify_code
    if code in _HOSTNAME_MISMATCH:
        return FedLiverError(
            "wrong-address", f"The coordinator's certificate was made for another address than {host}: ask for an invitation to the address it was made for."
        )
    if code == _EXPIRED:
        return FedLiverError("certificate-expired", "The coordinator's certificate has expired (or this machine's clock is ahead): tell the coordinator.")
    if code == _NOT_YET_VALID:
        return FedLiverError("clock", "The coordinator's certificate is not valid yet: this machine's clock is behind; set it right.")
    if code in _SELF_SIGNED:
        return FedLiverError(
            "wrong-ca",
            f"The server at {host} does not hold a certificate of the coordinator who invited you (or a proxy opens the connection): do not join; ask them.",
        )
    return FedLiverError("wrong-ca", f"The certificate of the server at {host} cannot be trusted ({error.verify_message}): ask the coordinator.")
