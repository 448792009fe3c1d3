"""Scenes as files: what 3D Slicer opens holds the same voxels, names, colours and terminology."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedliver.errors import FedLiverError
from fedliver.image import Volume, resample
from fedliver.labels import STRUCTURES
from fedliver.slicer import headless
from fedliver.slicer import scene as bridge
from fedliver.slicer.scene_file import write_scene


def opened(path: Path) -> tuple[Any, Any]:
    """The scene as Slicer reads it; keep the first for as long as the second is used."""
    import slicer

    application = headless.start()
    scene = slicer.mrmlScene
    if path.suffix == ".mrb":
        assert scene.ReadFromMRB(str(path))
    else:
        scene.SetURL(str(path))
        assert scene.Connect()
    return application, scene


def in_place(volume: Volume, ct: Volume) -> np.ndarray:
    """The voxels on the CT's grid: Slicer turns a left-handed grid round when it reads a file, and keeps every voxel where it was."""
    assert volume.geometry.voxel_ml == pytest.approx(ct.geometry.voxel_ml)
    return resample(volume, ct.geometry, order=0, outside=-9999 if volume.array.dtype.kind == "i" else 99).array


@pytest.mark.parametrize("name", ["case.mrb", "case"])
def test_a_written_scene_opens_with_the_same_voxels_and_names(tmp_path: Path, ct: Volume, labels: Volume, name: str) -> None:
    before = labels.with_array((labels.array > 0).astype(np.uint8))
    written = write_scene(tmp_path / name, ct, {"After": labels, "Before": before})
    _application, scene = opened(written)
    node = scene.GetFirstNodeByName("CT")
    np.testing.assert_array_equal(in_place(bridge.volume_from_node(node), ct), ct.array)
    for segmentation_name, expected in (("After", labels), ("Before", before)):
        segmentation = scene.GetFirstNodeByName(segmentation_name)
        np.testing.assert_array_equal(in_place(bridge.labels_from_segmentation(segmentation, node), ct), expected.array)
        for structure in STRUCTURES:
            segment = segmentation.GetSegmentation().GetSegment(structure.name)
            assert bridge.terminology_of(segment) == structure.terminology_entry
            np.testing.assert_allclose(np.array(segment.GetColor()) * 255, structure.colour, atol=0.51)


def test_the_first_segmentation_is_shown_and_the_ct_is_in_the_slice_views(tmp_path: Path, ct: Volume, labels: Volume) -> None:
    _application, scene = opened(write_scene(tmp_path / "case.mrb", ct, {"After": labels, "Before": labels}))
    assert scene.GetFirstNodeByName("After").GetDisplayNode().GetVisibility()
    assert not scene.GetFirstNodeByName("Before").GetDisplayNode().GetVisibility()
    for view in ("Red", "Green", "Yellow"):
        composite = scene.GetSingletonNode(view, "vtkMRMLSliceCompositeNode")
        assert composite.GetBackgroundVolumeID() == scene.GetFirstNodeByName("CT").GetID()


def test_nothing_but_the_scene_is_left_behind(tmp_path: Path, ct: Volume, labels: Volume) -> None:
    write_scene(tmp_path / "case.mrb", ct, {"Liver": labels})
    written = write_scene(tmp_path / "folder", ct, {"Liver": labels})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case.mrb", "folder"]
    assert written == tmp_path / "folder" / "folder.mrml"
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["Data", "folder.mrml"]


def test_writing_again_replaces_the_scene_whole(tmp_path: Path, ct: Volume, labels: Volume) -> None:
    write_scene(tmp_path / "folder", ct, {"Old": labels})
    write_scene(tmp_path / "folder", ct, {"New": labels})
    assert [path.name for path in (tmp_path / "folder" / "Data").glob("*.seg.nrrd")] == ["New.seg.nrrd"]


def test_a_scene_that_is_open_in_this_process_stays_what_it_is(scene: Any, tmp_path: Path, ct: Volume, labels: Volume) -> None:
    import slicer

    node = bridge.node_from_volume(ct, "open")
    write_scene(tmp_path / "case.mrb", ct, {"Liver": labels})
    assert slicer.mrmlScene is scene
    assert scene.GetFirstNodeByName("open") is node
    assert scene.GetFirstNodeByName("CT") is None


def test_labels_on_another_grid_are_refused_before_anything_is_written(tmp_path: Path, ct: Volume, labels: Volume) -> None:
    cropped = bridge.Geometry.from_affine_ras(ct.geometry.affine_ras, (5, 5, 5))
    with pytest.raises(FedLiverError, match="grid"):
        write_scene(tmp_path / "case.mrb", ct, {"Liver": Volume(np.zeros((5, 5, 5), np.uint8), cropped)})
    assert list(tmp_path.iterdir()) == []


def test_a_segmentation_saved_by_slicer_is_read_by_the_command_line_and_the_other_way_round(scene: Any, tmp_path: Path, ct: Volume, labels: Volume) -> None:
    import slicer

    from fedliver.segmentation_file import read_segmentation, write_segmentation

    node = bridge.node_from_volume(ct, "CT")
    segmentation = bridge.segmentation_from_labels(labels, node, "Liver")
    saved = tmp_path / "from-slicer.seg.nrrd"
    segmentation.AddDefaultStorageNode()
    segmentation.GetStorageNode().SetFileName(str(saved))
    assert segmentation.GetStorageNode().WriteData(segmentation)
    np.testing.assert_array_equal(read_segmentation(saved, onto=ct.geometry).array, labels.array)

    write_segmentation(labels, tmp_path / "from-us.seg.nrrd")
    ours = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / "from-us.seg.nrrd"))
    assert storage.ReadData(ours)
    np.testing.assert_array_equal(bridge.labels_from_segmentation(ours, node).array, labels.array)
    assert bridge.terminology_of(ours.GetSegmentation().GetNthSegment(0)) == STRUCTURES[0].terminology_entry


def test_the_panels_choices_survive_saving_and_reopening(scene: Any, tmp_path: Path, ct: Volume, labels: Volume) -> None:
    """What @parameterNodeWrapper stores: node references and parameters of a vtkMRMLScriptedModuleNode."""
    node = bridge.node_from_volume(ct, "CT")
    segmentation = bridge.segmentation_from_labels(labels, node, "Liver")
    parameters = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "FedLiverSlicer")
    parameters.SetNodeReferenceID("ct", node.GetID())
    parameters.SetNodeReferenceID("segmentation", segmentation.GetID())
    parameters.SetParameter("keepInside", "False")
    assert scene.WriteToMRB(str(tmp_path / "work.mrb"))
    _application, reopened = opened(tmp_path / "work.mrb")
    back = reopened.GetFirstNodeByName("FedLiverSlicer")
    assert back.GetNodeReference("ct").GetName() == "CT"
    assert back.GetNodeReference("segmentation").GetName() == "Liver"
    assert back.GetParameter("keepInside") == "False"
