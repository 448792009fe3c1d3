"""What the module's own test does inside the desktop Slicer, where the real PythonQt, effects and packages are. Each raises AssertionError."""

import importlib.util
from typing import Any

_SEED = 1


def labels_survive_the_scene() -> None:
    """An oblique generated CT and its labels go through MRML nodes and come back voxel by voxel."""
    from fedliver.phantom import PhantomSettings, generate
    from fedliver.slicer import scene

    ct, labels = generate(PhantomSettings(seed=_SEED, spacing_mm=(3.0, 3.0, 5.0), oblique_degrees=12.0, lesions=2))
    ct_node = scene.node_from_volume(ct, "CT")
    back = scene.volume_from_node(ct_node)
    _expect(back.geometry.same_grid(ct.geometry), "the CT came back on another grid")
    _expect((back.array == ct.array).all(), "the CT came back with other values")
    node = scene.segmentation_from_labels(labels, ct_node, "Liver")
    _expect((scene.labels_from_segmentation(node, ct_node).array == labels.array).all(), "labels were lost in the scene")
    _expect(node.GetSegmentation().GetNumberOfSegments() == 2, "there are not two segments")


def panel_follows_the_scene(select_panel: Any, close_scene: Any, process_events: Any, ct_node: Any) -> None:
    """The panel takes up the only CT, and says why nothing can be done once the scene is closed."""
    panel = select_panel()
    process_events()
    _expect(panel.workflow.ct_node is ct_node, "the only CT was not chosen")
    _expect(panel.ui.segmentButton.enabled, "Auto-segment is not live")
    close_scene()
    process_events()
    _expect(not panel.ui.segmentButton.enabled, "Auto-segment is live without a CT")
    _expect(bool(panel.ui.segmentButton.toolTip), "the dead button does not say why")


def teacher_segments(segment: Any, ct_node: Any) -> str:
    """The shipped teacher draws something on the generated CT's grid. Returns a sentence; says so where torch is not installed."""
    from fedliver.slicer import scene

    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("monai") is None:
        return "Not tried: torch and monai are not installed yet."
    labels = scene.labels_from_segmentation(segment(ct_node), ct_node)
    _expect(labels.geometry.same_grid(scene.geometry_of_node(ct_node)), "the result lies on another grid")
    return f"The teacher drew {(labels.array > 0).sum() * labels.geometry.voxel_ml:.0f} ml of liver."


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
