"""What others get of an approved case: a label file, or a DICOM SEG that refers to the very scan."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_files import write_series
from fedliver.cli.main import main
from fedliver.ct_reader import read_ct
from fedliver.errors import FedLiverError
from fedliver.image import from_sitk
from fedliver.site.home import SiteHome

TEACHER = {"name": "tiny", "version": "T-0123456789abcdef", "sha256": "a" * 64}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteHome:
    monkeypatch.setenv("FEDLIVER_HOME", str(tmp_path / "home"))
    return SiteHome.open()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def command(*words: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        out = capsys.readouterr()
        assert (stop.value.code or 0) == code, out
        return out.out + out.err

    return command


@pytest.fixture
def study(tmp_path: Path, patient):  # type: ignore[no-untyped-def]
    """A study folder with the CT among other series, and the labels on the CT's grid as it is read."""
    ct, labels = patient(5)
    other, _ = patient(6)
    write_series(tmp_path / "study" / "other", other.volume, series="1.2.3.9", number=2)
    write_series(tmp_path / "study" / "ct", ct.volume, series="1.2.3.4")
    write_series(tmp_path / "study" / "same-grid", ct.volume.with_array(ct.volume.array[::-1]), series="1.2.3.5", number=3)
    return tmp_path / "study", read_ct(tmp_path / "study" / "ct"), labels


def approved(home: SiteHome, study, teacher: bool = True):  # type: ignore[no-untyped-def]
    from fedliver.cases.case import TeacherProvenance

    _, ct, labels = study
    store = home.store()
    proposal = labels.with_array((labels.array > 0).astype(np.uint8))
    case = store.attach(store.add(ct), proposal, proposal if teacher else None, TeacherProvenance(**TEACHER) if teacher else None)
    return store, store.approve(store.attach(case, labels))


def test_the_command_writes_a_seg_of_the_right_series_among_several(home, study, run, tmp_path) -> None:  # type: ignore[no-untyped-def]
    store, case = approved(home, study)
    said = run("case", "export", case.pseudonym, "--dicom-seg", tmp_path / "seg.dcm", "--source", study[0])
    assert "archive" in said
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4"
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == TEACHER["version"]
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8))[: seg.NumberOfFrames * seg.Rows * seg.Columns]
    assert bits.sum() == np.count_nonzero(store.approved_labels(case).array)


def test_a_scan_that_was_added_from_nifti_is_found_by_its_voxels(home, study, run, tmp_path) -> None:  # type: ignore[no-untyped-def]
    import SimpleITK as sitk

    from fedliver.image import to_sitk

    folder, ct, labels = study
    sitk.WriteImage(to_sitk(ct.volume), str(tmp_path / "ct.nii.gz"))
    store = home.store()
    case = store.approve(store.attach(store.add(read_ct(tmp_path / "ct.nii.gz")), labels))
    run("case", "export", case.pseudonym, "--dicom-seg", tmp_path / "seg.dcm", "--source", folder)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4"
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "MANUAL"


def test_the_command_writes_labels_that_are_the_approved_ones_even_when_newer_wait(home, study, run, tmp_path) -> None:  # type: ignore[no-untyped-def]
    import SimpleITK as sitk

    store, case = approved(home, study)
    store.attach(case, study[2].with_array(np.zeros_like(study[2].array)))
    run("case", "export", case.pseudonym, "--labels", tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(from_sitk(sitk.ReadImage(str(tmp_path / "labels.nii.gz"))).array, study[2].array)


def test_what_nobody_stands_for_and_what_refers_to_nothing_is_refused_in_words(home, study, run, tmp_path) -> None:  # type: ignore[no-untyped-def]
    store = home.store()
    case = store.attach(store.add(study[1]), study[2])
    assert "approve it first" in run("case", "export", case.pseudonym, "--labels", tmp_path / "labels.nii.gz", code=2)
    case = store.approve(case)
    assert "--labels" in run("case", "export", case.pseudonym, code=2)
    assert "--source" in run("case", "export", case.pseudonym, "--dicom-seg", tmp_path / "seg.dcm", code=2)
    wrong = run("case", "export", case.pseudonym, "--dicom-seg", tmp_path / "seg.dcm", "--source", study[0] / "other", code=2)
    assert "was added from" in wrong
    (tmp_path / "empty").mkdir()
    assert "no DICOM" in run("case", "export", case.pseudonym, "--dicom-seg", tmp_path / "seg.dcm", "--source", tmp_path / "empty", code=2)
    assert not (tmp_path / "seg.dcm").exists()


def test_a_case_by_another_sites_secret_is_not_taken_for_the_scan(home, study) -> None:  # type: ignore[no-untyped-def]
    from fedliver.cases.store import CaseStore

    store, case = approved(home, study)
    identity = study[1].identity
    assert store.is_scan_of(case, identity)
    assert not CaseStore(home.path, bytes(32)).is_scan_of(case, identity)
    assert not CaseStore(home.path).is_scan_of(case, identity)
    with pytest.raises(FedLiverError, match="approve it first"):
        store.approved_labels(store.exclude(case))
