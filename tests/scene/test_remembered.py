"""What a scene remembers of a result: through a saved file, and only for the very labels it was said of. Real MRML of slicer-core."""

from pathlib import Path
from typing import Any

import pytest

from fedliver.image import Volume
from fedliver.slicer.panel_state import Check, Effort, Lesion, Measurements
from fedliver.slicer.remembered import ATTRIBUTE, Remembered, digest, forget, recall, remember
from fedliver.slicer.scene import labels_from_segmentation, node_from_volume, segmentation_from_labels

RESULT = Measurements(1500.0, 12.5, 31.0, (Lesion(12.5, 30.0, (1.0, -2.0, 3.5)),))
CHECKS = (Check("liver-volume", False, "The liver measures 7200 ml.", can_override=True),)


def test_a_result_comes_back_from_a_saved_scene_with_the_same_digest(scene: Any, ct: Volume, labels: Volume, tmp_path: Path) -> None:
    ct_node = node_from_volume(ct, "CT")
    node = segmentation_from_labels(labels, ct_node, "Liver")
    kept = Remembered(digest(labels), RESULT, CHECKS, Effort(75.0, 12.3, 5, 40, 812.0), "2026-11-22")
    remember(node, kept)
    assert scene.WriteToMRB(str(tmp_path / "work.mrb"))
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "work.mrb"))
    again = scene.GetFirstNodeByName("Liver")
    assert recall(again) == kept
    assert digest(labels_from_segmentation(again, scene.GetFirstNodeByName("CT"))) == kept.labels


def test_the_digest_tells_a_voxel_a_structure_a_shift_and_another_grid_apart(labels: Volume) -> None:
    import numpy as np

    one, other, shifted = labels.array.copy(), labels.array.copy(), np.roll(labels.array[1:-1, 1:-1, 1:-1], 1, axis=2)
    one[4, 4, 4] = 0
    other[4, 4, 4] = 2
    inner = np.zeros_like(labels.array)
    inner[1:-1, 1:-1, 1:-1] = labels.array[1:-1, 1:-1, 1:-1]
    moved = np.zeros_like(labels.array)
    moved[1:-1, 1:-1, 1:-1] = shifted
    seen = [digest(labels.with_array(array)) for array in (labels.array, one, other, inner, moved, np.zeros_like(inner))]
    assert len(set(seen)) == len(seen)
    assert digest(labels.with_array(labels.array.astype(np.int16))) == seen[0]


def test_what_is_forgotten_is_gone(scene: Any, ct: Volume, labels: Volume) -> None:
    node = segmentation_from_labels(labels, node_from_volume(ct, "CT"), "Liver")
    remember(node, Remembered(digest(labels), RESULT))
    forget(node)
    assert recall(node) is None
    forget(node)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"labels": 3}', '{"labels": "a", "measurements": {"liver_ml": "much"}}', '{"labels": "' + "a" * 300_000 + '"}']
)
def test_what_a_foreign_scene_claims_in_another_form_is_not_believed(scene: Any, text: str) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Liver")
    node.SetAttribute(ATTRIBUTE, text)
    assert recall(node) is None
