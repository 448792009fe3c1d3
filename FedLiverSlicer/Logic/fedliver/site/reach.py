"""The connection test: every step from this machine to the coordinator, one after the other, each in words. Starts nothing and changes nothing."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedliver import __version__
from fedliver.errors import FedLiverError
from fedliver.site.connection import check_clock, check_connection, check_name, check_port, check_versions, proxy_of, read_health
from fedliver.site.enrolment import Invitation
from fedliver.site.environment import find_python, flower_variables
from fedliver.site.link import Link

PROBE = "fedliver.federation.probe"
_PROBE_SECONDS = 60.0
KEY_WORDS = {
    "unknown": f"{Link.REFUSED.value[0].upper()}{Link.REFUSED.value[1:]}.",
    "signature": "The coordinator refused this site's signature: check this machine's clock; if it is right, enrol again.",
    "error": "The coordinator did not answer as expected when this site showed its key: ask it to look into its log.",
}
"""What to say of the coordinator's answer to this site's key, where it is not "known"."""


@dataclass(frozen=True)
class Step:
    """One step and how it went."""

    name: str
    ok: bool
    sentence: str


def examine_connection(home: Path, invitation: Invitation, ask_about_key: Callable[[Path], str] | None = None) -> Iterator[Step]:
    """The steps, in order; the first that fails is the last.

    Parameters
    ----------
    ask_about_key:
        Whether the coordinator knows this site's key: "known", "unknown", "signature" or "error". A seam for tests.
    """
    host, port, ca = invitation.host, invitation.port, invitation.ca_certificate
    proxy = proxy_of(host)
    ask = ask_about_key or probe

    def way() -> str:
        return f"Requests go through the proxy {proxy[0]}:{proxy[1]}." if proxy else f"The name {host} is {check_name(host)}."

    def door() -> str:
        check_port(*(proxy or (host, port)))
        return f"The proxy answers, to bring us to port {port}." if proxy else f"Port {port} answers."

    def certificate() -> str:
        check_connection(host, port, ca)
        return f"It speaks TLS and holds a certificate of {invitation.coordinator_name}'s authority."

    def coordinator() -> str:
        health = read_health(host, port, ca)
        check_clock(health)
        ahead = health.clock_ahead_seconds
        return "The coordinator answers" + (f"; the clocks agree to {abs(ahead):.0f} s." if ahead is not None else ".")

    def version() -> str:
        health = read_health(host, port, ca)
        check_versions(health, __version__)
        return f"Both run fedliver {__version__}; its Flower is {health.flower}."

    def key() -> str:
        answer = ask(home)
        if answer != "known":
            raise FedLiverError("refused-key", KEY_WORDS.get(answer, KEY_WORDS["error"]))
        return "The coordinator knows this site's key."

    steps = (("Way", way), ("Port", door), ("Certificate", certificate), ("Coordinator and clock", coordinator), ("Version", version), ("Key", key))
    for name, step in steps:
        try:
            yield Step(name, True, step())
        except FedLiverError as error:
            yield Step(name, False, error.sentence)
            return


def probe(home: Path) -> str:
    """Show this site's key to the coordinator, in the federation's own environment. It joins nothing."""
    python = find_python(home)
    try:
        done = subprocess.run(
            [python, "-m", PROBE, str(home)],
            env=flower_variables(python, home / "federation" / "flower"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
        return str(json.loads(done.stdout)["key"])
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return "error"
