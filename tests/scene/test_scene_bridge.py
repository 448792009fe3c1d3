"""MRML nodes to volumes and back: voxels and geometry come back exactly, and nothing of the clinician's is overwritten."""

from typing import Any

import numpy as np
import pytest

from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume
from fedliver.labels import LIVER_STRUCTURE, STRUCTURES, TUMOUR_STRUCTURE, structure_of
from fedliver.slicer import scene as bridge


def node_names(scene: Any) -> list[str]:
    return [scene.GetNthNode(i).GetName() for i in range(scene.GetNumberOfNodes())]


def add_box(segmentation: Any, ct_node: Any, name: str, box: tuple[slice, slice, slice]) -> str:
    """A segment as a clinician adds it: in a layer of its own."""
    import slicer

    identifier = segmentation.GetSegmentation().AddEmptySegment("", name)
    mask = np.zeros(slicer.util.arrayFromVolume(ct_node).shape, np.uint8)
    mask[box] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, identifier, ct_node)
    return identifier


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.int32, np.uint16, np.float64])
def test_a_volume_comes_back_from_its_node_with_its_grid(scene: Any, ct: Volume, dtype: type) -> None:
    values = np.abs(ct.array) if dtype is np.uint16 else ct.array
    back = bridge.volume_from_node(bridge.node_from_volume(ct.with_array(values.astype(dtype)), "CT"))
    np.testing.assert_array_equal(back.array, values)
    np.testing.assert_allclose(back.geometry.affine_ras, ct.geometry.affine_ras, atol=1e-10)
    assert back.geometry.size == ct.geometry.size
    assert back.array.dtype in (np.int16, np.float32)


def test_a_volume_from_a_node_is_a_copy_that_a_worker_may_keep(scene: Any, ct: Volume) -> None:
    import slicer

    node = bridge.node_from_volume(ct, "CT")
    volume = bridge.volume_from_node(node)
    slicer.util.arrayFromVolume(node)[:] = 0
    np.testing.assert_array_equal(volume.array, ct.array)


def test_a_voxel_lies_at_the_same_place_of_the_patient_in_slicer(scene: Any, ct: Volume) -> None:
    import vtk

    node = bridge.node_from_volume(ct, "CT")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    index = (7, 5, 3, 1)
    np.testing.assert_allclose(matrix.MultiplyPoint(index), ct.geometry.affine_ras @ index, atol=1e-9)


def test_labels_come_back_exactly_in_one_shared_layer(scene: Any, ct: Volume, labels: Volume) -> None:
    node = bridge.node_from_volume(ct, "CT")
    segmentation = bridge.segmentation_from_labels(labels, node, "Liver")
    assert segmentation.GetSegmentation().GetNumberOfLayers() == 1
    back = bridge.labels_from_segmentation(segmentation, node)
    np.testing.assert_array_equal(back.array, labels.array)
    assert back.array.dtype == np.uint8
    assert back.geometry.same_grid(ct.geometry, 1e-6)


@pytest.mark.parametrize("keep", [(), (1,), (2,)])
def test_absent_structures_become_empty_segments_that_can_be_drawn(scene: Any, ct: Volume, labels: Volume, keep: tuple[int, ...]) -> None:
    node = bridge.node_from_volume(ct, "CT")
    some = labels.with_array(np.where(np.isin(labels.array, keep), labels.array, 0).astype(np.uint8))
    segmentation = bridge.segmentation_from_labels(some, node, "Liver")
    names = [segmentation.GetSegmentation().GetNthSegment(i).GetName() for i in range(segmentation.GetSegmentation().GetNumberOfSegments())]
    assert names == ["Liver", "Tumour"]
    np.testing.assert_array_equal(bridge.labels_from_segmentation(segmentation, node).array, some.array)


