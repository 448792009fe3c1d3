"""What the module's own test does inside the desktop Slicer, where the real PythonQt, effects and packages are. Each raises AssertionError."""

import importlib.util
import tempfile
import time
from pathlib import Path
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
    _expect(panel.workflow.case.ct_node is ct_node, "the only CT was not chosen")
    _expect(panel.ui.segmentButton.enabled, "Auto-segment is not live")
    close_scene()
    process_events()
    _expect(not panel.ui.segmentButton.enabled, "Auto-segment is live without a CT")
    _expect(bool(panel.ui.segmentButton.toolTip), "the dead button does not say why")


def case_goes_through_the_worklist(select_panel: Any, process_events: Any) -> str:
    """Next case, an edit, next case (the edit is kept), back, approve: on a case store of its own, with the panel's own buttons. Returns a sentence.

    The panel's desk (a :class:`~fedliver.slicer.home_desk.HomeDesk`) works over a folder for the time of the test."""
    if importlib.util.find_spec("pydantic") is None or importlib.util.find_spec("filelock") is None:
        return "Not tried: the packages of the case store are not installed yet."
    import slicer

    from fedliver.cases.case import State

    panel = select_panel()
    with tempfile.TemporaryDirectory(prefix="fedliver-test-") as folder:
        workflow, case, own = panel.workflow, panel.workflow.case, panel.workflow.desk
        before, own.home = own.home, Path(folder)
        try:
            first = _fill(own)
            workflow.refresh()
            _press(panel.ui.nextButton, workflow, process_events)
            _expect(workflow.state.case == first, "the first case was not opened")
            mask = slicer.util.arrayFromSegmentBinaryLabelmap(case.segmentation_node, "Liver", case.ct_node)
            inside = mask.nonzero()
            mask[inside[0][0], inside[1][0], inside[2][0]] = 0
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask, case.segmentation_node, "Liver", case.ct_node)
            process_events()
            _expect(workflow.state.edited, "the edit was not noticed")
            _press(panel.ui.nextButton, workflow, process_events)
            _expect(own.store().case(first).state is State.IN_CORRECTION, "the edit was not kept as a draft")
            _press(panel.ui.nextButton, workflow, process_events)
            _press(panel.ui.approveButton, workflow, process_events)
            _expect(own.store().case(first).state is State.APPROVED, f"not approved: {panel.ui.statusLabel.text}")
            _expect(bool(panel.ui.effortLabel.text), "the effort is not shown")
            return str(panel.ui.effortLabel.text)
        finally:
            own.home = before


def _fill(desk: Any) -> str:
    """Two pre-segmented cases of generated patients; the pseudonym of the first."""
    from fedliver.cases.case import TeacherProvenance
    from fedliver.ct_reader import Ct, SourceIdentity
    from fedliver.phantom import PhantomSettings, generate

    store = desk.store()
    teacher = TeacherProvenance(name="self test", version="0", sha256="0" * 64)
    names = []
    for seed in (_SEED, _SEED + 1):
        ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(4.0, 4.0, 6.0), lesions=1))
        case = store.add(Ct(ct, SourceIdentity(f"self test {seed}", "1", str(seed)), ()))
        names.append(store.attach(case, labels, labels, teacher, expected_dice=0.9).pseudonym)
    return names[0]


def _press(button: Any, workflow: Any, process_events: Any, seconds: float = 60.0) -> None:
    """Press, and let the window live until the work is done."""
    _expect(button.enabled, f"a button is dead: {button.toolTip}")
    button.click()
    end = time.monotonic() + seconds
    while workflow.working:
        _expect(time.monotonic() < end, "the work did not end in time")
        process_events()
    process_events()


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
