"""DICOM SEG: what is written is read back by highdicom, by a hand-made reader on pydicom alone, and by dcmqi where it is installed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dicom_files import write_series
from fedliver.dicom_seg import Origin, write_dicom_seg
from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume, resample, to_sitk
from fedliver.labels import LIVER_STRUCTURE, TUMOUR_STRUCTURE

TEACHER = Origin("FedLiver starter", "1.0.0", "ab" * 32, corrected=True)


def oblique_grid() -> Geometry:
    a, b = 0.3, -0.2
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    )
    return Geometry((20, 16, 11), (0.8, 0.9, 2.5), (-110.5, 20.25, -700.125), tuple(float(x) for x in turn.ravel()))


@pytest.fixture
def labels() -> Volume:
    array = np.zeros(oblique_grid().shape, np.uint8)
    array[3:9, 2:14, 5:18] = 1
    array[5:7, 4:8, 9:13] = 2
    array[9, 15, 19] = 1  # in no other frame, at the edge: an off-by-one shows
    return Volume(array, oblique_grid())


@pytest.fixture
def ct(labels: Volume) -> Volume:
    return labels.with_array(np.random.default_rng(3).integers(-1000, 1500, labels.array.shape).astype(np.int16))


@pytest.fixture
def source(tmp_path: Path, ct: Volume) -> list[Path]:
    return write_series(tmp_path / "ct", ct, series="1.2.3.4")


def by_hand(path: Path) -> dict[str, Volume]:
    """Segments by label, from the frames alone: bits, position, orientation and spacing as DICOM says, with no library's idea of a SEG."""
    seg = pydicom.dcmread(path)
    frames = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")[: seg.NumberOfFrames * seg.Rows * seg.Columns]
    frames = frames.reshape(seg.NumberOfFrames, seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    rows_columns = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(*rows_columns)
    row_mm, column_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    step_mm = float(shared.PixelMeasuresSequence[0].SpacingBetweenSlices)
    found = {}
    for segment in seg.SegmentSequence:
        own = [
            (np.array(group.PlanePositionSequence[0].ImagePositionPatient, float), frame)
            for group, frame in zip(seg.PerFrameFunctionalGroupsSequence, frames, strict=True)
            if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment.SegmentNumber
        ]
        own.sort(key=lambda pair: pair[0] @ normal)
        heights = np.array([position @ normal for position, _ in own])
        index = np.rint((heights - heights[0]) / step_mm).astype(int)
        array = np.zeros((index[-1] + 1, seg.Rows, seg.Columns), np.uint8)
        array[index] = [frame for _, frame in own]
        direction = np.stack([rows_columns[0], rows_columns[1], normal], axis=1)
        size, origin = (seg.Columns, seg.Rows, len(array)), tuple(float(x) for x in own[0][0])
        found[str(segment.SegmentLabel)] = Volume(array, Geometry(size, (column_mm, row_mm, step_mm), origin, tuple(map(float, direction.ravel()))))
    return found


def expect_same(path: Path, labels: Volume) -> None:
    for structure in (LIVER_STRUCTURE, TUMOUR_STRUCTURE):
        segment = by_hand(path)[structure.name]
        onto = resample(segment, labels.geometry, order=0, outside=0)
        np.testing.assert_array_equal(onto.array == 1, labels.array == structure.value)
        assert np.count_nonzero(segment.array) == np.count_nonzero(labels.array == structure.value)


def test_every_voxel_comes_back_at_its_place_through_a_reader_of_our_own(labels: Volume, source: list[Path], tmp_path: Path) -> None:
    write_dicom_seg(labels, source, tmp_path / "seg.dcm", TEACHER)
    expect_same(tmp_path / "seg.dcm", labels)


def test_every_voxel_comes_back_through_highdicom_with_codes_colours_and_the_teacher(labels: Volume, source: list[Path], tmp_path: Path) -> None:
    import highdicom

    write_dicom_seg(labels, source, tmp_path / "seg.dcm", TEACHER, number=4)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    ordered = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in source]
    np.testing.assert_array_equal(seg.get_pixels_by_source_instance(ordered, combine_segments=True, ignore_spatial_locations=False), labels.array)
    liver, tumour = seg.get_segment_description(1), seg.get_segment_description(2)
    assert (liver.segmented_property_type.value, tumour.segmented_property_type.value) == ("10200004", "4147007")
    assert [region.value for region in tumour.anatomic_regions] == ["10200004"]
    colours = [highdicom.color.CIELabColor.from_dicom_value(one.RecommendedDisplayCIELabValue).to_rgb() for one in (liver, tumour)]
    assert colours == [LIVER_STRUCTURE.colour, TUMOUR_STRUCTURE.colour]
    assert liver.algorithm_type.value == "SEMIAUTOMATIC"
    assert (liver.algorithm_identification.name, liver.algorithm_identification.version) == ("FedLiver starter", "1.0.0")
    assert (seg.InstanceNumber, seg.SegmentsOverlap) == (4, "NO")