def test_a_segmentation_on_a_real_body_comes_back_exactly(scene: Any) -> None:
    from fedliver.phantom import PhantomSettings, generate

    ct, labels = generate(PhantomSettings(seed=3, spacing_mm=(3.0, 3.5, 6.0), oblique_degrees=14.0, lesions=2))
    node = bridge.node_from_volume(ct, "CT")
    back = bridge.labels_from_segmentation(bridge.segmentation_from_labels(labels, node, "Liver"), node)
    np.testing.assert_array_equal(back.array, labels.array)


def test_segments_carry_names_colours_and_snomed_terminology(scene: Any, ct: Volume, labels: Volume) -> None:
    segmentation = bridge.segmentation_from_labels(labels, bridge.node_from_volume(ct, "CT"), "Liver").GetSegmentation()
    for structure in STRUCTURES:
        segment = segmentation.GetSegment(structure.name)
        assert segment.GetName() == structure.name
        np.testing.assert_allclose(np.array(segment.GetColor()) * 255, structure.colour, atol=0.01)
        assert bridge.terminology_of(segment) == structure.terminology_entry
        assert f"{structure.type.scheme}^{structure.type.value}^" in bridge.terminology_of(segment)


def test_the_ct_is_the_reference_geometry(scene: Any, ct: Volume, labels: Volume) -> None:
    import slicer

    node = bridge.node_from_volume(ct, "CT")
    segmentation = bridge.segmentation_from_labels(labels, node, "Liver")
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert segmentation.GetNodeReference(role) is node


def test_the_bridge_leaves_no_temporary_node_in_the_scene(scene: Any, ct: Volume, labels: Volume) -> None:
    node = bridge.node_from_volume(ct, "CT")
    segmentation = bridge.segmentation_from_labels(labels, node, "Liver")
    before = node_names(scene)
    bridge.labels_from_segmentation(segmentation, node)
    assert node_names(scene) == before
    assert not [name for name in before if "FedLiver labels" in name or "ColorTable" in name]


def test_a_segmentation_that_came_as_surfaces_is_not_taken_for_empty(scene: Any) -> None:
    import slicer
    import vtk

    from fedliver.phantom import PhantomSettings, generate

    ct, labels = generate(PhantomSettings(seed=4, spacing_mm=(4.0, 4.0, 5.0)))
    node = bridge.node_from_volume(ct, "CT")
    drawn = bridge.segmentation_from_labels(labels, node, "Liver")
    drawn.CreateClosedSurfaceRepresentation()
    surface = vtk.vtkPolyData()
    drawn.GetClosedSurfaceRepresentation("Liver", surface)
    imported = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    imported.SetReferenceImageGeometryParameterFromVolumeNode(node)
    imported.GetSegmentation().SetSourceRepresentationName(slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName())
    imported.AddSegmentFromClosedSurfaceRepresentation(surface, "Liver", (1.0, 0.0, 0.0), "Liver")
    back = bridge.labels_from_segmentation(imported, node)
    assert np.count_nonzero(back.array) == pytest.approx(np.count_nonzero(labels.array == 1), rel=0.1)


def test_a_second_segmentation_never_touches_the_first(scene: Any, ct: Volume, labels: Volume) -> None:
    node = bridge.node_from_volume(ct, "CT")
    first = bridge.segmentation_from_labels(labels, node, "Liver")
    add_box(first, node, "Tumour 2", (slice(9, 11), slice(3, 5), slice(15, 18)))
    edited = bridge.labels_from_segmentation(first, node).array
    second = bridge.segmentation_from_labels(labels.with_array(np.zeros_like(labels.array)), node, "Liver")
    assert second.GetName() != first.GetName()
    np.testing.assert_array_equal(bridge.labels_from_segmentation(first, node).array, edited)
    assert edited[9, 3, 15] == 2


