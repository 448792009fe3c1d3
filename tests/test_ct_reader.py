"""CT in: DICOM folders, tidy or not, and image files give the same Hounsfield units on the same grid."""

import os
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from dicom_files import set_pixels, write_series
from fedliver.ct_reader import check_ct, content_hash, list_series, read_ct
from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume, to_sitk
from fedliver.phantom import PhantomSettings, generate

DATA = Path(os.environ.get("FEDLIVER_DATA", Path(__file__).parents[2] / "shared" / "data"))
real_data = [pytest.mark.shared_data, pytest.mark.skipif(not DATA.is_dir(), reason=f"no real images at {DATA}")]


@pytest.fixture(scope="module")
def ct() -> Volume:
    return generate(PhantomSettings(seed=3, spacing_mm=(5.0, 4.0, 6.0), oblique_degrees=15))[0]


@pytest.fixture(scope="module")
def straight() -> Volume:
    return generate(PhantomSettings(seed=4, spacing_mm=(5.0, 5.0, 5.0)))[0]


def assert_same(volume: Volume, expected: Volume, tolerance_mm: float = 1e-3) -> None:
    assert volume.geometry.same_grid(expected.geometry, tolerance_mm)
    np.testing.assert_array_equal(volume.array, expected.array)


def test_an_oblique_dicom_series_comes_back_voxel_by_voxel_on_its_grid(ct: Volume, tmp_path: Path) -> None:
    write_series(tmp_path / "a" / "b", ct)
    found = read_ct(tmp_path)
    assert_same(found.volume, ct)
    assert found.volume.array.dtype == np.int16
    assert any("oblique" in w for w in found.warnings)


def test_any_single_file_of_a_series_stands_for_the_whole_series(ct: Volume, tmp_path: Path) -> None:
    paths = write_series(tmp_path, ct)
    write_series(tmp_path, ct, series="1.2.3.2", number=2)
    assert_same(read_ct(paths[7]).volume, ct)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_every_file_format_gives_the_same_volume_and_the_same_identity(ct: Volume, tmp_path: Path, suffix: str, compressed: bool) -> None:
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(to_sitk(ct), str(path), compressed)
    found = read_ct(path)
    assert_same(found.volume, ct)
    assert found.identity.series == content_hash(ct)


def test_the_grid_is_that_of_simpleitks_own_dicom_reader(ct: Volume, tmp_path: Path) -> None:
    write_series(tmp_path, ct)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    found = read_ct(tmp_path).volume
    np.testing.assert_allclose(found.geometry.origin, image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(found.geometry.direction, image.GetDirection(), atol=1e-6)
    np.testing.assert_array_equal(found.array, sitk.GetArrayViewFromImage(image))


def test_each_slice_is_rescaled_by_its_own_slope(straight: Volume, tmp_path: Path) -> None:
    def other_scale(dataset, k):
        set_pixels(dataset, straight.array[k], *((1, -1024), (0.5, -2000), (1, -1300))[k % 3])

    write_series(tmp_path, straight, change=other_scale)
    found = read_ct(tmp_path).volume
    assert found.array.dtype == np.int16
    assert_same(found, straight)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_transfer_syntaxes_give_the_same_units(straight: Volume, tmp_path: Path, syntax: str) -> None:
    def compress(dataset, k):
        dataset.PixelData = np.frombuffer(dataset.PixelData, np.uint16).tobytes()
        dataset.compress(syntax)

    write_series(tmp_path, straight, change=compress)
    assert_same(read_ct(tmp_path).volume, straight)


def test_jpeg_lossless_which_most_archives_store_is_read(straight: Volume, tmp_path: Path) -> None:
    """No decoder of pydicom's that we install reads it: GDCM does."""

    def compress(dataset, k):
        stored = np.frombuffer(dataset.PixelData, np.uint16).reshape(1, dataset.Rows, dataset.Columns)
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(tmp_path / "slice.tmp"))
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(sitk.GetImageFromArray(stored))
        compressed = pydicom.dcmread(tmp_path / "slice.tmp")
        assert compressed.file_meta.TransferSyntaxUID == JPEGLosslessSV1
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        dataset.PixelData = compressed.PixelData
        dataset["PixelData"].is_undefined_length = True

    write_series(tmp_path / "series", straight, change=compress)
    assert_same(read_ct(tmp_path / "series").volume, straight)


