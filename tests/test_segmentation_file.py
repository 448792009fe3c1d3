"""Segmentations out and in: every format on exactly the CT's grid; 3D Slicer opens ours and we open Slicer's."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume, to_sitk
from fedliver.labels import STRUCTURES
from fedliver.segmentation_file import WRITABLE, read_segmentation, write_segmentation


def oblique(size: tuple[int, int, int] = (30, 26, 20)) -> Geometry:
    turn, tip = np.radians(20), np.radians(-12)
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tip), -np.sin(tip)], [0, np.sin(tip), np.cos(tip)]])
    flip = np.diag([1.0, -1.0, 1.0])
    return Geometry(size, (0.8, 1.1, 2.5), (-123.4, 56.7, -789.0), tuple((about_z @ about_x @ flip).ravel()))


@pytest.fixture
def labels() -> Volume:
    array = np.zeros(oblique().shape, np.uint8)
    array[4:15, 6:20, 5:22] = 1
    array[7:10, 9:13, 11:16] = 2
    return Volume(array, oblique())


def assert_same(volume: Volume, expected: Volume) -> None:
    assert volume.geometry.same_grid(expected.geometry, 1e-3)
    assert volume.array.dtype == np.uint8
    np.testing.assert_array_equal(volume.array, expected.array)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_what_is_written_comes_back_on_the_same_oblique_grid(labels: Volume, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new folder" / f"case one{suffix}"
    write_segmentation(labels, path)
    assert_same(read_segmentation(path), labels)
    assert read_segmentation(path, labels.geometry).geometry == labels.geometry
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["case.dcm", "case", "case.jpg", ".nii.gz", "case.nii.gz.bak"])
def test_another_suffix_is_refused_naming_those_that_work(labels: Volume, tmp_path: Path, name: str) -> None:
    with pytest.raises(FedLiverError) as refusal:
        write_segmentation(labels, tmp_path / name)
    assert refusal.value.code == "unknown-suffix"
    assert all(suffix in refusal.value.sentence for suffix in WRITABLE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("present", [(), (1,), (2,)])
def test_an_empty_segment_is_still_a_segment(labels: Volume, tmp_path: Path, present: tuple[int, ...]) -> None:
    part = labels.with_array(np.where(np.isin(labels.array, present), labels.array, 0).astype(np.uint8))
    write_segmentation(part, tmp_path / "part.seg.nrrd")
    assert_same(read_segmentation(tmp_path / "part.seg.nrrd", labels.geometry), part)


def test_labels_other_than_0_1_2_are_refused_in_and_out(labels: Volume, tmp_path: Path) -> None:
    wrong = labels.with_array(labels.array * 3)
    with pytest.raises(FedLiverError, match="3, 6") as refusal:
        write_segmentation(wrong, tmp_path / "wrong.nii.gz")
    assert refusal.value.code == "illegal-labels"
    for name, image in {"six.nrrd": to_sitk(wrong), "half.mha": to_sitk(wrong.with_array(wrong.array * 0.5))}.items():
        sitk.WriteImage(image, str(tmp_path / name))
        with pytest.raises(FedLiverError, match="only 0") as refusal:
            read_segmentation(tmp_path / name)
        assert refusal.value.code == "illegal-labels"


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint32])
def test_label_maps_of_other_number_types_are_read(labels: Volume, tmp_path: Path, dtype: type) -> None:
    sitk.WriteImage(to_sitk(labels.with_array(labels.array.astype(dtype))), str(tmp_path / "x.nii.gz"))
    assert_same(read_segmentation(tmp_path / "x.nii.gz"), labels)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Liver", 1), ("liver_1", 1), ("LIVER (left lobe)", 1), ("Leber", 1), ("Foie", 1), ("Tumour", 2), ("tumor-2", 2), ("Liver tumor", 2), ("HCC 3", 2),
        ("liver metastases", 2), ("Lesion_07", 2), ("Liver vessels", None), ("portal vein of liver", None), ("liver cyst", None), ("Spleen", None),
        ("metal", None), ("sliver", None), ("Segment_1", None), ("", None),
    ],
)  # fmt: skip
def test_a_segment_is_what_its_name_says(labels: Volume, tmp_path: Path, name: str, value: int | None) -> None:
    image = to_sitk(labels.with_array((labels.array > 0).astype(np.uint8)))
    for key, text in {"ID": "x", "Name": name, "LabelValue": "1", "Layer": "0"}.items():
        image.SetMetaData(f"Segment0_{key}", text)
    sitk.WriteImage(image, str(tmp_path / "x.seg.nrrd"))
    if value is None:
        with pytest.raises(FedLiverError, match="rename them"):
            read_segmentation(tmp_path / "x.seg.nrrd")
    else:
        np.testing.assert_array_equal(read_segmentation(tmp_path / "x.seg.nrrd").array, (labels.array > 0) * value)


def test_the_layout_of_older_slicers_one_component_per_segment_is_read(labels: Volume, tmp_path: Path) -> None:
    layers = [to_sitk(labels.with_array((labels.array == value).astype(np.uint8))) for value in (2, 1)]
    image = sitk.Compose(layers)
    for number, name in enumerate(("Tumour", "Liver")):
        image.SetMetaData(f"Segment{number}_ID", name)
        image.SetMetaData(f"Segment{number}_Name", name)
    sitk.WriteImage(image, str(tmp_path / "old.seg.nrrd"))
    assert_same(read_segmentation(tmp_path / "old.seg.nrrd"), labels)


@pytest.mark.parametrize(("key", "text"), [("Layer", "7"), ("Layer", "-1"), ("LabelValue", "one"), ("LabelValue", "0")])
def test_a_segment_that_the_file_does_not_hold_is_refused(labels: Volume, tmp_path: Path, key: str, text: str) -> None:
    image = to_sitk(labels)
    for pair in {"ID": "Liver", "Name": "Liver", "LabelValue": "1", "Layer": "0", key: text}.items():
        image.SetMetaData(f"Segment0_{pair[0]}", pair[1])
    sitk.WriteImage(image, str(tmp_path / "x.seg.nrrd"))
    with pytest.raises(FedLiverError, match="save it again") as refusal:
        read_segmentation(tmp_path / "x.seg.nrrd")
    assert refusal.value.code == "damaged"


class TestAnotherGrid:
    def cases(self) -> Iterator[tuple[str, Geometry]]:
        grid = oblique()
        yield "30 × 26 × 20", Geometry((30, 26, 21), grid.spacing, grid.origin, grid.direction)
        yield "elsewhere", Geometry(grid.size, grid.spacing, (grid.origin[0] + 0.4, *grid.origin[1:]), grid.direction)
        yield "0.80 × 1.10 × 2.50", Geometry(grid.size, (0.8, 1.1, 2.0), grid.origin, grid.direction)
        yield "turned", Geometry(grid.size, grid.spacing, grid.origin, (1, 0, 0, 0, 1, 0, 0, 0, 1))

    @pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
    def test_is_refused_with_both_grids_in_words(self, labels: Volume, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"mask{suffix}"
        write_segmentation(labels, path)
        for text, onto in self.cases():
            with pytest.raises(FedLiverError, match=text) as refusal:
                read_segmentation(path, onto)
            assert refusal.value.code == "different-grid"

    def test_is_refused_for_slicers_format_unless_it_is_a_box_of_the_same_voxels(self, labels: Volume, tmp_path: Path) -> None:
        write_segmentation(labels, tmp_path / "mask.seg.nrrd")
        for text, onto in list(self.cases())[1:]:
            with pytest.raises(FedLiverError) as refusal:
                read_segmentation(tmp_path / "mask.seg.nrrd", onto)
            assert refusal.value.code == "different-grid", text
        short = Geometry((15, 26, 20), *_rest(oblique()))
        with pytest.raises(FedLiverError) as refusal:
            read_segmentation(tmp_path / "mask.seg.nrrd", short)
        assert refusal.value.code == "different-grid"


def _rest(grid: Geometry) -> tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, ...]]:
    return grid.spacing, grid.origin, grid.direction


class TestWithRealSlicer:
    """The MRML of 3D Slicer itself (slicer-core)."""

    @pytest.fixture
    def scene(self):
        slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
        scene = slicer.vtkMRMLScene()
        yield scene
        scene.Clear(True)

    def load(self, scene, path: Path):
        import slicer

        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        storage = slicer.vtkMRMLSegmentationStorageNode()
        scene.AddNode(storage)
        storage.SetFileName(str(path))
        assert storage.ReadData(node)
        return node

    def segment_image(self, node, segment_id: str):
        import slicer
        import vtk
        from vtk.util.numpy_support import vtk_to_numpy

        image = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(segment_id, image)
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        low = image.GetExtent()[::2]
        size = image.GetDimensions()
        array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(size[::-1])
        affine = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
        return array, affine, low

    def test_slicer_shows_our_names_colours_terminology_and_voxels_where_they_belong(self, scene, labels: Volume, tmp_path: Path) -> None:
        import vtk

        write_segmentation(labels, tmp_path / "ours.seg.nrrd")
        node = self.load(scene, tmp_path / "ours.seg.nrrd")
        segmentation = node.GetSegmentation()
        assert [segmentation.GetNthSegment(i).GetName() for i in range(segmentation.GetNumberOfSegments())] == ["Liver", "Tumour"]
        assert segmentation.GetNumberOfLayers() == 1
        for index, structure in enumerate(STRUCTURES):
            segment = segmentation.GetNthSegment(index)
            np.testing.assert_allclose(segment.GetColor(), np.array(structure.colour) / 255, atol=1e-5)
            entry = vtk.reference("")
            assert segment.GetTag("TerminologyEntry", entry)
            assert str(entry) == structure.terminology_entry
            assert structure.type.value in str(entry)
            array, affine, low = self.segment_image(node, segmentation.GetNthSegmentID(index))
            placed = np.zeros(labels.array.shape, bool)
            i, j, k = low
            placed[k : k + array.shape[0], j : j + array.shape[1], i : i + array.shape[2]] = array > 0
            np.testing.assert_array_equal(placed, labels.array == structure.value)
            np.testing.assert_allclose(affine, labels.geometry.affine_ras, atol=1e-6)

    @pytest.mark.parametrize("present", [(1,), ()])
    def test_slicer_shows_a_segment_that_is_still_empty(self, scene, labels: Volume, tmp_path: Path, present: tuple[int, ...]) -> None:
        part = labels.with_array(np.where(np.isin(labels.array, present), labels.array, 0).astype(np.uint8))
        write_segmentation(part, tmp_path / "part.seg.nrrd")
        segmentation = self.load(scene, tmp_path / "part.seg.nrrd").GetSegmentation()
        assert [segmentation.GetNthSegment(i).GetName() for i in range(segmentation.GetNumberOfSegments())] == ["Liver", "Tumour"]

    def save(self, scene, node, path: Path) -> None:
        import slicer

        storage = slicer.vtkMRMLSegmentationStorageNode()
        scene.AddNode(storage)
        storage.SetFileName(str(path))
        assert storage.WriteData(node)

    def test_what_slicer_saves_after_reading_ours_comes_back_to_the_cts_grid(self, scene, labels: Volume, tmp_path: Path) -> None:
        write_segmentation(labels, tmp_path / "ours.seg.nrrd")
        self.save(scene, self.load(scene, tmp_path / "ours.seg.nrrd"), tmp_path / "slicers.seg.nrrd")
        assert_same(read_segmentation(tmp_path / "slicers.seg.nrrd", labels.geometry), labels)

    def test_the_box_that_slicer_stores_after_an_import_comes_back_to_its_place(self, scene, labels: Volume, tmp_path: Path) -> None:
        import slicer
        import vtk
        from vtk.util.numpy_support import numpy_to_vtk

        image = vtk.vtkImageData()
        image.SetDimensions(labels.array.shape[::-1])
        image.GetPointData().SetScalars(numpy_to_vtk(labels.array.ravel(), deep=True))
        node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        node.SetAndObserveImageData(image)
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(labels.geometry.affine_ras.ravel().tolist())
        node.SetIJKToRASMatrix(matrix)
        logic = slicer.vtkSlicerSegmentationsModuleLogic()
        logic.SetMRMLScene(scene)
        segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        assert logic.ImportLabelmapToSegmentationNode(node, segmentation)
        for index, structure in enumerate(STRUCTURES):
            segmentation.GetSegmentation().GetNthSegment(index).SetName(structure.name)
        self.save(scene, segmentation, tmp_path / "box.seg.nrrd")
        stored = read_segmentation(tmp_path / "box.seg.nrrd")
        assert stored.geometry.size < labels.geometry.size  # Slicer stored the box only
        assert_same(read_segmentation(tmp_path / "box.seg.nrrd", labels.geometry), labels)

    def drawn(self, scene, labels: Volume, segments: dict[str, np.ndarray]):
        """A segmentation as a clinician draws it: each segment written on its own, so each has a layer where they overlap."""
        import slicer
        import vtk
        from vtk.util.numpy_support import numpy_to_vtk

        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        node.CreateDefaultDisplayNodes()
        matrix = vtk.vtkMatrix4x4()
        affine = labels.geometry.affine_ras
        for r in range(4):
            for c in range(4):
                matrix.SetElement(r, c, affine[r, c])
        for name, mask in segments.items():
            image = slicer.vtkOrientedImageData()
            image.SetDimensions(mask.shape[::-1])
            image.SetImageToWorldMatrix(matrix)
            image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
            node.AddSegmentFromBinaryLabelmapRepresentation(image, name)
        return node

    def test_overlapping_layers_are_read_with_tumour_over_liver_and_other_organs_passed_over(self, scene, labels: Volume, tmp_path: Path) -> None:
        kidney = np.zeros(labels.array.shape, bool)
        kidney[2:9, 2:9, 2:9] = True
        node = self.drawn(scene, labels, {"Liver tumour 1": labels.array == 2, "left kidney": kidney, "Liver": labels.array > 0})
        assert node.GetSegmentation().GetNumberOfLayers() > 1
        self.save(scene, node, tmp_path / "layers.seg.nrrd")
        assert_same(read_segmentation(tmp_path / "layers.seg.nrrd", labels.geometry), labels)

    def test_segments_without_a_telling_name_are_told_by_their_terminology(self, scene, labels: Volume, tmp_path: Path) -> None:
        node = self.drawn(scene, labels, {"Segment_1": labels.array == 1, "Segment_2": labels.array == 2})
        self.save(scene, node, tmp_path / "plain.seg.nrrd")
        with pytest.raises(FedLiverError, match="rename them") as refusal:
            read_segmentation(tmp_path / "plain.seg.nrrd")
        assert refusal.value.code == "unknown-segments"
        for index, structure in enumerate(STRUCTURES):
            node.GetSegmentation().GetNthSegment(index).SetTag("TerminologyEntry", structure.terminology_entry)
        self.save(scene, node, tmp_path / "told.seg.nrrd")
        assert_same(read_segmentation(tmp_path / "told.seg.nrrd", labels.geometry), labels)
