"""A run that ended without a word is named by the next one."""

from pathlib import Path
from typing import Any

import pytest

from fedliver.coordinator.interrupted import cut_short
from fedliver.coordinator.records import RunEvent, append_line


def write(job: Path, *events: tuple[Any, str]) -> None:
    job.mkdir(parents=True)
    for kind, sentence in events:
        append_line(job / "events.jsonl", RunEvent(kind=kind, sentence=sentence))


def test_a_run_that_ended_in_the_middle_of_a_round_is_told_with_the_last_that_was_heard_of_it(tmp_path: Path) -> None:
    write(tmp_path / "20260101-1", ("finished", "The run is finished."))
    write(tmp_path / "20260102-1", ("round", "Round 3 of 5: A and B are training."))
    assert cut_short(tmp_path) == (
        "The run before was cut short (stopped, killed, or the machine went down); the last that was heard of it: Round 3 of 5: A and B are training."
    )


def test_a_run_of_which_nothing_was_heard_is_told_too(tmp_path: Path) -> None:
    write(tmp_path / "20260102-1")
    assert "nothing was heard of it" in cut_short(tmp_path)


@pytest.mark.parametrize("kind", ["finished", "failed"])
def test_a_run_that_said_how_it_ended_is_not_told_again(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "20260101-1", ("round", "Round 1 of 5."))
    write(tmp_path / "20260102-1", ("round", "Round 1 of 5."), (kind, "It is over."))
    assert cut_short(tmp_path) == ""


def test_before_the_first_run_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert cut_short(tmp_path / "jobs") == ""
