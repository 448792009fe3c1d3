"""A coordinator and its sites in network namespaces of their own, and the commands that an IT department types there. Links can be slow, cut, or deaf.

Needs root on Linux, with ``ip`` and ``tc``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fedliver.coordinator.home import CoordinatorHome

ADDRESS = "10.77.0.1"
COORDINATOR = "C"


@dataclass(frozen=True)
class Speed:
    """Of a site's link, in Mbit/s."""

    up: float
    down: float


@dataclass
class Network:
    """A namespace for the coordinator and one for each site, each with a link to the coordinator's."""

    sites: Sequence[str]
    speed: Speed | None = None
    prefix: str = field(default_factory=lambda: f"fl{os.getpid() % 10_000}")

    def name(self, who: str) -> str:
        return f"{self.prefix}{who.lower()}"

    def make(self) -> None:
        for who in (COORDINATOR, *self.sites):
            do("ip", "netns", "add", self.name(who))
            self.inside(who, "ip", "link", "set", "lo", "up")
        self.inside(COORDINATOR, "ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
        for number, site in enumerate(self.sites, start=1):
            here, there = f"{self.prefix}c{number}", self._device(site)
            do("ip", "link", "add", here, "netns", self.name(COORDINATOR), "type", "veth", "peer", "name", there, "netns", self.name(site))
            for who, device, address in ((COORDINATOR, here, f"10.77.{number}.1/24"), (site, there, f"10.77.{number}.2/24")):
                self.inside(who, "ip", "address", "add", address, "dev", device)
                self.inside(who, "ip", "link", "set", device, "up")
            self._route(site)
            if self.speed:
                self._slow(site, there, self.speed.up)
                self._slow(COORDINATOR, here, self.speed.down)

    def remove(self) -> None:
        for who in (COORDINATOR, *self.sites):
            subprocess.run(["ip", "netns", "delete", self.name(who)], check=False, capture_output=True)

    def command(self, who: str, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.name(who), *command]

    def inside(self, who: str, *command: str) -> str:
        return do(*self.command(who, *command))

    def processes(self, who: str) -> list[int]:
        """The PIDs of everything that runs there."""
        return [int(pid) for pid in do("ip", "netns", "pids", self.name(who)).split()]

    def megabytes(self, site: str) -> tuple[float, float]:
        """Up and down so far, on a site's interface."""
        (link,) = json.loads(self.inside(site, "ip", "-json", "-statistics", "link", "show", "dev", self._device(site)))
        return link["stats64"]["tx"]["bytes"] / 1e6, link["stats64"]["rx"]["bytes"] / 1e6

    def cut(self, site: str) -> None:
        """Nothing passes any more, either way; nobody is told."""
        self.deafen(site)
        self.inside(site, "ip", "route", "add", "blackhole", f"{ADDRESS}/32", "metric", "0")

    def deafen(self, site: str) -> None:
        """The site still reaches the coordinator; what the coordinator answers is lost."""
        self.inside(COORDINATOR, "ip", "route", "add", "blackhole", f"{self._address(site)}/32")

    def mend(self, site: str) -> None:
        for who, address in ((COORDINATOR, self._address(site)), (site, ADDRESS)):
            with suppress(RuntimeError):  # it may not have been cut on this side
                self.inside(who, "ip", "route", "delete", "blackhole", f"{address}/32")

    def _address(self, site: str) -> str:
        return f"10.77.{self.sites.index(site) + 1}.2"

    def _device(self, site: str) -> str:
        return f"{self.prefix}s{self.sites.index(site) + 1}"

    def _route(self, site: str) -> None:
        self.inside(site, "ip", "route", "add", f"{ADDRESS}/32", "via", f"10.77.{self.sites.index(site) + 1}.1", "metric", "10")

    def _slow(self, who: str, device: str, mbit: float) -> None:
        self.inside(who, "tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{mbit}mbit", "burst", "32kb", "latency", "400ms")


def do(*command: str, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Federation:
    """A coordinator and its sites below one folder, each driven by its own commands in its own namespace."""

    def __init__(self, root: Path, network: Network) -> None:
        self.root = root
        self.network = network
        self.home = CoordinatorHome(root / COORDINATOR)

    def command(self, who: str, *arguments: str) -> list[str]:
        program = [sys.executable, "-c", "from fedliver.cli.main import main; main()", *arguments, "--home", str(self.root / who)]
        return self.network.command(who, *program)

    def fedliver(self, who: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        return do(*self.command(who, *arguments), environment=environment)

    def begin(self, steps: int, teacher: Path | None) -> None:
        """A coordinator that runs, and sites that have joined it. Their cases must be there."""
        options = ["--teacher", str(teacher)] if teacher else []
        self.fedliver(COORDINATOR, "coordinator", "init", "--host", ADDRESS, "--port", "8443", "--steps", str(steps), *options)
        self.fedliver(COORDINATOR, "coordinator", "start")
        for site in self.network.sites:
            self.enrol(site)
            self.fedliver(site, "site", "join")

    def enrol(self, site: str) -> None:
        invitation, request = self.root / f"{site}.json", self.root / f"{site}-request.json"
        for file in (invitation, request):
            file.unlink(missing_ok=True)
        self.fedliver(COORDINATOR, "coordinator", "invite", f"Hospital {site}", "-o", str(invitation))
        self.fedliver(site, "site", "enrol", str(invitation), "-o", str(request))
        self.fedliver(COORDINATOR, "coordinator", "approve", str(request))

    def end(self) -> None:
        for who, words in (*((site, ("site", "leave")) for site in self.network.sites), (COORDINATOR, ("coordinator", "stop"))):
            with suppress(RuntimeError):  # it may never have begun
                self.fedliver(who, *words)
