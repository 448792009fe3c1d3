"""What the benchmark of the workbench in the browser writes down, and the table made of it."""

import re
from datetime import datetime
from statistics import median
from typing import Literal

from records import Machine, Record, Scan

TARGETS = {"picture": 8.0, "rate": 10.0, "stroke": 0.150}
_TABLE = re.compile(r"(<!-- benchmarks/browser_speed\.py writes this -->\n).*?(<!-- end -->)", re.DOTALL)


def with_table(page: str, table: str) -> str:
    """``page``, in Markdown, with ``table`` in the place of the one between its two comments."""
    written, count = _TABLE.subn(lambda found: f"{found[1]}{table}{found[2]}", page)
    if count != 1:
        raise ValueError("the page has no place for the table")
    return written


class BrowserRun(Record):
    """One page, opened anew. ``page_seconds``: from the reload to the panel. ``open_seconds``: from the choice of the file (uploaded compressed) to the CT
    in the axial view. ``stroke_seconds``: from the press of the mouse to the colour under it, stroke by stroke; ``kept_seconds``: from letting go until it
    is in the segmentation."""

    page_seconds: float
    open_seconds: float
    pictures_per_second: float
    stroke_seconds: tuple[float, ...]
    kept_seconds: tuple[float, ...]


class BrowserSpeed(Record):
    """One run of the benchmark."""

    schema_version: Literal[1] = 1
    at: datetime
    quick: bool
    machine: Machine
    versions: dict[str, str]
    scan: Scan
    runs: tuple[BrowserRun, ...]

    @property
    def picture_seconds(self) -> float:
        return median(run.page_seconds + run.open_seconds for run in self.runs)

    @property
    def rate(self) -> float:
        return median(run.pictures_per_second for run in self.runs)

    @property
    def stroke_seconds(self) -> float:
        return median(seconds for run in self.runs for seconds in run.stroke_seconds)

    @property
    def kept_seconds(self) -> float:
        return median(seconds for run in self.runs for seconds in run.kept_seconds)

    def markdown(self) -> str:
        """The table for people; every number in it is from this record."""
        machine = self.machine
        strokes = [1000 * seconds for run in self.runs for seconds in run.stroke_seconds]
        rows = (
            (
                "from opening the page to the CT's first picture",
                f"{self.picture_seconds:.1f} s ({median(run.page_seconds for run in self.runs):.1f} s of it the page)",
                f"{TARGETS['picture']:g} s",
                self.picture_seconds <= TARGETS["picture"],
            ),
            ("pictures a second while scrolling", f"{self.rate:.1f}", f"{TARGETS['rate']:g}", self.rate >= TARGETS["rate"]),
            (
                "from the press of the mouse to the colour under the brush",
                f"{1000 * self.stroke_seconds:.0f} ms ({min(strokes):.0f} to {max(strokes):.0f})",
                f"{1000 * TARGETS['stroke']:g} ms",
                self.stroke_seconds <= TARGETS["stroke"],
            ),
            (
                "from letting go until the stroke is in the segmentation",
                f"{1000 * self.kept_seconds:.0f} ms",
                f"{1000 * TARGETS['stroke']:g} ms",
                self.kept_seconds <= TARGETS["stroke"],
            ),
        )
        scan = " x ".join(map(str, self.scan.size))
        lines = [
            *(["**A quick run on a small scan, to see that the benchmark works: its numbers mean nothing.**", ""] if self.quick else []),
            f"{self.at:%Y-%m-%d}, {machine.processor}, {machine.usable_cores} of {machine.cores} cores usable; {machine.system}; no GPU used.",
            "Door, workbench and Chromium ran on this machine.",
            f"Load average {machine.load_before} before and {machine.load_after} after: above {machine.usable_cores}, something else was running too.",
            f"CT: {scan} voxels ({self.scan.source}). Medians of {len(self.runs)} pages, {len(strokes)} strokes.",
            "",
            "| what | measured | wanted | kept |",
            "|---|---|---|---|",
            *(f"| {what} | {measured} | {wanted} | {'yes' if kept else 'no'} |" for what, measured, wanted, kept in rows),
        ]
        return "\n".join(lines) + "\n"
