"""The fault benchmark: its judgement of what came of a fault. The faults themselves are played by the benchmark, with real processes."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from fault_plays import BOTH, FAILS, GOES_ON, Fault, faults
from faults import Played, _came_of_it, page
from records import Machine

from fedliver.coordinator.records import RoundRecord, SiteUpdate


def _trial(refused: str = "", code: int = 0, sentence: str = "", aggregated: bool = True) -> Any:
    updates = (SiteUpdate(site="Hospital A", refused=refused), SiteUpdate(site="Hospital B"))
    record = RoundRecord(job="j", round=1, seconds=1.0, aggregated=aggregated, updates=updates)
    return SimpleNamespace(run=SimpleNamespace(code=code, sentence=sentence), rounds=lambda: [record])


@pytest.mark.parametrize(
    ("must", "trial", "held"),
    [
        (GOES_ON, _trial("went offline"), True),
        (GOES_ON, _trial(), False),
        (GOES_ON, _trial("x", 2, "fedliver: Round 1 failed", aggregated=False), False),
        (FAILS, _trial("x", 2, "fedliver: the run ended", aggregated=False), True),
        (FAILS, _trial(), False),
        (BOTH, _trial(), True),
        (BOTH, _trial("went offline"), False),
    ],
)
def test_a_fault_is_held_only_if_what_came_of_it_is_what_must_come(must: str, trial: Any, held: bool) -> None:
    assert _came_of_it(Fault("a fault", must, lambda _: None), trial, 0)[0] is held


def test_the_page_shows_what_did_not_hold() -> None:
    machine = Machine(processor="P", cores=2, usable_cores=2, memory_gb=1, system="S", python="3", load_before=0.1)
    one = Played(name="a fault", must=GOES_ON, held=False, came="it hung", seconds=3.0, next_round="both sites", cases_kept=True)
    text = page([one], machine, 0)
    assert "| a fault | the round closes without A | **no** | it hung | both sites | yes | 3 |" in text


def test_every_fault_has_a_name_of_its_own() -> None:
    names = [fault.name for fault in faults()]
    assert len(names) == len(set(names)) > 15
