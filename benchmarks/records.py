"""What a benchmark writes down, and the Markdown table made of it."""

import os
import platform
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

PACKAGES = ("fedliver", "torch", "monai", "SimpleITK", "numpy", "openvino", "onnxruntime")

Scope = Literal["whole", "network"]
WHOLE, NETWORK = "fedliver-whole", "fedliver-network"


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(Record):
    """Where it was measured. The load averages tell whether something else was running; they are of the last minute."""

    processor: str
    cores: int
    usable_cores: int
    memory_gb: float | None
    system: str
    python: str
    load_before: float | None
    load_after: float | None = None

    @classmethod
    def here(cls) -> Self:
        return cls(
            processor=_processor(),
            cores=os.cpu_count() or 1,
            usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            memory_gb=_memory_gb(),
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            python=platform.python_version(),
            load_before=load_average(),
        )

    @property
    def slug(self) -> str:
        words = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(r\)|\(tm\)|cpu|processor|@.*", " ", self.processor.lower())).strip("-")
        return f"{words[:40].strip('-')}-{self.usable_cores}-cores"


class Scan(Record):
    """The CT that everything is measured on."""

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    liver_ml: float
    source: str


class Timing(Record):
    """Seconds of one thing: of each repetition, first to last. ``extrapolated``: scaled from a part of the work, ``how`` says from which."""

    key: str
    scope: Scope
    what: str
    seconds: tuple[float, ...]
    peak_mb: float | None = None
    extrapolated: bool = False
    how: str = ""

    @property
    def typical(self) -> float:
        return median(self.seconds)


class Results(Record):
    """One run of the benchmark."""

    schema_version: Literal[1] = 1
    at: datetime
    quick: bool
    machine: Machine
    threads: int
    versions: dict[str, str]
    teacher: str
    scan: Scan
    long_scan: Scan
    timings: tuple[Timing, ...]
    left_out: tuple[str, ...] = ()

    def timing(self, key: str) -> Timing | None:
        return next((timing for timing in self.timings if timing.key == key), None)

    def times_ours(self, timing: Timing) -> float | None:
        """How many times as long as ours over the same scope."""
        ours = self.timing(WHOLE if timing.scope == "whole" else NETWORK)
        return timing.typical / ours.typical if ours and ours.typical > 0 else None

    def rows(self, scope: Scope) -> Iterator[tuple[str, str, str, str, str]]:
        """What, seconds, times ours, peak memory, how: as text."""
        for timing in self.timings:
            if timing.scope != scope:
                continue
            ratio = self.times_ours(timing)
            seconds = f"{timing.typical:.1f}" if len(timing.seconds) == 1 else f"{timing.typical:.1f} ({min(timing.seconds):.1f} to {max(timing.seconds):.1f})"
            yield (
                timing.what,
                f"{seconds}, extrapolated" if timing.extrapolated else seconds,
                "–" if ratio is None else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}",
                "–" if timing.peak_mb is None else f"{timing.peak_mb:.0f}",
                timing.how,
            )

    def markdown(self) -> str:
        """The table for people; every number in it is from this record."""
        machine = self.machine
        memory = f", {machine.memory_gb:.0f} GB" if machine.memory_gb else ""
        lines = [
            f"# Inference speed, {self.at:%Y-%m-%d}: {machine.processor}",
            "",
            *(["**A quick run on a small scan, to see that the benchmark works: its numbers mean nothing.**", ""] if self.quick else []),
            f"{machine.processor}, {machine.usable_cores} of {machine.cores} cores usable, {self.threads} threads{memory}; {machine.system}; no GPU used.",
            f"Load average {_number(machine.load_before)} before and {_number(machine.load_after)} after.",
            f"Python {machine.python}; " + ", ".join(f"{name} {number}" for name, number in self.versions.items()) + ".",
            f"Teacher: {self.teacher}. CT: {_scan_text(self.scan)}; the long one: {_scan_text(self.long_scan)}.",
            "Seconds are medians over repetitions, fastest to slowest in brackets. Weights of nnU-Net are random: they do not change its time.",
        ]
        for scope, heading in (("whole", "From scan to segmentation"), ("network", "Networks alone")):
            lines += ["", f"## {heading}", "", "| what | seconds | times ours | peak memory, MB | how |", "|---|---|---|---|---|"]
            lines += [f"| {' | '.join(row)} |" for row in self.rows(scope)]
        if self.left_out:
            lines += ["", "## Left out", "", *(f"- {sentence}" for sentence in self.left_out)]
        return "\n".join(lines) + "\n"


def installed_versions() -> dict[str, str]:
    """The versions of what is installed of :data:`PACKAGES`."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def now() -> datetime:
    return datetime.now(UTC)


def load_average() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    return None


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _scan_text(scan: Scan) -> str:
    return f"{' x '.join(map(str, scan.size))} voxels of {' x '.join(f'{s:g}' for s in scan.spacing_mm)} mm, liver {scan.liver_ml:.0f} ml ({scan.source})"