def test_bits_above_those_stored_are_not_part_of_the_value(straight: Volume, tmp_path: Path) -> None:
    """Old scanners keep overlays there."""

    def overlay(dataset, k):
        dataset.PixelData = (np.frombuffer(dataset.PixelData, np.uint16) | 0x3000).tobytes()
        dataset.BitsStored, dataset.HighBit = 12, 11

    write_series(tmp_path, straight, change=overlay)
    assert_same(read_ct(tmp_path).volume, straight)


def test_a_lossy_series_is_accepted_with_a_warning(straight: Volume, tmp_path: Path) -> None:
    write_series(tmp_path, straight, change=lambda d, k: setattr(d, "LossyImageCompression", "01"))
    assert any("with loss" in w for w in read_ct(tmp_path).warnings)


@pytest.mark.parametrize("compressed", [False, True])
def test_inverted_display_does_not_invert_the_units(straight: Volume, tmp_path: Path, compressed: bool) -> None:
    def invert(dataset, k):
        dataset.PhotometricInterpretation = "MONOCHROME1"
        if compressed:
            dataset.compress(JPEG2000Lossless)

    write_series(tmp_path, straight, change=invert)
    assert_same(read_ct(tmp_path).volume, straight)


def test_files_that_are_no_slices_do_not_disturb(straight: Volume, tmp_path: Path) -> None:
    write_series(tmp_path, straight)
    (tmp_path / "DICOMDIR").write_bytes(bytes(200))
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / ".hidden").write_bytes(b"\0" * 128 + b"DICM")

    def capture(dataset, k):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        del dataset.ImagePositionPatient

    write_series(tmp_path / "capture", straight, series="1.2.3.8", number=8, leave_out=range(1, 500), change=capture)
    assert_same(read_ct(tmp_path).volume, straight)
    assert len(list_series(tmp_path)) == 1


def test_several_series_are_listed_without_a_word_about_the_patient_and_one_is_chosen_by_its_key(ct: Volume, straight: Volume, tmp_path: Path) -> None:
    write_series(tmp_path, ct, series="1.2.3.5", number=5)
    write_series(tmp_path, straight, series="1.2.3.4", number=2)
    listed = list_series(tmp_path)
    assert [s.key for s in listed] == ["1", "2"]
    assert [len(s.files) for s in listed] == [len(straight.array), len(ct.array)]
    with pytest.raises(FedLiverError) as refusal:
        read_ct(tmp_path)
    assert refusal.value.code == "several-series"
    assert "--series" in refusal.value.sentence
    for text in (refusal.value.sentence, *(s.description for s in listed)):
        assert "CT" in text
        assert "ecret" not in text
        assert "SECRET" not in text
    assert_same(read_ct(tmp_path, "1").volume, straight)
    assert_same(read_ct(tmp_path, "2").volume, ct)
    for wrong in ("3", "0", "x", ""):
        with pytest.raises(FedLiverError, match="--series") as refusal:
            read_ct(tmp_path, wrong)
        assert refusal.value.code == "no-such-series"


def test_the_only_ct_among_other_series_is_read_and_said(straight: Volume, tmp_path: Path) -> None:
    write_series(tmp_path, straight, series="1.2.3.1", number=3)
    write_series(tmp_path, straight, series="1.2.3.2", number=1, modality="PT")
    write_series(tmp_path, straight, series="1.2.3.3", number=2, leave_out=range(2, 500))
    found = read_ct(tmp_path)
    assert_same(found.volume, straight)
    assert any("only CT volume" in w for w in found.warnings)