def test_tumour_wins_where_a_clinicians_segments_overlap(scene: Any, ct: Volume, labels: Volume) -> None:
    node = bridge.node_from_volume(ct, "CT")
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(node)
    add_box(segmentation, node, "Metastasis", (slice(4, 6), slice(5, 8), slice(6, 9)))
    add_box(segmentation, node, "Liver", (slice(2, 10), slice(3, 15), slice(4, 18)))
    back = bridge.labels_from_segmentation(segmentation, node).array
    assert (back[4:6, 5:8, 6:9] == 2).all()
    assert np.count_nonzero(back) == 8 * 12 * 14


def test_a_segmentation_made_over_another_grid_is_brought_onto_the_ct(scene: Any, ct: Volume) -> None:
    """A clinician may have drawn on a finer grid: the result lies on the CT's grid all the same."""
    node = bridge.node_from_volume(ct, "CT")
    fine = Geometry.from_affine_ras(ct.geometry.affine_ras @ np.diag([0.5, 0.5, 0.5, 1.0]), tuple(2 * n for n in ct.geometry.size))  # type: ignore[arg-type]
    other = bridge.node_from_volume(Volume(np.zeros(fine.shape, np.int16), fine), "fine")
    drawn = np.zeros(fine.shape, np.uint8)
    drawn[6:20, 8:28, 10:36] = 1
    segmentation = bridge.segmentation_from_labels(Volume(drawn, fine), other, "Liver")
    back = bridge.labels_from_segmentation(segmentation, node)
    assert back.array.shape == ct.array.shape
    assert np.count_nonzero(back.array) == pytest.approx(np.count_nonzero(drawn) / 8, rel=0.15)


def test_slicers_own_resampling_gives_the_same_labels_as_reading_in_place(scene: Any, ct: Volume, labels: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    node = bridge.node_from_volume(ct, "CT")
    segmentation = bridge.segmentation_from_labels(labels, node, "Liver")
    add_box(segmentation, node, "Tumour 2", (slice(9, 13), slice(3, 5), slice(15, 23)))
    in_place = bridge.labels_from_segmentation(segmentation, node).array
    assert in_place[12, 3, 22] == 2
    monkeypatch.setattr(bridge, "_paint_in_place", lambda *_: False)
    np.testing.assert_array_equal(bridge.labels_from_segmentation(segmentation, node).array, in_place)


def test_a_segment_that_reaches_beyond_the_ct_is_cut_off_at_its_edge(scene: Any, ct: Volume, labels: Volume) -> None:
    """The clinician may have drawn over a longer scan on the same grid."""
    node = bridge.node_from_volume(ct, "CT")
    longer = Geometry.from_affine_ras(ct.geometry.affine_ras, (ct.geometry.size[0] + 4, ct.geometry.size[1] + 3, ct.geometry.size[2] + 2))
    drawn = np.ones(longer.shape, np.uint8)
    other = bridge.node_from_volume(Volume(np.zeros(longer.shape, np.int16), longer), "longer")
    segmentation = bridge.segmentation_from_labels(Volume(drawn, longer), other, "Liver")
    assert (bridge.labels_from_segmentation(segmentation, node).array == 1).all()


@pytest.mark.parametrize(
    ("name", "terminology", "structure"),
    [
        ("Liver", "", LIVER_STRUCTURE),
        ("liver parenchyma", "", LIVER_STRUCTURE),
        ("Tumour 3", "", TUMOUR_STRUCTURE),
        ("liver tumor", "", TUMOUR_STRUCTURE),
        ("Liver metastases", "", TUMOUR_STRUCTURE),
        ("Portal vein of the liver", "", None),
        ("Segment_1", LIVER_STRUCTURE.terminology_entry, LIVER_STRUCTURE),
        ("Segment_2", TUMOUR_STRUCTURE.terminology_entry, TUMOUR_STRUCTURE),
        ("Liver", TUMOUR_STRUCTURE.terminology_entry, LIVER_STRUCTURE),
        ("Segment_1", "", None),
        ("Spleen", "", None),
    ],
)
def test_a_segment_is_told_by_its_name_then_by_its_code(name: str, terminology: str, structure: Any) -> None:
    assert structure_of(name, terminology) is structure


def test_a_segment_that_is_neither_liver_nor_tumour_is_refused_in_words(scene: Any, ct: Volume, labels: Volume) -> None:
    node = bridge.node_from_volume(ct, "CT")
    segmentation = bridge.segmentation_from_labels(labels, node, "Liver")
    add_box(segmentation, node, "Spleen", (slice(0, 2), slice(0, 2), slice(0, 2)))
    with pytest.raises(FedLiverError, match="Spleen") as caught:
        bridge.labels_from_segmentation(segmentation, node)
    assert caught.value.code == "unknown-segment"


def test_a_segmentation_without_a_liver_is_refused_in_words(scene: Any, ct: Volume, labels: Volume) -> None:
    node = bridge.node_from_volume(ct, "CT")
    segmentation = bridge.segmentation_from_labels(labels, node, "Liver")
    segmentation.GetSegmentation().RemoveSegment("Liver")
    with pytest.raises(FedLiverError, match="liver"):
        bridge.labels_from_segmentation(segmentation, node)


def test_a_ct_under_a_transform_is_refused_and_told_how_to_harden_it(scene: Any, ct: Volume, labels: Volume) -> None:
    node = bridge.node_from_volume(ct, "CT")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    segmentation = bridge.segmentation_from_labels(labels, node, "Liver")
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(FedLiverError, match="Harden"):
        bridge.volume_from_node(node)
    node.SetAndObserveTransformNodeID(None)
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(FedLiverError, match="Harden"):
        bridge.labels_from_segmentation(segmentation, node)


def test_what_is_no_ct_is_refused_before_any_work(scene: Any, ct: Volume, labels: Volume) -> None:
    import slicer

    label_map = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.util.updateVolumeFromArray(label_map, labels.array)
    assert "no CT" in bridge.ct_problem(label_map)
    assert "empty" in bridge.ct_problem(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))
    picture = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.util.updateVolumeFromArray(picture, ct.array[:1])
    assert "single picture" in bridge.ct_problem(picture)
    assert bridge.ct_problem(bridge.node_from_volume(ct, "CT")) == ""
    assert bridge.ct_problem(None) == ""
    with pytest.raises(FedLiverError, match="No CT is chosen"):
        bridge.volume_from_node(None)


