"""Many scans at once: data sets with labels, DICOM folders; what is refused does not stop the rest, and doing it twice changes nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dicom_files import write_series
from fedliver import dicom_series
from fedliver.cases.case import State
from fedliver.cases.store import CaseStore
from fedliver.cli.main import main
from fedliver.ct_reader import Ct, read_ct
from fedliver.datasets.importing import import_scans, scans_in
from fedliver.errors import Cancelled, FedLiverError
from fedliver.image import to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.home import SiteHome
from fedliver.watch import Silent


def write_scan(folder: Path, seed: int, labels: bool = True) -> None:
    folder.mkdir(parents=True)
    for name, volume in zip(("ct", "labels"), generate(PhantomSettings(seed=seed, spacing_mm=(8.0, 8.0, 8.0), lesions=1)), strict=True):
        if name == "ct" or labels:
            sitk.WriteImage(to_sitk(volume), str(folder / f"{name}.nii.gz"))


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    return SiteHome.open(tmp_path / "home").store()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for seed in (1, 2):
        write_scan(folder / f"p{seed}", seed)
    write_scan(folder / "p3", 3, labels=False)
    return folder


def states(store: CaseStore) -> list[State]:
    return [case.state for case in store.cases()]


def test_a_data_set_comes_in_with_its_labels_as_drafts_for_a_person_to_approve(store: CaseStore, dataset: Path) -> None:
    done = list(import_scans(store, scans_in(dataset), Silent()))
    assert [one.problem for one in done] == ["", "", ""]
    assert states(store) == [State.IN_CORRECTION, State.IN_CORRECTION, State.NEW]
    drawn = generate(PhantomSettings(seed=1, spacing_mm=(8.0, 8.0, 8.0), lesions=1))[1]
    assert done[0].case is not None
    np.testing.assert_array_equal(store.labels(done[0].case).array, drawn.array)


def test_a_folder_of_many_series_is_looked_through_once_and_each_is_the_case_that_it_is_alone(
    store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct = generate(PhantomSettings(seed=1, spacing_mm=(8.0, 8.0, 8.0), lesions=1))[0]
    for number in range(3):  # phases of one series: only what lies beside it tells each apart
        phase = ct.with_array(ct.array + np.int16(number))
        write_series(tmp_path / "dicom" / str(number), phase, change=lambda header, _, number=number: setattr(header, "AcquisitionNumber", number + 1))
    looked: list[Path] = []
    monkeypatch.setattr(dicom_series, "read_header", lambda path, read=dicom_series.read_header: looked.append(path) or read(path))
    done = list(import_scans(store, scans_in(tmp_path / "dicom"), Silent()))
    assert len(looked) == len(set(looked)) == 3 * len(ct.array)
    alone = [store.add(read_ct(tmp_path / "dicom", str(number + 1))).pseudonym for number in range(3)]
    assert [one.case and one.case.pseudonym for one in done] == alone
    assert len(set(alone)) == 3


def test_who_stands_for_the_labels_approves_them_with_the_import(store: CaseStore, dataset: Path) -> None:
    list(import_scans(store, scans_in(dataset), Silent(), approve=True))
    assert states(store) == [State.APPROVED, State.APPROVED, State.NEW]


def test_importing_twice_changes_nothing_and_replaces_nobodys_corrections(store: CaseStore, dataset: Path) -> None:
    first = next(import_scans(store, scans_in(dataset), Silent())).case
    assert first is not None
    corrected = store.labels(first)
    corrected = corrected.with_array(np.where(corrected.array == 2, 1, corrected.array).astype(np.uint8))
    store.attach(first, corrected)
    again = list(import_scans(store, scans_in(dataset), Silent()))
    assert len({one.case.pseudonym for one in again if one.case}) == len(store.cases()) == 3
    np.testing.assert_array_equal(store.labels(store.case(first.pseudonym)).array, corrected.array)


def test_what_is_refused_does_not_stop_the_rest(store: CaseStore, dataset: Path) -> None:
    (dataset / "p1" / "ct.nii.gz").write_bytes(b"no image")
    other_grid = sitk.ReadImage(str(dataset / "p2" / "labels.nii.gz"))[:, :, 1:]
    sitk.WriteImage(other_grid, str(dataset / "p2" / "labels.nii.gz"))
    first, second, third = import_scans(store, scans_in(dataset), Silent(), approve=True)
    assert first.case is None
    assert first.problem
    assert second.case is not None
    assert (second.case.state, bool(second.problem)) == (State.NEW, True)
    assert third.problem == ""


@pytest.mark.parametrize(("error", "words"), [(MemoryError(), "not enough memory"), (RuntimeError("in /data/Doe^Jane"), "unexpected")])
def test_an_error_that_nobody_foresaw_does_not_stop_the_rest_either_and_names_nobody(
    store: CaseStore, dataset: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, words: str
) -> None:
    def read(path: Path) -> Ct:
        if path.parent.name == "p2":
            raise error
        return read_ct(path)

    monkeypatch.setattr("fedliver.ct_reader.read_ct", read)
    first, second, third = import_scans(store, scans_in(dataset), Silent())
    assert (first.problem, second.case, third.problem) == ("", None, "")
    assert words in second.problem
    assert "Doe" not in second.problem + caplog.text


def test_scans_that_the_data_set_gives_to_one_patient_are_of_one_patient_here(store: CaseStore, dataset: Path) -> None:
    (dataset / "images.json").write_text(json.dumps({"p1": {"patient": "x"}, "p2": {"patient": "x"}}))
    cases = [one.case for one in import_scans(store, scans_in(dataset), Silent()) if one.case]
    assert cases[0].patient == cases[1].patient != cases[2].patient
    assert "x" not in cases[0].patient


def test_a_dicom_folder_comes_in_series_by_series_and_what_is_no_ct_is_left_out(store: CaseStore, tmp_path: Path) -> None:
    ct, _ = generate(PhantomSettings(seed=4, spacing_mm=(8.0, 8.0, 8.0), lesions=1))
    write_series(tmp_path / "dicom" / "a", ct)
    write_series(tmp_path / "dicom" / "b", ct, series="1.2.3.2", modality="MR")
    found = scans_in(tmp_path / "dicom")
    assert len(found) == 1
    (done,) = import_scans(store, found, Silent())
    assert done.problem == ""
    assert states(store) == [State.NEW]


def test_an_import_can_be_stopped_between_two_scans_and_keeps_what_is_done(store: CaseStore, dataset: Path) -> None:
    class AfterOne(Silent):
        def cancelled(self) -> bool:
            return bool(store.cases())

    with pytest.raises(Cancelled):
        list(import_scans(store, scans_in(dataset), AfterOne()))
    assert len(store.cases()) == 1


def test_a_folder_of_nothing_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FedLiverError) as refused:
        scans_in(tmp_path / "empty")
    assert refused.value.code == "no-dicom"


def test_the_command_counts_and_names_only_what_was_refused(tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "p3" / "ct.nii.gz").write_bytes(b"no image")
    with pytest.raises(SystemExit) as ended:
        main(["case", "import", str(dataset), "--approve", "--home", str(tmp_path / "home")])
    out = capsys.readouterr()
    assert ended.value.code == 1
    assert out.out.count("approved") == 2
    assert "2 of 3 scans" in out.out
    assert "p3:" in out.err
    assert "p1" not in out.out + out.err