def test_two_series_are_told_apart_without_series_instance_uid(ct: Volume, straight: Volume, tmp_path: Path) -> None:

    def strip(dataset, k):
        dataset.SeriesInstanceUID = ""

    later = straight.with_array(straight.array + np.int16(3))
    write_series(tmp_path, ct, number=1, change=strip)
    write_series(tmp_path, straight, number=2, change=strip)
    write_series(tmp_path, later, number=3, change=strip)
    assert len(list_series(tmp_path)) == 3
    assert_same(read_ct(tmp_path, "1").volume, ct)
    assert_same(read_ct(tmp_path, "3").volume, later)
    assert any("SeriesInstanceUID" in w for w in read_ct(tmp_path, "2").warnings)


def test_a_localizer_in_the_same_series_is_set_apart(straight: Volume, tmp_path: Path) -> None:
    def as_localizer(dataset, k):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(tmp_path, straight)
    write_series(tmp_path / "scout", straight, leave_out=range(1, 500), change=as_localizer)
    assert len(list_series(tmp_path)) == 2
    assert_same(read_ct(tmp_path).volume, straight)


def test_two_phases_in_one_series_become_two_series_with_identities_of_their_own(straight: Volume, tmp_path: Path) -> None:
    later = straight.with_array(straight.array + np.int16(3))
    write_series(tmp_path / "1", straight, change=lambda d, k: setattr(d, "AcquisitionNumber", 4))
    write_series(tmp_path / "2", later, change=lambda d, k: setattr(d, "AcquisitionNumber", 5))
    one, two = read_ct(tmp_path, "1"), read_ct(tmp_path, "2")
    assert_same(one.volume, straight)
    assert_same(two.volume, later)
    assert one.identity.patient == two.identity.patient == "SECRET-ID"
    assert one.identity.series != two.identity.series


def test_copies_of_files_are_passed_over(straight: Volume, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", straight)
    (tmp_path / "b").mkdir()
    for path in paths[:4]:
        shutil.copy(path, tmp_path / "b" / path.name)
    found = read_ct(tmp_path)
    assert_same(found.volume, straight)
    assert any("4 of the files are copies" in w for w in found.warnings)


def test_the_same_scan_is_the_same_case_wherever_its_files_lie(straight: Volume, tmp_path: Path) -> None:
    def nameless(dataset, k):
        for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
            setattr(dataset, name, "")

    write_series(tmp_path / "a", straight, change=nameless)
    write_series(tmp_path / "b", straight, number=1, change=nameless, shuffled=False)
    first, second = read_ct(tmp_path / "a"), read_ct(tmp_path / "b")
    assert first.identity == second.identity
    assert first.identity.series == content_hash(straight)
    other = straight.array.copy()
    other[0, 0, 0] += 1
    assert content_hash(straight.with_array(other)) != content_hash(straight)


def test_the_identity_is_that_of_the_dicom_headers(straight: Volume, tmp_path: Path) -> None:
    write_series(tmp_path, straight, series="1.2.3.77", study="1.2.3.70")
    identity = read_ct(tmp_path).identity
    assert (identity.patient, identity.study, identity.series) == ("SECRET-ID", "1.2.3.70", "1.2.3.77")


def test_float_files_that_hold_whole_numbers_become_int16_and_others_float32(straight: Volume, tmp_path: Path) -> None:
    sitk.WriteImage(to_sitk(straight.with_array(straight.array.astype(np.float64))), str(tmp_path / "whole.nrrd"))
    sitk.WriteImage(to_sitk(straight.with_array(straight.array.astype(np.float64) + 0.25)), str(tmp_path / "half.nrrd"))
    assert read_ct(tmp_path / "whole.nrrd").volume.array.dtype == np.int16
    half = read_ct(tmp_path / "half.nrrd").volume.array
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, straight.array + 0.25)


def test_padding_becomes_air_and_is_told(straight: Volume, tmp_path: Path) -> None:
    padded = straight.array.copy()
    padded[:, :8] = -3024
    write_series(tmp_path, straight.with_array(padded), intercept=-1024)
    found = read_ct(tmp_path)
    assert found.volume.array.min() == -1024
    assert any("-3024" in w for w in found.warnings)
    np.testing.assert_array_equal(found.volume.array[:, 8:], straight.array[:, 8:])


