"""A new teacher must draw the tumours too, and none where there is none. A teacher here is a folder with a word in it: what it does with tumours."""

from pathlib import Path

import numpy as np
import pytest

from fedliver.cases.teachers import TeacherShelf
from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.image import Geometry, Volume
from fedliver.site.adoption import AdoptionDecision, compare_and_adopt, read_log
from fedliver.site.home import SiteHome

GRID = Geometry((24, 24, 24), (8.0, 8.0, 8.0), (10.0, -20.0, 30.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
HEALTHY = np.zeros(GRID.shape, np.uint8)
HEALTHY[6:18, 6:18, 6:18] = 1
ILL = HEALTHY.copy()
ILL[8:12, 8:12, 8:12] = 2  # 64 voxels, 33 ml


class Loaded:
    version = "1"

    def __init__(self, path: Path) -> None:
        self.name = (path / "does").read_text()


def _segment(bundle: Path, ct: Volume, watcher) -> Volume:
    does = (bundle / "does").read_text()
    truth = ILL if ct.array[0, 0, 0] == 1 else HEALTHY
    found = truth.copy()
    if does == "misses":
        found[found == 2] = 1
    if does == "invents":
        found[14:16, 14:16, 14:16] = 2
    if does == "almost":
        found[8, 8, 8] = 1
    return ct.with_array(found)


def _teacher(folder: Path, does: str) -> Path:
    (folder / does).mkdir()
    (folder / does / "does").write_text(does)
    return folder / does


def _decide(tmp_path: Path, does: str, truth: np.ndarray, *, starter: str = "right") -> tuple[AdoptionDecision, SiteHome]:
    home = SiteHome.open(tmp_path / "home")
    store = home.store()
    for seed in range(6):
        ct = np.random.default_rng(seed).normal(80, 15, GRID.shape).astype(np.int16)
        ct[0, 0, 0] = 1 if truth is ILL else 0
        case = store.add(Ct(Volume(ct, GRID), SourceIdentity(str(seed), str(seed), str(seed)), ()))
        store.approve(store.attach(case, Volume(truth, GRID)))
    shelf = TeacherShelf(home.teachers, starter=_teacher(tmp_path, starter), load=Loaded)
    return compare_and_adopt(shelf, store, _teacher(tmp_path, does), segmenter=_segment), home


def test_a_teacher_that_calls_every_tumour_healthy_liver_is_not_adopted(tmp_path: Path):
    decision, home = _decide(tmp_path, "misses", ILL)
    assert decision.candidate_dice == decision.current_dice == 1.0
    assert not decision.adopted
    assert "tumour Dice 0.000 against 1.000 on the 2 with a tumour" in decision.sentence
    [entry] = read_log(home.adoption_log)
    assert (entry.event, entry.current_tumour_dice, entry.candidate_tumour_dice) == ("kept", 1.0, 0.0)


def test_a_teacher_that_draws_tumours_where_there_are_none_is_not_adopted(tmp_path: Path):
    decision, _ = _decide(tmp_path, "invents", HEALTHY)
    assert not decision.adopted
    assert "4.1 ml of tumour against 0.0 ml where there is none" in decision.sentence


@pytest.mark.parametrize(("does", "truth"), [("almost", ILL), ("misses", HEALTHY)])
def test_a_teacher_as_good_within_the_tolerance_is_adopted(tmp_path: Path, does: str, truth: np.ndarray):
    decision, _ = _decide(tmp_path, does, truth)
    assert decision.adopted


def test_where_no_held_out_case_has_a_tumour_the_sentence_says_that_tumours_were_not_judged(tmp_path: Path):
    decision, _ = _decide(tmp_path, "misses", HEALTHY)
    assert decision.sentence.endswith("no held-out case has a tumour, so how it finds tumours was not judged.")
    assert decision.candidate_tumour_dice is None


def test_a_teacher_that_finds_the_tumours_which_the_current_one_missed_is_adopted(tmp_path: Path):
    decision, _ = _decide(tmp_path, "right", ILL, starter="misses")
    assert decision.adopted
    assert decision.candidate_tumour_dice == 1.0
