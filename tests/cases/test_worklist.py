"""The worklist: which case is in which state, and which one is next."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from fedliver.cases import worklist as module
from fedliver.cases.appearance import appearance
from fedliver.cases.case import Case, Grid, State, TeacherProvenance
from fedliver.cases.store import CaseStore
from fedliver.cases.worklist import next_case, strategies, worklist
from fedliver.errors import FedLiverError

TEACHER = TeacherProvenance(name="tiny", version="7", sha256="a" * 64)


def add(store: CaseStore, patient, seed: int, expected_dice: float | None = None) -> Case:  # type: ignore[no-untyped-def]
    ct, labels = patient(seed)
    case = store.add(ct)
    return case if expected_dice is None else store.attach(case, labels, labels, TEACHER, expected_dice=expected_dice)


def names(cases: list[Case]) -> list[str]:
    return [case.pseudonym for case in cases]


def test_a_case_is_new_then_pre_segmented_then_in_correction_then_approved(store, patient):
    ct, labels = patient(1)
    case = store.add(ct)
    assert case.state is State.NEW
    proposal = labels.with_array((labels.array > 0).astype(np.uint8))
    case = store.attach(case, proposal, proposal, TEACHER, expected_dice=0.83)
    assert (case.state, case.draft.expected_dice) == (State.PRE_SEGMENTED, 0.83)
    case = store.attach(case, labels)
    assert (case.state, case.draft.expected_dice) == (State.IN_CORRECTION, 0.83)
    assert store.approve(case).state is State.APPROVED
    assert store.case(case.pseudonym).approval.segmentation.expected_dice == 0.83


def test_labels_attached_together_with_the_proposal_tell_by_themselves_whether_a_person_changed_them(store, patient):
    ct, labels = patient(1)
    same = labels.with_array(labels.array.copy())
    assert store.attach(store.add(ct), same, labels, TEACHER).state is State.PRE_SEGMENTED
    same.array[0, 5, 5] = 1
    assert store.attach(store.add(ct), same, labels, TEACHER).state is State.IN_CORRECTION


def test_an_excluded_case_waits_for_nobody_and_trains_nothing_until_it_is_included(store, patient):
    case = store.exclude(add(store, patient, 1, 0.9), "  motion artefacts ")
    assert (case.state, case.exclusion_reason) == (State.EXCLUDED, "motion artefacts")
    assert (worklist(store.cases()), store.unlabelled_examples()) == ([], [])
    case = store.include(case)
    assert (case.state, case.exclusion_reason, len(store.unlabelled_examples())) == (State.PRE_SEGMENTED, None, 1)
    assert store.include(case) == case


def test_a_record_of_the_first_version_is_taken_up_with_its_state(store, patient):
    ct, labels = patient(1)
    case = store.attach(store.add(ct), labels, labels, TEACHER)
    file = store.ct_path(case).parent / "case.json"
    record = json.loads(file.read_text())
    del record["draft"]["edited"], record["appearance"]
    file.write_text(json.dumps(record | {"schema_version": 1}))
    (old,) = store.cases()
    assert old.state is State.PRE_SEGMENTED
    store.attach(old, labels)
    assert store.cases()[0].state is State.IN_CORRECTION
    assert json.loads(file.read_text())["schema_version"] == 2
    assert names(worklist(store.cases(), "diversity")) == [case.pseudonym]


def test_first_come_first_served_but_what_was_begun_is_finished_first(store, patient):
    cases = [add(store, patient, seed) for seed in (1, 2, 3)]
    assert names(worklist(store.cases())) == names(cases)
    store.attach(cases[1], patient(2)[1])
    for strategy in strategies():
        assert worklist(store.cases(), strategy)[0].pseudonym == cases[1].pseudonym
    store.approve(store.case(cases[1].pseudonym))
    assert names(worklist(store.cases())) == [cases[0].pseudonym, cases[2].pseudonym]


def test_uncertainty_puts_the_least_sure_first_and_the_unjudged_last(store, patient):
    cases = [add(store, patient, seed, dice) for seed, dice in ((1, 0.95), (2, None), (3, 0.40), (4, 0.71))]
    assert names(worklist(store.cases(), "uncertainty")) == names([cases[2], cases[3], cases[0], cases[1]])
    assert names(worklist(store.cases(), "uncertainty", limit=2)) == names([cases[2], cases[3]])


def test_uncertainty_puts_a_scan_in_which_the_teacher_found_no_liver_before_all_others(store, patient):
    sure, unsure = (add(store, patient, seed, dice) for seed, dice in ((1, 0.95), (3, 0.40)))
    ct, labels = patient(5)
    nothing = labels.with_array(0 * labels.array)
    missed = store.attach(store.add(ct), nothing, nothing, TEACHER)
    assert names(worklist(store.cases(), "uncertainty")) == names([missed, unsure, sure])


def scan(name: str, hu: float, added: int, approved: Case | None = None) -> Case:
    """A record as it lies in the store, whose scan looks as ``hu`` says."""
    grid = Grid(size=(100, 100, 50), spacing=(1, 1, 3), origin=(0, 0, 0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1))
    return Case(
        pseudonym=f"C-{name * 16}",
        patient=f"P-{name * 16}",
        added_at=f"2026-01-01T00:{added:02d}:00Z",
        ct_sha256="0" * 64,
        grid=grid,
        appearance={"hu": [hu] * 9},
        approval=approved.approval if approved else None,
    )


def test_diversity_asks_for_the_scan_least_like_the_approved_ones(store, patient, approve_patient):
    done = store.case(approve_patient(1))
    cases = [scan("A", 100, 1, done), scan("B", 103, 2), scan("C", 160, 3), scan("D", 45, 4), scan("E", 159, 5)]
    assert [case.pseudonym[2] for case in worklist(cases, "diversity")] == ["C", "D", "B", "E"]  # E is like C, which is chosen already
    cases[0] = scan("A", 160, 1, done)
    assert next(case.pseudonym[2] for case in worklist(cases, "diversity")) == "D"


def test_diversity_begins_in_the_midst_where_nothing_is_approved():
    cases = [scan("A", 20, 1), scan("B", 90, 2), scan("C", 160, 3)]
    assert next(case.pseudonym[2] for case in worklist(cases, "diversity")) == "B"


def test_every_strategy_gives_each_waiting_case_once_and_nothing_of_nothing(store, patient):
    for seed in range(1, 5):
        add(store, patient, seed, None if seed % 2 else 0.5)
    everyone = sorted(names(store.cases()))
    for strategy in strategies():
        assert sorted(names(worklist(store.cases(), strategy))) == everyone
        assert worklist([], strategy) == []


def test_who_passes_a_case_over_gets_the_one_behind_it_and_comes_round(store, patient):
    cases = [add(store, patient, seed) for seed in (1, 2, 3)]
    everyone = store.cases()
    assert next_case(everyone).pseudonym == cases[0].pseudonym
    assert next_case(everyone, after=cases[0].pseudonym).pseudonym == cases[1].pseudonym
    assert next_case(everyone, after=cases[2].pseudonym).pseudonym == cases[0].pseudonym
    assert next_case(everyone, after="C-OPEN2IN3ANOTHER").pseudonym == cases[0].pseudonym
    assert next_case(everyone[:1], after=cases[0].pseudonym) is None
    assert next_case([]) is None


def test_another_package_can_bring_a_strategy_and_a_wrong_name_is_told(store, patient, monkeypatch):
    cases = [add(store, patient, seed) for seed in (1, 2)]
    point = EntryPoint("last-come", "a_package_of_somebody:last_come", module.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: lambda waiting, everyone: iter(waiting[::-1]))
    monkeypatch.setattr(module, "entry_points", lambda group: [point])
    assert strategies()[-1] == "last-come"
    assert names(worklist(store.cases(), "last-come")) == names(cases[::-1])
    with pytest.raises(FedLiverError, match="first-come, uncertainty, diversity, last-come"):
        worklist(store.cases(), "no such")


def test_a_contrast_phase_shows_in_the_appearance_and_a_crop_hardly_does(patient):
    dark, bright = (appearance(patient(1, liver_hu=hu)[0].volume).hu for hu in (55, 120))
    assert max(bright) - max(dark) > 20
    assert appearance(patient(1)[0].volume.with_array(np.full((30, 36, 40), -1000, np.int16))).hu == ()


@pytest.fixture
def ten_thousand(store, patient, tmp_path):
    """A store with 10,000 cases of all states, as their records lie on disk; the CTs are empty files."""
    ct, labels = patient(1)
    case = store.attach(store.add(ct), labels, labels, TEACHER, expected_dice=0.5)
    approved = store.approve(case)
    kinds = [approved.model_dump_json(exclude_none=True), case.model_dump_json(exclude_none=True)]
    for n in range(9_999):
        other = "C-" + f"{n:04d}".translate(str.maketrans("0123456789", "ABCDEFGHIJ")).rjust(16, "Z")
        folder = tmp_path / "cases" / other
        folder.mkdir()
        record = kinds[n % 2].replace(approved.pseudonym, other).replace('"expected_dice":0.5', f'"expected_dice":{(n * 37 % 1000) / 1000}')
        (folder / "case.json").write_text(record)
        (folder / "ct.nii.gz").touch()
    return tmp_path


@contextmanager
def files_opened(under: Path) -> Iterator[list[str]]:
    """The files below ``under`` that are opened inside the block, as Python's own audit events tell them."""
    opened: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple) -> None:  # type: ignore[type-arg]
        if watching and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.fsdecode(arguments[0])
            if path.startswith(str(under)):
                opened.append(path)

    sys.addaudithook(hook)  # cannot be taken away again, only told to be quiet
    try:
        yield opened
    finally:
        watching = False