def test_a_fourth_axis_of_length_one_is_dropped(straight: Volume, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.JoinSeries([to_sitk(straight)]), str(tmp_path / "four.nii.gz"))
    assert_same(read_ct(tmp_path / "four.nii.gz").volume, straight)


def test_gzip_files_joined_end_to_end_are_whole(straight: Volume, tmp_path: Path) -> None:
    import gzip

    sitk.WriteImage(to_sitk(straight), str(tmp_path / "plain.nii"))
    content = (tmp_path / "plain.nii").read_bytes()
    (tmp_path / "joined.nii.gz").write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:]))
    assert_same(read_ct(tmp_path / "joined.nii.gz").volume, straight)


def test_a_ct_of_the_chest_or_of_the_pelvis_is_a_ct_too() -> None:
    for view in ("chest", "pelvis"):
        check_ct(generate(PhantomSettings(seed=1, spacing_mm=(6.0, 6.0, 8.0), field_of_view=view))[0])


def test_clipped_units_are_accepted_with_a_warning(straight: Volume) -> None:
    clipped = np.clip(straight.array, -160, 240) // 4 * 4
    assert any("clipped to -160 to 240" in w for w in check_ct(straight.with_array(clipped)))
    assert not any("clipped" in w for w in check_ct(straight))


def test_a_nifti_that_does_not_say_how_the_patient_lies_is_accepted_with_a_warning(straight: Volume, tmp_path: Path) -> None:
    import nibabel as nib

    image = nib.Nifti1Image(straight.array.transpose(2, 1, 0), None)
    image.header.set_zooms((5, 5, 5))
    image.header["qform_code"] = image.header["sform_code"] = 0
    nib.save(image, tmp_path / "lost.nii")
    assert any("left and right" in w for w in read_ct(tmp_path / "lost.nii").warnings)


def test_a_big_scan_is_checked_quickly() -> None:
    import time

    grid = Geometry((512, 512, 120), (0.8, 0.8, 1.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    array = np.full(grid.shape, -1000, np.int16)
    array[:, 100:400, 80:430] = 40
    array[:, 100:120, 80:430] = -100
    start = time.process_time()
    check_ct(Volume(array, grid))
    assert time.process_time() - start < 5


class TestRealImages:
    pytestmark = real_data

    @pytest.mark.parametrize("path", sorted(DATA.glob("liver_ct/*/*/ct.nii.gz")), ids=lambda p: p.parent.name)
    def test_every_real_ct_is_read(self, path: Path) -> None:
        found = read_ct(path)
        assert found.volume.array.dtype == np.int16
        assert found.volume.array.min() >= -1024
        assert any("clipped" in w for w in found.warnings) == path.parent.name.startswith("lits")
        assert any("8.0 mm apart" in w for w in found.warnings) == (path.parent.name == "thick_slices")

    def test_the_dicom_series_without_series_instance_uid_is_one_series_in_order(self) -> None:
        found = read_ct(DATA / "dicom_ct")
        assert found.volume.geometry.size == (512, 512, 20)
        assert found.volume.geometry.spacing == pytest.approx((0.9765625, 0.9765625, 2.0))
        assert found.volume.geometry.origin == pytest.approx((-249.51171875, -437.51171875, -804.5))
        assert any("SeriesInstanceUID" in w for w in found.warnings)
        steps = np.abs(np.diff(found.volume.array.astype(np.int32), axis=0)).mean(axis=(1, 2))
        assert steps.max() < 3 * steps.min()  # neighbours are alike only in the right order

    def test_three_slices_and_a_segmentation_object_are_refused_in_words(self) -> None:
        with pytest.raises(FedLiverError, match="3 slices") as refusal:
            read_ct(DATA / "dicom_seg" / "ct")
        assert refusal.value.code == "too-few-slices"
        with pytest.raises(FedLiverError, match="SEG") as refusal:
            read_ct(DATA / "dicom_seg" / "liver_seg.dcm")
        assert refusal.value.code == "not-ct"
