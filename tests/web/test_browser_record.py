"""The table of the page's speed: medians, whether each is kept, and its place in the document. Nothing is timed here."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))

from browser_record import BrowserRun, BrowserSpeed, with_table  # noqa: E402
from records import Machine, Scan  # noqa: E402


def _speed(*runs: BrowserRun) -> BrowserSpeed:
    scan = Scan(size=(512, 512, 129), spacing_mm=(0.57, 0.57, 1.6), liver_ml=1500.0, source="phantom")
    return BrowserSpeed(at=datetime(2026, 1, 2, tzinfo=UTC), quick=False, machine=Machine.here(), versions={}, scan=scan, runs=runs)


def test_medians_are_of_whole_pages_and_of_all_strokes_and_what_is_missed_is_said() -> None:
    speed = _speed(
        BrowserRun(page_seconds=1.0, open_seconds=2.0, pictures_per_second=20.0, stroke_seconds=(0.1, 0.2), kept_seconds=(0.05,)),
        BrowserRun(page_seconds=1.0, open_seconds=9.0, pictures_per_second=9.0, stroke_seconds=(0.3,), kept_seconds=(0.05,)),
        BrowserRun(page_seconds=2.0, open_seconds=4.0, pictures_per_second=30.0, stroke_seconds=(0.4, 0.5), kept_seconds=(0.05,)),
    )
    assert (speed.picture_seconds, speed.rate, speed.stroke_seconds) == (6.0, 20.0, 0.3)
    rows = [line for line in speed.markdown().splitlines() if line.startswith("| ")]
    assert [row.endswith("yes |") for row in rows[1:]] == [True, True, False, True]
    assert "512 x 512 x 129" in speed.markdown()


def test_the_document_has_a_place_for_the_table() -> None:
    page = (REPOSITORY / "docs" / "browser.md").read_text()
    once = with_table(page, "| a table |\n")
    assert with_table(once, "| a table |\n") == once
    assert once.count("| a table |") == 1
    with pytest.raises(ValueError, match="no place"):
        with_table("nothing", "| a table |\n")
