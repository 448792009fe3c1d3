"""Slice views follow: real slice and composite nodes of slicer-core."""

from typing import Any

import numpy as np

from fedliver.image import Volume
from fedliver.slicer.scene import go_to, node_from_volume, show_in_slices


def test_every_slice_view_shows_the_place_in_its_middle(scene: Any) -> None:
    nodes = []
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal")):
        node = scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
        node.SetLayoutName(name)
        node.SetOrientation(orientation)
        nodes.append(node)
    go_to((12.0, -34.0, 56.0))
    for node in nodes:
        matrix = node.GetSliceToRAS()
        assert np.allclose([matrix.GetElement(row, 3) for row in range(3)], (12.0, -34.0, 56.0))


def test_an_opened_ct_is_the_background_of_every_slice_view(scene: Any, ct: Volume) -> None:
    composites = [scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", name) for name in ("Red", "Green")]
    node = node_from_volume(ct, "CT")
    show_in_slices(node)
    assert {composite.GetBackgroundVolumeID() for composite in composites} == {node.GetID()}