def test_ten_thousand_cases_are_listed_by_reading_each_record_once_and_no_image_and_every_strategy_orders_them(ten_thousand):
    from fedliver.cli.case_words import table

    store = CaseStore(ten_thousand)
    with files_opened(under=ten_thousand / "cases") as opened:
        assert len(table(store.look()[0]).splitlines()) == 10_001
    records = [path for path in opened if path.endswith("case.json")]
    assert len(records) == len(set(records)) == 10_000
    assert not [path for path in opened if path.endswith(".nii.gz")]
    cases = store.cases()
    for strategy in strategies():
        assert next_case(cases, strategy) is not None


def test_the_command_next_says_so_when_another_process_holds_the_store_only_if_it_must_write(store, patient, tmp_path, monkeypatch, capsys):
    from fedliver.cli.main import main

    case = add(store, patient, 1)
    hold = "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    monkeypatch.setenv("FEDLIVER_HOME", str(tmp_path))
    (tmp_path / "secret.key").write_bytes(bytes(range(32)))
    monkeypatch.setattr("fedliver.site.home.SiteHome.store", lambda self: CaseStore(self.path, self.secret(), wait_seconds=0.2))
    with subprocess.Popen([sys.executable, "-c", hold, tmp_path / "cases" / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(SystemExit) as stop:
            main(["case", "next"])
        assert (stop.value.code, case.pseudonym in capsys.readouterr().out) == (0, True)
        with pytest.raises(SystemExit) as stop:
            main(["case", "exclude", case.pseudonym])
        assert (stop.value.code, "Another FedLiver process" in capsys.readouterr().err) == (2, True)
        other.communicate()
    assert store.case(case.pseudonym).state is State.NEW
