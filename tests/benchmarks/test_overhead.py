"""The overhead benchmark: how it reckons, and its page. The frameworks themselves are run by the benchmark, with real processes."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from overhead_record import Kind, Measured, Overhead, Work, page, read_works
from records import Machine, now


def measured(framework: str = "ours", kind: Kind = "fixed", slow: float = 8.0, every: float = 10.0, run: float = 40.0) -> Measured:
    """Three rounds of three sites, as they are noted: in the order in which the sites end."""
    works = tuple(Work(started=every * number + site, ended=every * number + site + slow - site) for number in range(3) for site in (2, 0, 1))
    return Measured(framework=framework, kind=kind, steps=20, setup_seconds=5.0, run_seconds=run, works=works)


def overhead(*parts: Measured, long: Measured | None = None) -> Overhead:
    machine = Machine(processor="P", cores=2, usable_cores=2, memory_gb=1, system="S", python="3", load_before=0.1)
    return Overhead(at=now(), machine=machine, versions={"flwr": "1.41"}, parameters=7, measured=parts, long=long)


def test_a_round_is_taken_from_its_first_sites_start_to_the_next_rounds() -> None:
    one = measured()
    assert [len(works) for works in one.rounds] == [3, 3, 3]
    assert one.periods == [10.0, 10.0]
    assert one.slowest == [8.0, 8.0, 8.0]
    assert one.beside == [2.0, 2.0]
    assert one.ratios == [1.25, 1.25]


def test_the_page_has_a_column_for_every_framework_that_ran_and_says_what_was_left_out() -> None:
    found = overhead(measured(kind="none", every=3.0), measured(), measured("nvflare-poc", "none"), measured("nvflare-poc", every=9.0))
    text = page(found.model_copy(update={"left_out": ("NVFLARE's simulator would not start.",)}))
    assert "|  | ours | NVFLARE, proof of concept |" in text
    assert "| times the slowest site's steps | 1.25 (1.25 to 1.25) | 1.12 (1.12 to 1.12) |" in text
    assert "| TLS between sites and coordinator | yes | yes, mutual |" in text
    assert "Left out: NVFLARE's simulator would not start." in text
    assert "plain Flower |" not in text


@pytest.mark.parametrize(("every", "verdict"), [(14.9, "met, 14.9 s"), (15.0, "**missed**, 15.0 s")])
def test_a_round_of_no_work_is_held_against_its_target_at_its_slowest(every: float, verdict: str) -> None:
    assert f"in under 15 s: {verdict} at the slowest" in page(overhead(measured(kind="none", every=every), measured()))


@pytest.mark.parametrize(("slow", "run", "verdict"), [(300.0, 330.0, "met."), (300.0, 360.0, "**missed**."), (100.0, 110.0, "**missed**.")])
def test_the_long_round_is_held_against_its_target_and_has_to_be_long(slow: float, run: float, verdict: str) -> None:
    text = page(overhead(measured(kind="none"), measured(), long=measured(kind="long", slow=slow, run=run)))
    assert f"training time plus transfer: {verdict}" in text


def test_without_a_long_round_the_page_says_that_it_was_not_measured() -> None:
    assert "5 minutes or longer: not measured" in page(overhead(measured(kind="none"), measured()))


def test_works_are_read_as_they_were_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import overhead_work

    monkeypatch.setenv(overhead_work.FOLDER, str(tmp_path))
    overhead_work.note("work", started=1.0, ended=2.5)
    overhead_work.note("work", started=2.0, ended=3.0)
    assert read_works(tmp_path / "work.jsonl") == (Work(started=1.0, ended=2.5), Work(started=2.0, ended=3.0))
