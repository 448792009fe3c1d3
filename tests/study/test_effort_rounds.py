"""The study of the rounds: new patients only, the round's own training and strategy, interrupted and gone on with."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fedliver.cases.case import Effort
from fedliver.cases.examples import Example
from fedliver.cases.store import CaseStore
from fedliver.cli.main import main
from fedliver.datasets.layouts import DatasetImage
from fedliver.errors import FedLiverError
from fedliver.study.effort import NOTHING, summarise_effort
from fedliver.study.effort_rounds import RoundRow, RoundsStudy, as_efforts, deal
from fedliver.teacher.bundle import load_bundle
from fedliver.training.settings import TrainingSettings
from tiny_site import tiny_bundle

STUDY = RoundsStudy(starter="x", sites=3, rounds=2, cases_per_round=1, training=TrainingSettings())


def _images(patients: int) -> list[DatasetImage]:
    return [DatasetImage(f"p{n}", f"p{n}", Example(Path(f"{n}.nii"), Path("labels.nii"))) for n in range(patients)]


def test_every_patient_comes_once_and_none_of_them_tests() -> None:
    dealt = deal(_images(10), STUDY)
    coming = [image.patient for arriving in dealt.arriving for images in arriving for image in images]
    assert [len(arriving) for arriving in dealt.arriving] == [3, 3]
    assert len(coming) == len(set(coming)) == 6
    assert {image.patient for image in dealt.test}.isdisjoint(coming)


def test_too_few_patients_are_refused_with_the_number_that_is_needed() -> None:
    with pytest.raises(FedLiverError, match="need 6 patients") as refusal:
        deal(_images(7), STUDY)
    assert refusal.value.code == "too-few-patients"


def test_a_rounds_saving_is_against_the_same_patients_from_nothing() -> None:
    def row(round_: int, image: str, ml: float, nothing: float) -> RoundRow:
        efforts = [Effort(ml_changed=value, slices_touched=1, slices=1, added_path_length_mm=1) for value in (ml, nothing)]
        return RoundRow(round=round_, site=None, image=image, dice=0.5, effort=efforts[0], from_nothing=efforts[1])

    summary = {
        one.start: one for one in summarise_effort(as_efforts([row(0, "a", 50, 100), row(0, "b", 50, 300), row(1, "a", 10, 100), row(1, "b", 30, 300)], "s"))
    }
    assert summary[NOTHING].ml == 200
    assert summary["s, before any round"].ml_saved == pytest.approx(0.75)
    assert summary["after round 1"].ml_saved == pytest.approx(0.9)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Two sites, two rounds, one new patient each, an untrained teacher; and the command."""
    out = tmp_path_factory.mktemp("rounds")
    numbers = {"--sites": 2, "--rounds": 2, "--cases": 1, "--steps": 2, "--generated": 6}
    command = ["study", "rounds", "--out", str(out), "--teacher", str(tiny_bundle(out / "tiny")), *(str(part) for pair in numbers.items() for part in pair)]
    _done(command)
    return out, command


def _done(command: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 0


def _rows(out: Path) -> list[RoundRow]:
    return [RoundRow.model_validate(row) for row in json.loads((out / "work" / "rounds.json").read_text())["rows"]]


def test_test_patients_are_corrected_from_every_teacher_and_each_new_patient_once_from_the_round_before(played: tuple[Path, list[str]]) -> None:
    rows = _rows(played[0])
    tests = {number: {row.image for row in rows if row.site is None and row.round == number} for number in range(3)}
    assert len(tests[0]) == 2
    assert tests[0] == tests[1] == tests[2]
    worked = [(row.round, row.site) for row in rows if row.site is not None]
    assert sorted(worked) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    images = [row.image for row in rows if row.site is not None]
    assert len(set(images)) == 4
    assert tests[0].isdisjoint(images)


def test_what_is_approved_is_what_the_clinician_left_and_every_site_has_all_of_its_own(played: tuple[Path, list[str]]) -> None:
    for site in (1, 2):
        store = CaseStore(played[0] / "work" / f"site-{site}")
        approved = [case for case in store.cases() if case.approval is not None]
        assert len(approved) == 2
        assert all((store.approved_labels(case).array > 0).any() for case in approved)


def test_a_rounds_teacher_is_the_mean_of_what_the_sites_learned_and_no_longer_the_one_before(played: tuple[Path, list[str]]) -> None:
    before, after = (load_bundle(played[0] / "work" / f"round-{number:03d}").network.state_dict() for number in (1, 2))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(np.isfinite(value.numpy()).all() for value in after.values())


def test_the_command_writes_its_tables_and_takes_up_what_was_done(played: tuple[Path, list[str]]) -> None:
    out, command = played
    before = (out / "work" / "rounds.json").read_bytes()
    whole = (out / "work" / "round-002" / "models" / "model.pt").read_bytes()
    _done(command)
    assert (out / "work" / "rounds.json").read_bytes() == before
    text = (out / "rounds.md").read_text()
    assert "| tiny 0 (" in text
    assert "| after round 2 | 2 |" in text
    assert "6 generated patients, no real ones." in text
    assert (out / "rounds.png").stat().st_size > 1000
    assert len((out / "rounds.csv").read_text().splitlines()) == 1 + len(_rows(out))
    assert (out / "work" / "round-002" / "models" / "model.pt").read_bytes() == whole


def test_the_scans_in_the_sites_stores_stay_out_of_a_repository(played: tuple[Path, list[str]]) -> None:
    assert (played[0] / "work" / ".gitignore").read_text() == "*\n"
    assert list((played[0] / "work").glob("site-1/cases/**/*.nii.gz"))


def test_a_round_that_was_interrupted_comes_out_as_if_it_had_not_been(played: tuple[Path, list[str]]) -> None:
    import shutil

    out, command = played
    expected = load_bundle(out / "work" / "round-002").network.state_dict()
    kept = json.loads((out / "work" / "rounds.json").read_text())
    kept["rows"] = [row for row in kept["rows"] if not (row["round"] == 2 or (row["round"] == 1 and row["site"] == 1))]
    (out / "work" / "rounds.json").write_text(json.dumps(kept))
    shutil.rmtree(out / "work" / "round-002")
    _done(command)
    again = load_bundle(out / "work" / "round-002").network.state_dict()
    assert all(torch.equal(expected[name], again[name]) for name in expected)