def test_each_frame_refers_to_the_slice_at_its_own_position(labels: Volume, source: list[Path], tmp_path: Path) -> None:
    write_dicom_seg(labels, source[::-1], tmp_path / "seg.dcm", TEACHER)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    slices = {header.SOPInstanceUID: header for header in (pydicom.dcmread(path, stop_before_pixels=True) for path in source)}
    for group in seg.PerFrameFunctionalGroupsSequence:
        referred = slices[group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        np.testing.assert_allclose(group.PlanePositionSequence[0].ImagePositionPatient, referred.ImagePositionPatient, atol=1e-4)
    series = seg.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == "1.2.3.4"
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence} == set(slices)


def test_it_is_filed_in_the_patients_study_in_one_series_of_its_own(labels: Volume, source: list[Path], tmp_path: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        write_dicom_seg(labels, source, tmp_path / name, TEACHER)
    first, second = (pydicom.dcmread(tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert (first.StudyInstanceUID, first.PatientID, first.FrameOfReferenceUID) == ("1.2.3", "SECRET-ID", "1.2.3.9")
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != "1.2.3.4"
    assert first.SOPInstanceUID != second.SOPInstanceUID


@pytest.mark.parametrize(
    ("origin", "kind"),
    [(Origin("T", "1", corrected=True), "SEMIAUTOMATIC"), (Origin("T", "1"), "AUTOMATIC"), (Origin(), "MANUAL")],
)
def test_it_says_whether_a_person_or_a_teacher_drew_it(labels: Volume, source: list[Path], tmp_path: Path, origin: Origin, kind: str) -> None:
    write_dicom_seg(labels, source, tmp_path / "seg.dcm", origin)
    segments = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    assert {segment.SegmentAlgorithmType for segment in segments} == {kind}
    assert all(("SegmentationAlgorithmIdentificationSequence" in segment) == bool(origin.teacher) for segment in segments)


def flipped(labels: Volume) -> Volume:
    """The same voxels with k and i counted from the other end, as Slicer may hold them."""
    image = to_sitk(labels)[::-1, :, ::-1]
    turned = Volume(sitk.GetArrayFromImage(image), Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()))
    assert not turned.geometry.same_grid(labels.geometry)
    return turned


def cropped(labels: Volume) -> Volume:
    image = to_sitk(labels)[4:, 1:, 2:10]
    return Volume(sitk.GetArrayFromImage(image), Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()))


@pytest.mark.parametrize("turn", [flipped, cropped])
def test_labels_whose_axes_run_otherwise_are_brought_to_the_slices(labels: Volume, source: list[Path], tmp_path: Path, turn) -> None:  # type: ignore[no-untyped-def]
    write_dicom_seg(turn(labels), source, tmp_path / "seg.dcm", TEACHER)
    expect_same(tmp_path / "seg.dcm", labels)


def test_a_liver_without_a_tumour_is_one_segment_and_a_tumour_alone_keeps_its_code(labels: Volume, source: list[Path], tmp_path: Path) -> None:
    for value, code in ((1, "10200004"), (2, "4147007")):
        only = labels.with_array(np.where(labels.array == value, labels.array, 0).astype(np.uint8))
        write_dicom_seg(only, source, tmp_path / "seg.dcm", TEACHER)
        (segment,) = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
        assert (segment.SegmentNumber, segment.SegmentedPropertyTypeCodeSequence[0].CodeValue) == (1, code)


def refused(code: str, labels: Volume, source: list[Path], target: Path) -> str:
    with pytest.raises(FedLiverError) as caught:
        write_dicom_seg(labels, source, target, TEACHER)
    assert caught.value.code == code
    assert not target.exists()
    assert "Secret" not in caught.value.sentence
    assert "SECRET" not in caught.value.sentence
    return caught.value.sentence


@pytest.mark.parametrize("missing", ["SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_scan_that_a_seg_could_not_refer_to_is_refused_by_name_of_what_it_lacks(labels, ct, tmp_path, missing, how) -> None:  # type: ignore[no-untyped-def]
    def spoil(dataset: pydicom.Dataset, _k: int) -> None:
        if how == "absent":
            del dataset[missing]
        else:
            setattr(dataset, missing, "")

    source = write_series(tmp_path / "spoilt", ct, change=spoil)
    assert missing in refused("source-without-identity", labels, source, tmp_path / "seg.dcm")


def test_a_scan_with_gaps_in_the_patients_data_is_exported_nevertheless(labels: Volume, ct: Volume, tmp_path: Path) -> None:
    def spoil(dataset: pydicom.Dataset, _k: int) -> None:
        del dataset.PatientID
        del dataset.PatientName

    write_dicom_seg(labels, write_series(tmp_path / "gaps", ct, change=spoil), tmp_path / "seg.dcm", TEACHER)
    expect_same(tmp_path / "seg.dcm", labels)


def test_jitter_in_the_last_digits_of_the_orientation_does_not_matter(labels: Volume, ct: Volume, tmp_path: Path) -> None:
    def jitter(dataset: pydicom.Dataset, k: int) -> None:
        dataset.ImageOrientationPatient = [f"{float(x) + 1e-7 * (k % 3):.9f}" for x in dataset.ImageOrientationPatient]

    write_dicom_seg(labels, write_series(tmp_path / "jitter", ct, change=jitter), tmp_path / "seg.dcm", TEACHER)
    expect_same(tmp_path / "seg.dcm", labels)


def test_labels_of_another_grid_are_refused(labels: Volume, source: list[Path], tmp_path: Path) -> None:
    grid = labels.geometry
    moved = Volume(labels.array, Geometry(grid.size, grid.spacing, (grid.origin[0] + 0.4, *grid.origin[1:]), grid.direction))
    refused("other-grid", moved, source, tmp_path / "seg.dcm")
    beyond = Volume(labels.array, Geometry(grid.size, grid.spacing, tuple((grid.affine_lps @ [0, 0, 5, 1])[:3]), grid.direction))
    refused("other-grid", beyond, source, tmp_path / "seg.dcm")


def test_nothing_drawn_two_series_or_no_dicom_are_refused(labels: Volume, ct: Volume, source: list[Path], tmp_path: Path) -> None:
    refused("empty", labels.with_array(np.zeros_like(labels.array)), source, tmp_path / "seg.dcm")
    other = write_series(tmp_path / "other", ct, series="1.2.3.5", number=2)
    refused("several-series", labels, [*source, *other], tmp_path / "seg.dcm")
    refused("no-source", labels, [Path(__file__)], tmp_path / "seg.dcm")


def test_slices_that_share_one_identifier_are_refused(labels: Volume, ct: Volume, tmp_path: Path) -> None:
    source = write_series(tmp_path / "twins", ct, change=lambda dataset, _k: setattr(dataset, "SOPInstanceUID", "1.2.3.77"))
    refused("source-without-identity", labels, source, tmp_path / "seg.dcm")


def test_a_header_that_dicom_does_not_allow_is_refused_without_a_word_of_the_patients(labels: Volume, ct: Volume, tmp_path: Path) -> None:
    def spoil(dataset: pydicom.Dataset, _k: int) -> None:
        dataset.StudyDate = "Secret 2024"

    with pydicom.config.disable_value_validation():
        source = write_series(tmp_path / "odd", ct, change=spoil)
    refused("seg-not-made", labels, source, tmp_path / "seg.dcm")


@pytest.mark.shared_data
def test_a_real_series_without_its_identifiers_is_refused_in_words(shared_data: Path, tmp_path: Path) -> None:
    from fedliver.ct_reader import read_ct

    files = sorted((shared_data / "dicom_ct").glob("*.dcm"))
    if not files:
        pytest.skip("no shared/data/dicom_ct here")
    volume = read_ct(shared_data / "dicom_ct").volume
    labels = volume.with_array((volume.array > 50).astype(np.uint8))
    assert "SeriesInstanceUID" in refused("source-without-identity", labels, files, tmp_path / "seg.dcm")


def test_dcmqi_reads_the_same_voxels(labels: Volume, source: list[Path], tmp_path: Path) -> None:
    """dcmqi (DCMTK, ITK) shares no line with highdicom; it is what 3D Slicer reads a SEG with. ``pip install dcmqi`` elsewhere and put it on PATH."""
    reader = shutil.which("segimage2itkimage", path=os.environ.get("DCMQI_BIN", os.environ["PATH"]))
    if reader is None:
        pytest.skip("dcmqi is not installed (pip install dcmqi in another environment, then set DCMQI_BIN to its folder)")
    write_dicom_seg(labels, source, tmp_path / "seg.dcm", TEACHER)
    command = [reader, "--inputDICOM", str(tmp_path / "seg.dcm"), "--outputDirectory", str(tmp_path), "--outputType", "nii", "--mergeSegments"]
    subprocess.run(command, check=True, capture_output=True)
    read = sitk.Resample(sitk.ReadImage(str(tmp_path / "1.nii.gz")), to_sitk(labels), sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), labels.array)
    segments = json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"][0]
    assert [segment["recommendedDisplayRGBValue"] for segment in segments] == [list(LIVER_STRUCTURE.colour), list(TUMOUR_STRUCTURE.colour)]


def test_of_a_whole_abdomen_every_slice_with_liver_is_one_frame_and_no_other(tmp_path: Path) -> None:
    grid = Geometry((256, 256, 120), (1.5, 1.5, 2.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    array = np.zeros(grid.shape, np.uint8)
    array[20:100, 40:200, 40:200] = 1
    source = write_series(tmp_path / "ct", Volume(np.zeros(grid.shape, np.int16), grid))
    write_dicom_seg(Volume(array, grid), source, tmp_path / "seg.dcm", TEACHER)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    heights_mm = [float(group.PlanePositionSequence[0].ImagePositionPatient[2]) for group in seg.PerFrameFunctionalGroupsSequence]
    assert sorted(heights_mm) == [2.0 * number for number in range(20, 100)]
    assert np.count_nonzero(seg.pixel_array) == np.count_nonzero(array)
