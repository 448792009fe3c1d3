"""A scan opened from the page: read where it lies in the inbox, gone from there afterwards, refused in words; names that are paths find nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from fedliver.errors import Cancelled, FedLiverError
from fedliver.image import to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.watch import Silent
from fedliver.web.incoming import SeriesOffer, inside, names_in, read_scan
from fedliver.web.opening import Opening


class Worklist:
    """Reads at once, as the real one does in a thread."""

    def __init__(self) -> None:
        self.read: list[Any] = []
        self.errors: list[str] = []

    def open_scan(self, read: Callable[[Any], Any], name: str) -> None:
        assert name.startswith("CT opened at ")
        try:
            self.read.append(read(Silent()))
        except (FedLiverError, Cancelled) as error:
            self.errors.append(getattr(error, "code", "cancelled"))


@pytest.fixture(scope="module")
def nifti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "ct.nii.gz"
    ct, _labels = generate(PhantomSettings(seed=1, spacing_mm=(6.0, 6.0, 8.0)))
    sitk.WriteImage(to_sitk(ct), str(path))
    return path


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def put(inbox: Path, name: str, file: Path) -> None:
    (inbox / name).mkdir()
    (inbox / name / file.name).write_bytes(file.read_bytes())


def test_an_upload_is_read_and_then_gone_from_the_disk(inbox: Path, nifti: Path) -> None:
    put(inbox, "a1b2", nifti)
    worklist = Worklist()
    Opening(worklist, inbox, None).ended("a1b2", "")
    assert worklist.read[0].volume.array.size > 0
    assert list(inbox.iterdir()) == []


def test_an_upload_that_is_no_image_is_refused_and_gone_from_the_disk(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.nii").write_text("Dear colleague")
    put(inbox, "a1b2", tmp_path / "letter.nii")
    worklist = Worklist()
    Opening(worklist, inbox, None).open_upload("a1b2")
    assert worklist.read == []
    assert worklist.errors
    assert list(inbox.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "/etc", "a/b", "a\\b", "nobody", "a\0b"])
def test_a_name_that_is_a_path_finds_nothing(inbox: Path, name: str) -> None:
    (inbox.parent / "secret").mkdir()
    worklist = Worklist()
    opening = Opening(worklist, inbox, None)
    opening.open_upload(name)
    assert worklist.read == []
    assert worklist.errors == []
    assert "open the files again" in opening.shown()["upload_said"]
    assert (inbox.parent / "secret").is_dir()


def test_a_link_is_no_upload(inbox: Path, nifti: Path) -> None:
    (inbox / "link").symlink_to(nifti.parent)
    with pytest.raises(FedLiverError, match="open the files again"):
        inside(inbox, "link")


def test_what_lies_in_the_data_folder_is_offered_by_name_read_and_stays(inbox: Path, tmp_path: Path, nifti: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "ct.nii.gz").write_bytes(nifti.read_bytes())
    (data / ".hidden").mkdir()
    (data / "link").symlink_to("/etc")
    worklist = Worklist()
    opening = Opening(worklist, inbox, data)
    assert opening.shown()["data_names"] == ["ct.nii.gz"]
    opening.open_data("ct.nii.gz")
    opening.forget()
    assert len(worklist.read) == 1
    assert (data / "ct.nii.gz").is_file()
    assert names_in(None) == []


def test_without_a_data_folder_nothing_is_offered_and_nothing_opens(inbox: Path) -> None:
    worklist = Worklist()
    Opening(worklist, inbox, None).open_data("ct.nii.gz")
    assert worklist.read == []


def test_whoever_has_no_ct_gets_one_that_is_no_patients(inbox: Path) -> None:
    class Worklist:
        def open_scan(self, read: Callable[[Any], Any], name: str) -> None:
            assert name == "Generated CT"
            self.ct = read(Silent())

    worklist = Worklist()
    Opening(worklist, inbox, None).open_sample()
    assert worklist.ct.volume.array.min() < -900
    assert worklist.ct.identity.patient == worklist.ct.identity.series, "its content is all there is to name it by"


def test_a_metaimage_comes_with_its_data_beside_it(tmp_path: Path, nifti: Path) -> None:
    folder = tmp_path / "up"
    folder.mkdir()
    sitk.WriteImage(sitk.ReadImage(str(nifti)), str(folder / "ct.mhd"))
    assert len(list(folder.iterdir())) == 2
    assert read_scan(folder, None, lambda offers: None, Silent()).volume.array.size > 0


@pytest.mark.parametrize("name", ["00001.mha", "00001.mhd", "00001.nrrd", "00001.nhdr", "00001"])
def test_an_upload_has_its_voxels_in_itself_and_names_no_file_of_this_computer_not_even_one_beside_it(inbox: Path, tmp_path: Path, name: str) -> None:
    ours = tmp_path / "site_key"
    ours.write_bytes(bytes(1000))
    for said in (str(ours), "../../site_key", "00002"):
        (inbox / "a1b2").mkdir()
        if name in ("00001.nrrd", "00001.nhdr"):
            text = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 10 10 10\nencoding: raw\ndata file: {said}\n"
        else:
            text = f"ObjectType = Image\nNDims = 3\nDimSize = 10 10 10\nElementType = MET_UCHAR\nElementDataFile = {said}\n"
        (inbox / "a1b2" / name).write_text(text)
        worklist = Worklist()
        Opening(worklist, inbox, None).open_upload("a1b2")
        assert worklist.errors == ["detached-data"]
        assert list(inbox.iterdir()) == []
    (inbox / "other").mkdir()
    (inbox / "other" / name).write_text(text)
    (inbox / "other" / "00002").write_bytes(bytes(1000))
    with pytest.raises(FedLiverError) as refusal:
        read_scan(inbox / "other" / name, None, lambda offers: None, Silent(), alone=True)
    assert refusal.value.code == "detached-data"


def test_of_several_series_one_is_chosen_and_until_then_the_upload_stays(inbox: Path, nifti: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(inbox, "a1b2", nifti)
    asked: list[str | None] = []

    def read(path: Path, series: str | None, offer: Callable[[list[SeriesOffer]], None], watcher: Any, alone: bool) -> str:
        asked.append(series)
        if series is None:
            offer([SeriesOffer("1", "CT, 30 slices"), SeriesOffer("2", "CT, 300 slices")])
            raise FedLiverError("several-series", "There are several series here: choose one of those listed.")
        return "a CT"

    monkeypatch.setattr("fedliver.web.opening.read_scan", read)
    worklist = Worklist()
    opening = Opening(worklist, inbox, None)
    opening.open_upload("a1b2")
    assert [one["key"] for one in opening.shown()["series"]] == ["1", "2"]
    assert (inbox / "a1b2").is_dir()
    opening.choose_series("9")
    opening.choose_series("2")
    assert asked == [None, "2"]
    assert worklist.read == ["a CT"]
    assert opening.shown()["series"] == []
    assert list(inbox.iterdir()) == []


def test_another_upload_lets_go_of_one_whose_series_was_not_chosen(inbox: Path, nifti: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, series: str | None, offer: Callable[[list[SeriesOffer]], None], watcher: Any, alone: bool) -> None:
        offer([SeriesOffer("1", "CT")])
        raise FedLiverError("several-series", "There are several series here.")

    monkeypatch.setattr("fedliver.web.opening.read_scan", read)
    opening = Opening(Worklist(), inbox, None)
    put(inbox, "first", nifti)
    opening.open_upload("first")
    put(inbox, "second", nifti)
    opening.open_upload("second")
    assert [entry.name for entry in inbox.iterdir()] == ["second"]


def test_an_upload_shows_how_far_it_is_and_says_when_it_did_not_arrive(inbox: Path) -> None:
    opening = Opening(Worklist(), inbox, None)
    opening.report(42)
    assert opening.shown()["uploading"] == {"percent": 42, "said": "42 %"}
    opening.ended("", "That file is too large.")
    assert opening.shown()["uploading"] is None
    assert opening.shown()["upload_said"] == "That file is too large."
    opening.ended("", "")
    assert "did not arrive" in opening.shown()["upload_said"]
