"""What the door asks of every request before anything else looks at it, and what it says with every answer."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

from fedliver.errors import FedLiverError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_FOREIGN = ("cross-site", "same-site")  # same-site: another port of this machine, which is another program


@dataclass(frozen=True)
class Address:
    """Where the door listens. ``names``: the names that it may be called by, from the certificate where there is one; ``*.`` is a wildcard."""

    names: tuple[str, ...]
    port: int
    tls: bool = False

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def home(self) -> str:
        """The address to open, without the token."""
        return f"{self.scheme}://{self._called(self.names[0])}"

    @property
    def cookie(self) -> str:
        """The session cookie's name. A cookie is for all ports of a host, so the port is in its name; ``__Host-`` binds it to this very host."""
        return f"{'__Host-' if self.tls else ''}fedliver-{self.port}"

    def is_called(self, host: str) -> bool:
        """Whether the Host header ``host`` names this door. A page elsewhere can make its own name mean this machine (DNS rebinding), but not change it."""
        return any(fnmatch.fnmatchcase(host.lower(), _literal(self._called(name))) for name in self.names)

    def is_own_origin(self, origin: str) -> bool:
        scheme, _, host = origin.partition("://")
        return scheme == self.scheme and self.is_called(host)

    def _called(self, name: str) -> str:
        usual = 443 if self.tls else 80
        return name if self.port == usual else f"{name}:{self.port}"


def check_request(address: Address, method: str, headers: Mapping[str, str], *, is_socket: bool) -> None:
    """Let pass what a browser that shows this door's own page sends.

    Raises
    ------
    FedLiverError
        ``wrong-host``, ``wrong-origin`` or ``wrong-method``.
    """
    if not address.is_called(headers.get("Host", "")):
        raise FedLiverError("wrong-host", f"This workbench does not answer to that name: open {address.home}, with the token that was printed.")
    if method not in ("GET", "HEAD", "POST"):
        raise FedLiverError("wrong-method", "The workbench does not understand this kind of request.")
    origin = headers.get("Origin")
    changes_something = is_socket or method == "POST"
    if (origin is None and changes_something) or (origin is not None and not address.is_own_origin(origin)):
        raise FedLiverError("wrong-origin", "Only the workbench's own page may ask this: another page tried.")
    navigates = headers.get("Sec-Fetch-Mode") == "navigate" and method == "GET"
    if headers.get("Sec-Fetch-Site") in _FOREIGN and not navigates:
        raise FedLiverError("wrong-origin", "Only the workbench's own page may ask this: another page tried.")


def security_headers(address: Address) -> dict[str, str]:
    """What every answer carries.

    Vue compiles the page's templates in the browser, hence ``unsafe-eval``; Vuetify writes styles into the page. No script stands in the
    page itself, nothing comes from another host, and no other page may frame this one.
    """
    socket = address.home.replace("http", "ws", 1)
    policy = (
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "script-src-attr 'none'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        f"connect-src 'self' {socket}",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'self'",
        "frame-ancestors 'none'",
    )
    found = {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        "Cache-Control": "no-store",
    }
    if address.tls:
        found["Strict-Transport-Security"] = "max-age=31536000"
    return found


def _literal(name: str) -> str:
    """``name`` as a pattern in which only a leading ``*.`` is a wildcard."""
    head, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    return head + rest.lower().replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
