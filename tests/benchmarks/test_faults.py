"""The fault benchmark: its judgement of what came of a fault. The faults themselves are played by the benchmark, with real processes."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from fault_plays import FAULTS, Fault, nothing
from fault_record import BOTH, EITHER, FAILS, GOES_ON, MISSED, Played, Results, names_it, page, what_came
from faults import play
from records import Machine, now

from fedliver.coordinator.records import RoundRecord, SiteUpdate

MACHINE = Machine(processor="P", cores=2, usable_cores=2, memory_gb=1, system="S", python="3", load_before=0.1)


def record(refused: str = "", *, delivery: bool = False, aggregated: bool = True) -> RoundRecord:
    updates = (SiteUpdate(site="Hospital A", refused=refused), SiteUpdate(site="Hospital B"))
    return RoundRecord(kind="delivery" if delivery else "round", job="j", round=1, seconds=1.0, aggregated=aggregated and not delivery, updates=updates)


@pytest.mark.parametrize(
    ("must", "new", "code", "held"),
    [
        (GOES_ON, [record("went offline")], 0, True),
        (GOES_ON, [record()], 0, False),
        (GOES_ON, [record("x", aggregated=False)], 2, False),
        (FAILS, [record("x", aggregated=False)], 2, True),
        (FAILS, [record()], -9, True),
        (FAILS, [], None, True),
        (FAILS, [record()], 0, False),
        (BOTH, [record(), record(delivery=True)], 0, True),
        (BOTH, [record("went offline")], 0, False),
        (BOTH, [record(), record("went offline", delivery=True)], 0, False),
        (BOTH, [], 0, False),
        (MISSED, [record(), record("went offline", delivery=True)], 0, True),
        (MISSED, [record(), record(delivery=True)], 0, False),
        (EITHER, [record("went offline")], 0, True),
        (EITHER, [record(), record(delivery=True)], 0, True),
        (EITHER, [record()], 2, False),
    ],
)
def test_a_fault_is_held_only_if_what_came_of_it_is_what_must_come(must: str, new: list[RoundRecord], code: int | None, held: bool) -> None:
    assert what_came(must, new, code, "a sentence")[0] is held


def test_a_round_in_which_the_other_site_is_missing_is_not_held() -> None:
    updates = (SiteUpdate(site="Hospital A"), SiteUpdate(site="Hospital B", refused="went offline"))
    wrong = RoundRecord(job="j", round=1, seconds=1.0, aggregated=True, updates=updates)
    assert what_came(GOES_ON, [wrong], 0, "") == (False, "the round closed without Hospital B (went offline)")


def test_a_report_has_to_name_the_site_and_the_cause_where_there_is_something_to_report() -> None:
    assert names_it("Round 2 of 2: Hospital A: not used: went offline.", "Hospital A: not used: went offline")
    assert names_it("Round 2 of 2: Hospital A: not used: failed.", "Hospital A: not used: went offline") is False
    assert names_it("", "") is None


def played(**changes: Any) -> Played:
    one = Played(
        name="a fault", at=now(), load=1.0, must=GOES_ON, held=False, came="it hung", report="Hospital A | went offline", named=True, seconds=3.0,
        recovery_seconds=9.0, next_round="both sites", cases_kept=True, strays=0,
    )  # fmt: skip
    return one.model_copy(update=changes)


def test_the_page_shows_what_did_not_hold_and_what_was_not_played() -> None:
    text = page(Results(machine=MACHINE).with_(played()).with_(played(name="b", held=True, strays=2)), ["b", "a fault", "never"])
    assert "1 of 2 held. **Not played:** never." in text
    row = next(line for line in text.splitlines() if line.startswith("| a fault"))
    assert [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] == [
        "a fault", GOES_ON, "**no**", "it hung", r"'Hospital A \| went offline'", "yes", "both sites", "yes", "0", "3", "9",
    ]  # fmt: skip
    assert text.index("| b |") < text.index("| a fault |")
    assert "**2**" in text


def test_what_was_played_is_read_again_and_its_last_play_counts(tmp_path: Path) -> None:
    file = tmp_path / "results" / "faults.json"
    Results(machine=MACHINE).with_(played()).with_(played(held=True)).write(file)
    assert [one.held for one in Results.read(file, MACHINE).played] == [True]
    other = MACHINE.model_copy(update={"processor": "Q"})
    assert Results.read(file, other) == Results(machine=other)
    file.write_text("{")
    assert Results.read(file, MACHINE).played == ()


def test_every_fault_has_a_name_of_its_own_and_says_what_the_report_must_name() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names)) > 30
    for fault in FAULTS:
        re.compile(fault.cause)
        assert fault.cause or fault.must in (BOTH, EITHER), fault.name


class StandIn:
    """A stage on which nothing runs: the round closes with both sites, or whatever ``new`` says."""

    def __init__(self, new: list[RoundRecord]) -> None:
        self.run = SimpleNamespace(code=0, sentence="")
        self.said = ""
        self._new = new
        self._records: list[RoundRecord] = []

    def cases(self) -> int:
        return 6

    def strays(self) -> int:
        return 0

    def records(self) -> list[RoundRecord]:
        return self._records

    def start_run(self, **policy: object) -> None: ...

    def end_of_run(self) -> None:
        self._records = [*self._records, *self._new]

    def warnings(self) -> list[str]:
        return []

    def report(self, new: list[RoundRecord]) -> str:
        return "Round 1 of 1: Hospital A: not used: went offline."

    def without_folder(self, text: str) -> str:
        return text


def fails(sentence: str) -> Any:
    def act(trial: Any) -> None:
        raise RuntimeError(sentence)

    return act


def fault(**changes: Any) -> Fault:
    return replace(Fault("a fault", BOTH, "", nothing, when=nothing), **changes)


def test_a_play_is_held_if_the_round_does_what_it_must_and_everything_can_be_put_right() -> None:
    one = play(fault(), StandIn([record()]))  # type: ignore[arg-type]
    assert (one.held, one.next_round, one.named) == (True, "both sites", None)


def test_a_command_that_should_have_been_refused_is_not_held() -> None:
    one = play(fault(happen=fails("it was not refused: Welcome")), StandIn([record()]))  # type: ignore[arg-type]
    assert not one.held
    assert one.came == "the round closed with both sites; it was not refused: Welcome"


def test_what_cannot_be_put_right_is_not_held() -> None:
    one = play(fault(amend=fails("it did not happen: 2 sites are online")), StandIn([record()]))  # type: ignore[arg-type]
    assert not one.held
    assert one.next_round == "not put right: it did not happen: 2 sites are online"


def test_a_next_round_without_one_of_the_sites_is_not_held() -> None:
    one = play(fault(must=GOES_ON, cause="Hospital A: not used: went offline"), StandIn([record("went offline")]))  # type: ignore[arg-type]
    assert (one.held, one.next_round, one.named) == (False, "only Hospital B", True)
