"""The study of the order: every strategy begins alike, the strategies are the worklist's own, and the goal is the same for all."""

import json
from pathlib import Path

import pytest

from fedliver.cli.main import main
from fedliver.study.order import CHANCE, STRATEGIES, OrderRow, summarise_order


def _rows(strategy: str, seed: int, *dice: float) -> list[OrderRow]:
    return [OrderRow(seed=seed, strategy=strategy, approved=number, dice={"x": value}) for number, value in enumerate(dice, 1)]


def test_the_goal_is_what_chance_reaches_in_the_end_and_who_reaches_it_sooner_needs_fewer_cases() -> None:
    rows = [
        *_rows("uncertainty", 0, 0.5, 0.9, 0.9),
        *_rows("diversity", 0, 0.5, 0.6, 0.7),
        *_rows(CHANCE, 0, 0.5, 0.6, 0.8),
        *_rows(CHANCE, 1, 0.5, 0.8, 0.9),
    ]
    found = {one.strategy: one for one in summarise_order(rows)}
    assert all(one.goal == pytest.approx(0.98 * 0.85) for one in found.values())
    assert (found["uncertainty"].cases_to_goal, found["uncertainty"].reached, found["uncertainty"].runs) == (2, 1, 1)
    assert (found["diversity"].cases_to_goal, found["diversity"].reached) == (None, 0)
    assert (found[CHANCE].cases_to_goal, found[CHANCE].reached, found[CHANCE].runs) == (3, 1, 2)
    assert found[CHANCE].dice == pytest.approx((0.5, 0.7, 0.85))


def test_what_is_won_over_chance_is_paired_by_seed_and_image_and_leaves_out_the_first_case() -> None:
    rows = [
        *_rows("uncertainty", 0, 0.1, 0.8, 0.9),
        *_rows("uncertainty", 1, 0.1, 0.9, 0.9),
        *_rows(CHANCE, 0, 0.9, 0.7, 0.8),
        *_rows(CHANCE, 1, 0.9, 0.7, 0.9),
        *_rows("diversity", 0, 0.5, 0.5, 0.5),
    ]
    found = {one.strategy: one for one in summarise_order(rows)}
    assert found["uncertainty"].gain == pytest.approx(0.1)
    assert found["uncertainty"].gain_interval == pytest.approx((0.1, 0.1))
    assert found["diversity"].gain == pytest.approx(-0.25)
    assert found[CHANCE].gain is None


def test_the_command_writes_its_table_and_takes_up_what_was_done(tmp_path: Path) -> None:
    command = ["study", "order", "--out", str(tmp_path), "--seeds", "1", "--steps", "2", "--most", "3", "--generated", "5"]
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            main(command)
        assert end.value.code == 0
    rows = [OrderRow.model_validate(row) for row in json.loads((tmp_path / "order.json").read_text())["rows"]]
    assert [(row.strategy, row.approved) for row in rows] == [(strategy, number) for strategy in STRATEGIES for number in (1, 2, 3)]
    assert len({json.dumps(row.dice) for row in rows if row.approved == 1}) == 1, "the first case is the same for all"
    assert all(set(row.dice) == set(rows[0].dice) for row in rows)
    text = (tmp_path / "order.md").read_text()
    assert all(f"| {strategy} |" in text for strategy in STRATEGIES)
    assert (tmp_path / "order.png").stat().st_size > 1000
