"""The study of the labels: fair arms, nobody on two sides, interrupted and gone on with."""

import json
from pathlib import Path

import pytest

from fedliver.cases.examples import Example
from fedliver.cli.main import main
from fedliver.datasets.layouts import DatasetImage
from fedliver.errors import FedLiverError
from fedliver.study.labels import SEMI_SUPERVISED, SUPERVISED, ArmRow, LabelsStudy, arms, divide, summarise_arms
from fedliver.study.tables import write_labels

STUDY = LabelsStudy(labelled=(1, 2, 4), seeds=2)


def _images(patients: int) -> list[DatasetImage]:
    return [DatasetImage(f"p{n}-{visit}", f"p{n}", Example(Path(f"{n}-{visit}.nii"), Path("labels.nii"))) for n in range(patients) for visit in range(2)]


def test_nobody_is_on_two_sides_and_both_arms_and_all_numbers_have_the_same_test_patients() -> None:
    images = _images(9)
    tests = set()
    for labelled in (1, 2, 4):
        division = divide(images, STUDY, 7, labelled)
        groups = [{image.patient for image in group} for group in (division.labelled, division.unlabelled, division.test)]
        assert len(groups[0]) == labelled
        assert sum(len(group) for group in groups) == 9
        assert len(groups[0] | groups[1] | groups[2]) == 9
        tests.add(frozenset(groups[2]))
    assert len(tests) == 1
    fewer, more = ({image.patient for image in divide(images, STUDY, 7, n).labelled} for n in (1, 2))
    assert fewer < more


def test_every_number_has_both_arms_but_all_labels_has_nothing_to_learn_from_without() -> None:
    wanted = arms(_images(9), STUDY)
    assert {(labelled, arm) for _, labelled, arm in wanted} == {(n, arm) for n in (1, 2, 4) for arm in (SUPERVISED, SEMI_SUPERVISED)} | {(6, SUPERVISED)}
    assert len(wanted) == 2 * 7


def test_too_few_patients_are_refused_in_words() -> None:
    with pytest.raises(FedLiverError) as refusal:
        divide(_images(2), STUDY, 0, 1)
    assert refusal.value.code == "too-few-patients"


def test_the_gap_closed_is_of_the_way_from_few_labels_to_all() -> None:
    rows = [
        ArmRow(seed=0, labelled=labelled, arm=arm, dice={"x": value}, loss=0, seconds=1)
        for labelled, arm, value in ((1, SUPERVISED, 0.80), (1, SEMI_SUPERVISED, 0.86), (6, SUPERVISED, 0.90))
    ]
    summary = {(one.labelled, one.arm): one for one in summarise_arms(rows)}
    assert summary[1, SEMI_SUPERVISED].gap_closed == pytest.approx(0.6)
    assert summary[1, SEMI_SUPERVISED].gain == pytest.approx(0.06)
    assert summary[1, SUPERVISED].gap_closed is None


def test_a_seed_that_one_arm_lacks_counts_for_neither_gain_nor_gap() -> None:
    values = (0, 1, SUPERVISED, 0.8), (0, 1, SEMI_SUPERVISED, 0.85), (0, 6, SUPERVISED, 0.9), (1, 1, SUPERVISED, 0.1), (2, 6, SUPERVISED, 1.0)
    rows = [ArmRow(seed=seed, labelled=labelled, arm=arm, dice={"x": value, "y": value}, loss=0, seconds=1) for seed, labelled, arm, value in values]
    semi = next(one for one in summarise_arms(rows) if one.arm == SEMI_SUPERVISED)
    assert semi.gain == pytest.approx(0.05)
    assert semi.gap_closed == pytest.approx(0.5)
    assert semi.gain_interval == pytest.approx((0.05, 0.05))


@pytest.mark.parametrize(("closed", "word"), [(0.86, "is met"), (0.83, "is missed")])
def test_the_table_says_whether_a_quarter_of_the_labels_closed_half_of_the_gap(tmp_path: Path, closed: float, word: str) -> None:
    values = (1, SUPERVISED, 0.8), (1, SEMI_SUPERVISED, closed), (4, SUPERVISED, 0.9)
    rows = [ArmRow(seed=0, labelled=labelled, arm=arm, dice={"x": value, "y": value}, loss=0, seconds=1) for labelled, arm, value in values]
    assert f"the target of 50 % {word}" in write_labels(rows, STUDY, tmp_path, "Made up.")


def test_the_commands_write_their_tables_and_take_up_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["study", "labels", "--out", str(tmp_path), "--labelled", "1", "--seeds", "1", "--steps", "2", "--generated", "4"]
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            main(command)
        assert end.value.code == 0
    kept = json.loads((tmp_path / "labels.json").read_text())
    first = [row["seconds"] for row in kept["rows"]]
    assert len(first) == 3
    assert "| 1 | semi-supervised |" in (tmp_path / "labels.md").read_text()
    assert (tmp_path / "labels.png").stat().st_size > 1000
    with pytest.raises(SystemExit):
        main(command)
    assert [row["seconds"] for row in json.loads((tmp_path / "labels.json").read_text())["rows"]] == first
    with pytest.raises(SystemExit) as other:
        main([*command[:-4], "--steps", "3", "--generated", "4"])
    assert other.value.code == 2
    assert "another study" in capsys.readouterr().err


def test_the_effort_of_the_shipped_teacher_is_written_as_a_table(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["study", "effort", "--out", str(tmp_path), "--generated", "1"])
    assert end.value.code == 0
    text = (tmp_path / "effort.md").read_text()
    assert "| from nothing | 1 |" in text
    assert "1 generated patients, no real ones." in text
