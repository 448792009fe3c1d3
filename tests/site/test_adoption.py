"""A teacher here is a folder with a number in it: how many voxels of the liver it gets wrong. The real network is the last test's."""

from pathlib import Path

import numpy as np
import pytest

from fedliver.cases.store import CaseStore
from fedliver.cases.teachers import TeacherShelf
from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.errors import Cancelled, FedLiverError
from fedliver.image import Geometry, Volume
from fedliver.site.adoption import compare_and_adopt, read_log, roll_back
from fedliver.site.home import SiteHome

GRID = Geometry((24, 24, 24), (8.0, 8.0, 8.0), (10.0, -20.0, 30.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
LIVER = np.zeros(GRID.shape, np.uint8)
LIVER[6:18, 6:18, 6:18] = 1  # 1728 voxels, 885 ml


class Loaded:
    version = "1"

    def __init__(self, path: Path) -> None:
        self.name = (path / "wrong").read_text()


class ByTheNumber:
    """Leaves out as many slices of the liver as the bundle's number says; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, bundle: Path, ct: Volume, watcher) -> Volume:
        wrong = int((bundle / "wrong").read_text())
        self.asked.append(f"{wrong}")
        watcher.report("Looking for the liver", 0.5)
        found = LIVER.copy()
        found[6 : 6 + wrong] = 0
        return ct.with_array(found)


class Recorder:
    def __init__(self, stop_after: int = 1_000_000) -> None:
        self.seen: list[tuple[str, float]] = []
        self.stop_after = stop_after

    def report(self, phase: str, fraction: float) -> None:
        self.seen.append((phase, fraction))

    def cancelled(self) -> bool:
        return len(self.seen) > self.stop_after


def teacher(folder: Path, wrong: int) -> Path:
    (folder / f"wrong-{wrong}").mkdir()
    (folder / f"wrong-{wrong}" / "wrong").write_text(str(wrong))
    return folder / f"wrong-{wrong}"


@pytest.fixture
def home(tmp_path) -> SiteHome:
    return SiteHome.open(tmp_path / "home")


@pytest.fixture
def shelf(home, tmp_path) -> TeacherShelf:
    return TeacherShelf(home.teachers, starter=teacher(tmp_path, 4), load=Loaded)


def approve(store: CaseStore, seed: int) -> None:
    ct = np.random.default_rng(seed).normal(80, 15, GRID.shape).astype(np.int16)
    case = store.add(Ct(Volume(ct, GRID), SourceIdentity(str(seed), str(seed), str(seed)), ()))
    store.approve(store.attach(case, Volume(LIVER, GRID)))


@pytest.fixture
def store(home) -> CaseStore:
    store = home.store()
    for seed in range(6):
        approve(store, seed)
    return store


def judge(shelf, store, candidate, **options):
    return compare_and_adopt(shelf, store, candidate, segmenter=ByTheNumber(), **options)


def test_a_better_teacher_is_adopted_and_both_numbers_are_shown_logged_and_kept(shelf, store, home, tmp_path):
    decision = judge(shelf, store, teacher(tmp_path, 1))
    assert decision.adopted
    assert decision.cases == len(store.held_out_examples()) == 2
    assert decision.current_dice == pytest.approx(2 * 8 / (8 + 12))
    assert decision.candidate_dice == pytest.approx(2 * 11 / (11 + 12))
    assert "0.957 against 0.800 on 2 held-out cases" in decision.sentence
    assert shelf.current().version == decision.candidate
    assert shelf.current().record.local_score.candidate == decision.candidate_dice
    [entry] = read_log(home.adoption_log)
    assert (entry.event, entry.current_dice, entry.candidate_dice, entry.forced) == ("adopted", decision.current_dice, decision.candidate_dice, False)


def test_a_worse_teacher_is_kept_on_the_shelf_but_not_adopted(shelf, store, home, tmp_path):
    decision = judge(shelf, store, teacher(tmp_path, 6))
    assert not decision.adopted
    assert "current teacher is better" in decision.sentence
    assert shelf.current().version == "starter"
    assert [version.version for version in shelf.list()] == ["starter", decision.candidate]
    assert [entry.event for entry in read_log(home.adoption_log)] == ["kept"]


def test_an_equal_teacher_is_adopted_and_one_that_is_worse_by_more_than_the_tolerance_is_not(shelf, store, tmp_path):
    equal = teacher(tmp_path / "home", 4)
    (equal / "card").write_text("Another bundle, as good as the starter.")
    assert judge(shelf, store, equal).adopted
    assert not judge(shelf, store, teacher(tmp_path, 5)).adopted
    assert judge(shelf, store, tmp_path / "wrong-5", tolerance=0.2).adopted


def test_only_held_out_cases_are_looked_at_by_both_teachers(shelf, store, tmp_path):
    segmenter = ByTheNumber()
    compare_and_adopt(shelf, store, teacher(tmp_path, 1), segmenter=segmenter)
    assert segmenter.asked == ["4", "4", "1", "1"]


def test_without_a_held_out_case_nothing_is_adopted_unless_a_person_chooses_to(shelf, home, tmp_path):
    store = home.store()
    approve(store, 0)
    candidate = teacher(tmp_path, 1)
    decision = judge(shelf, store, candidate)
    assert (decision.adopted, decision.cases, decision.candidate_dice) == (False, 0, None)
    assert "no held-out case" in decision.sentence
    assert shelf.current().version == "starter"
    chosen = judge(shelf, store, candidate, force=True)
    assert chosen.adopted
    assert "by choice" in chosen.sentence
    assert [entry.forced for entry in read_log(home.adoption_log)] == [False, True]


def test_a_person_may_choose_a_worse_teacher_and_the_log_says_so(shelf, store, home, tmp_path):
    assert judge(shelf, store, teacher(tmp_path, 6), force=True).adopted
    assert read_log(home.adoption_log)[-1].forced


def test_choosing_a_better_teacher_is_no_forcing(shelf, store, home, tmp_path):
    judge(shelf, store, teacher(tmp_path, 1), force=True)
    assert not read_log(home.adoption_log)[-1].forced


def test_the_current_teacher_is_not_judged_against_itself(shelf, store, tmp_path):
    assert not judge(shelf, store, tmp_path / "wrong-4").adopted
    adopted = judge(shelf, store, teacher(tmp_path, 1))
    assert "current one already" in judge(shelf, store, shelf.current().bundle).sentence
    assert shelf.current().version == adopted.candidate


def test_rolling_back_is_logged(shelf, store, home, tmp_path):
    adopted = judge(shelf, store, teacher(tmp_path, 1))
    assert roll_back(shelf) == f"Rolled back from {adopted.candidate} to starter."
    assert [entry.event for entry in read_log(home.adoption_log)] == ["adopted", "rolled-back"]


def test_the_log_says_in_words_what_was_decided(shelf, store, home, tmp_path):
    judge(shelf, store, teacher(tmp_path, 6))
    judge(shelf, store, teacher(tmp_path, 1))
    judge(shelf, store, tmp_path / "wrong-6", force=True)
    roll_back(shelf)
    assert [entry.decision for entry in read_log(home.adoption_log)] == ["not adopted", "adopted", "adopted by choice", "gone back to"]


def test_cancelling_adopts_nothing(shelf, store, tmp_path):
    with pytest.raises(Cancelled):
        judge(shelf, store, teacher(tmp_path, 1), watcher=Recorder(stop_after=3))
    assert shelf.current().version == "starter"


def test_progress_only_grows_and_ends_at_one(shelf, store, tmp_path):
    watcher = Recorder()
    judge(shelf, store, teacher(tmp_path, 1), watcher=watcher)
    fractions = [fraction for _, fraction in watcher.seen]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)


def test_a_teacher_that_gives_up_keeps_the_current_one(shelf, store, tmp_path):
    def broken(bundle, ct, watcher):
        raise FedLiverError("weights-do-not-fit", "The weights do not fit.")

    with pytest.raises(FedLiverError):
        compare_and_adopt(shelf, store, teacher(tmp_path, 1), segmenter=broken)
    assert shelf.current().version == "starter"


def test_a_line_torn_by_a_crash_costs_the_log_nothing_else(shelf, store, home, tmp_path):
    judge(shelf, store, teacher(tmp_path, 6))
    with home.adoption_log.open("ab") as log:
        log.write(b'{"at": "2026-')
    judge(shelf, store, teacher(tmp_path, 1))
    assert [entry.event for entry in read_log(home.adoption_log)] == ["kept", "adopted"]


def test_a_log_that_cannot_be_written_is_told_together_with_the_decision(shelf, store, home, tmp_path):
    home.adoption_log.mkdir()
    with pytest.raises(FedLiverError, match=r"Adopted: .* But adoptions\.jsonl could not be written"):
        judge(shelf, store, teacher(tmp_path, 1))


def test_the_log_names_no_place_on_this_machine(shelf, store, home, tmp_path):
    judge(shelf, store, teacher(tmp_path, 1))
    assert str(tmp_path) not in home.adoption_log.read_text()


def test_a_real_bundle_is_judged_by_the_real_network(home, store, tmp_path):
    import torch

    from fedliver.teacher.bundle import save_bundle
    from fedliver.teacher.network import build_network
    from fedliver.teacher.plan import TeacherPlan

    plan = TeacherPlan.tiny()
    torch.manual_seed(1)
    save_bundle(build_network(plan), plan, tmp_path / "starter", name="tiny", version="1")
    save_bundle(build_network(plan), plan, tmp_path / "candidate", name="tiny", version="2")
    decision = compare_and_adopt(TeacherShelf(home.teachers, starter=tmp_path / "starter"), store, tmp_path / "candidate")
    assert decision.cases == 2
    assert 0 <= decision.current_dice <= 1
    assert 0 <= decision.candidate_dice <= 1
    assert decision.adopted is (decision.candidate_dice >= decision.current_dice - 0.001)


def test_a_broken_teacher_is_replaced_only_by_choice(shelf, store, home, tmp_path):
    adopted = judge(shelf, store, teacher(tmp_path, 1))
    (shelf.get(adopted.candidate).bundle / "wrong").write_text("damaged")
    with pytest.raises(FedLiverError, match="damaged or missing"):
        judge(shelf, store, teacher(tmp_path, 2))
    decision = judge(shelf, store, tmp_path / "wrong-2", force=True)
    assert shelf.current().version == decision.candidate
    assert read_log(home.adoption_log)[-1].forced
