"""The overlay of the teacher's doubt, on real MRML."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedliver.image import Volume
from fedliver.slicer.overlay import DoubtOverlay
from fedliver.slicer.scene import node_from_volume


@pytest.fixture
def composites(scene: Any) -> list[Any]:
    return [scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", name) for name in ("Red", "Green")]


@pytest.fixture
def doubt(ct: Volume) -> Volume:
    return ct.with_array(np.linspace(0, 1, ct.array.size, dtype=np.float32).reshape(ct.array.shape))


def foregrounds(composites: list[Any]) -> set[str | None]:
    return {composite.GetForegroundVolumeID() for composite in composites}


def test_it_lies_over_the_ct_in_every_slice_view_and_goes_without_a_trace(scene: Any, composites: list[Any], ct: Volume, doubt: Volume) -> None:
    node_from_volume(ct, "CT")
    before = scene.GetNumberOfNodes()
    overlay = DoubtOverlay()
    overlay.show(doubt)
    (identifier,) = foregrounds(composites)
    node = scene.GetNodeByID(identifier)
    assert node.GetDisplayNode().GetLowerThreshold() == 0.25
    assert node.GetDisplayNode().GetColorNode() is not None
    assert all(0 < composite.GetForegroundOpacity() < 1 for composite in composites)
    overlay.show(None)
    assert foregrounds(composites) == {None}
    assert scene.GetNumberOfNodes() == before


def test_showing_another_replaces_it_and_showing_the_same_does_nothing(scene: Any, composites: list[Any], doubt: Volume) -> None:
    overlay = DoubtOverlay()
    overlay.show(doubt)
    count, (first,) = scene.GetNumberOfNodes(), foregrounds(composites)
    overlay.show(doubt)
    assert foregrounds(composites) == {first}
    overlay.show(doubt.with_array(doubt.array / 2))
    assert scene.GetNumberOfNodes() == count
    assert foregrounds(composites) != {None}


def test_it_is_no_ct_to_choose_and_is_not_saved_with_the_scene(scene: Any, composites: list[Any], doubt: Volume, tmp_path: Path) -> None:
    DoubtOverlay().show(doubt)
    (identifier,) = foregrounds(composites)
    assert scene.GetNodeByID(identifier).GetHideFromEditors()
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(1)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    assert scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode") is None


def test_a_foreground_that_the_user_chose_meanwhile_stays(scene: Any, composites: list[Any], ct: Volume, doubt: Volume) -> None:
    overlay, other = DoubtOverlay(), node_from_volume(ct, "PET")
    overlay.show(doubt)
    composites[0].SetForegroundVolumeID(other.GetID())
    overlay.show(None)
    assert composites[0].GetForegroundVolumeID() == other.GetID()


def test_a_scene_that_was_closed_took_it_along(scene: Any, composites: list[Any], doubt: Volume) -> None:
    overlay = DoubtOverlay()
    overlay.show(doubt)
    overlay.forget()
    scene.Clear(0)
    overlay.show(None)
    overlay.show(doubt)
    assert scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode") is not None