def test_a_sheared_volume_is_refused_in_words(scene: Any, ct: Volume) -> None:
    import slicer

    node = bridge.node_from_volume(ct, "CT")
    affine = ct.geometry.affine_ras
    affine[:3, 2] += 0.4 * affine[:3, 1]
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
    with pytest.raises(FedLiverError, match="right angles") as caught:
        bridge.volume_from_node(node)
    assert caught.value.code == "sheared"


def test_3d_is_made_when_it_is_first_shown(scene: Any, ct: Volume, labels: Volume) -> None:
    segmentation = bridge.segmentation_from_labels(labels, bridge.node_from_volume(ct, "CT"), "Liver")
    assert not segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    bridge.show_in_3d(segmentation, True)
    assert segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    assert segmentation.GetDisplayNode().GetVisibility3D()
    bridge.show_in_3d(segmentation, False)
    assert not segmentation.GetDisplayNode().GetVisibility3D()


def test_the_dicom_identity_comes_from_slicers_database_and_only_from_there(scene: Any, ct: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    node = bridge.node_from_volume(ct, "CT")
    assert bridge.source_identity(node) is None

    class Database:
        def instanceValue(self, instance: str, tag: str) -> str:  # noqa: N802
            assert instance == "1.2.3"
            return {"0010,0020": "PATIENT", "0020,000D": "STUDY", "0020,000E": "SERIES"}[tag]

    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    assert bridge.source_identity(node) is None
    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    assert bridge.source_identity(node) == ("PATIENT", "STUDY", "SERIES")
