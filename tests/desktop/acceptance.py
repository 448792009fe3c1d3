"""docs/acceptance.md, walked by a script in a desktop Slicer: `tests/desktop/run.sh`, or

    Slicer --no-splash --additional-module-paths FedLiverSlicer --python-script tests/desktop/acceptance.py

``FEDLIVER_HOME`` must name an empty folder: the walk fills it. ``FEDLIVER_CT``: a real CT to segment besides the generated one;
``FEDLIVER_WALK``: where pictures and outcomes go; ``FEDLIVER_STEPS``: only these steps; ``FEDLIVER_STACKS=1``: write down, in ``stacks.txt``, where
the window stands still.
"""

import os
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import dicom_steps
import federation_steps
import qt
import site_steps
import slicer
from walk import Pause, Until, Walk, chosen_steps, expect

Steps = Generator[Until | Pause, None, str | None]
CANCEL_SECONDS = 2.0
FELT_SECONDS = 0.25


def opens_empty(walk: Walk) -> Steps:
    """The module opens in a blink; every dead control says why."""
    began, worked = time.monotonic(), time.thread_time()
    slicer.util.selectModule("FedLiverSlicer")
    took, worked = time.monotonic() - began, time.thread_time() - worked
    yield Pause(0.5)
    expect(bool(walk.panel.ui.statusLabel.text), "nothing is said at the top")
    from fedliver.slicer.panel_view import Control

    silent = [control.value for control in Control if not getattr(walk.panel.ui, control.value).enabled and not getattr(walk.panel.ui, control.value).toolTip]
    expect(not silent, f"dead without a reason: {silent}")
    walk.picture("1-empty")
    return f"opened in {took:.2f} s ({worked:.2f} s of the processor); “{walk.panel.ui.statusLabel.text}”"


def module_test(walk: Walk) -> Steps:
    """FedLiverSlicerTest, the module's own."""
    import FedLiverSlicer

    yield Pause(0.1)
    FedLiverSlicer.FedLiverSlicerTest().runTest()
    slicer.mrmlScene.Clear(0)
    yield Pause(0.5)
    return "FedLiverSlicerTest passed"


def sample_data(walk: Walk) -> Steps:
    """Sample Data > FedLiver: a generated CT, chosen in the panel."""
    slicer.mrmlScene.Clear(0)
    slicer.util.selectModule("SampleData")
    yield Pause(1.0)
    slicer.util.findChild(slicer.modules.sampledata.widgetRepresentation(), "FedLiverGeneratedCTPushButton").click()
    slicer.util.selectModule("FedLiverSlicer")
    yield Pause(1.0)
    expect(walk.workflow.case.ct_node is not None, "no CT was chosen")
    expect(walk.panel.ui.ctSelector.currentNode() is walk.workflow.case.ct_node, "the selector shows another CT")
    expect(walk.panel.ui.segmentButton.enabled, walk.panel.ui.segmentButton.toolTip)
    return f"{walk.workflow.case.ct_node.GetName()} {walk.workflow.case.ct_node.GetImageData().GetDimensions()}"


def declined_installation(walk: Walk) -> Steps:
    """Auto-segment with a package missing, and Cancel in Slicer's own question box: nothing installed, the panel lives."""
    from fedliver.slicer.panel_events import RequirementsKnown
    from fedliver.slicer.panel_state import Requirements

    workflow, seen = walk.workflow, []
    found = workflow.installation._found
    workflow.installation._found = lambda name: name != "monai" and found(name)
    workflow.session.tell(RequirementsKnown(Requirements.MISSING))
    try:
        walk.answer_dialog(False, seen)
        yield Pause(0.1)
        walk.press("segmentButton")
        yield Pause(0.5)
    finally:
        workflow.installation._found = found
        workflow.refresh()
    expect(bool(seen) and "monai" in seen[0], f"it was not asked for monai: {seen}")
    expect(not workflow.working and walk.panel.ui.segmentButton.enabled, "the panel is stuck")
    return f"“{seen[0]}” Cancel: “{walk.panel.ui.statusLabel.text}”"


def auto_segment(walk: Walk, pictures: str = "") -> Steps:
    """One press. A bar with phase and time left, no pause that is felt, and a result with everything a result must have."""
    walk.pulse.reset()
    walk.press("segmentButton")
    phases: list[str] = []

    def note() -> bool:
        words = str(walk.panel.ui.progressLabel.text)
        if words and (not phases or phases[-1] != words):
            if "·" in words and not any("·" in phase for phase in phases):  # the first that say how long it takes
                walk.picture(f"{pictures}2-working")
            phases.append(words)
        return not walk.workflow.working

    yield Until(note, 1200.0, "the segmentation")
    pause, busy = walk.pulse.longest(), walk.pulse.busiest()
    yield Pause(1.0)
    node = walk.workflow.case.segmentation_node
    expect(node is not None, f"no segmentation: {walk.panel.ui.statusLabel.text}")
    check_result(node, walk.workflow.case.ct_node)
    walk.picture(f"{pictures}3-segmented")
    expect(busy <= FELT_SECONDS, f"the window was busy for {busy:.2f} s; phases {phases}")
    words = f"longest pause while it worked {pause:.3f} s, of it own work {busy:.3f} s; {len(phases)} words of progress"
    return f"{node.GetName()}: {walk.panel.ui.resultLabel.text}; {words}"


def check_result(node: Any, ct_node: Any) -> None:
    """Name, terminology, colours, reference geometry, measurements."""
    from fedliver.slicer.scene import terminology_of

    expect("fedliver" in node.GetName().lower(), f"the name does not say who drew it: {node.GetName()}")
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    expect(node.GetNodeReference(role) is ct_node, "the reference geometry is another")
    segmentation = node.GetSegmentation()
    expect([segmentation.GetNthSegment(i).GetName() for i in range(segmentation.GetNumberOfSegments())] == ["Liver", "Tumour"], "other segments")
    for number in range(2):
        expect("SCT" in terminology_of(segmentation.GetNthSegment(number)), "a segment has no terminology")


def cancel(walk: Walk) -> Steps:
    """Cancel in the midst: over within two seconds, the scene as before."""
    before = sorted(slicer.mrmlScene.GetNthNode(i).GetID() for i in range(slicer.mrmlScene.GetNumberOfNodes()))
    taken = []
    for phase in ("Preparing the scan", "Looking for the liver", "Segmenting liver and tumour"):
        walk.press("segmentButton")
        yield walk.at(phase)
        expect(walk.workflow.working, f"it was done before “{phase}” was seen")
        began = time.monotonic()
        walk.press("segmentButton")
        yield walk.idle(30.0)
        taken.append(time.monotonic() - began)
    after = sorted(slicer.mrmlScene.GetNthNode(i).GetID() for i in range(slicer.mrmlScene.GetNumberOfNodes()))
    expect(before == after, f"the scene changed: {set(before) ^ set(after)}")
    expect(bool(taken) and max(taken) <= CANCEL_SECONDS, f"it took {max(taken, default=0):.1f} s to stop")
    return f"stopped within {max(taken):.2f} s ({len(taken)} times); “{walk.panel.ui.statusLabel.text}”"


def again_keeps_the_edited(walk: Walk) -> Steps:
    """Auto-segment once more: a second segmentation; the edited one is there, hidden."""
    edited = walk.workflow.case.segmentation_node
    expect(walk.workflow.state.edited, "the step before left no edit")
    walk.press("segmentButton")
    yield walk.idle(1200.0)
    yield Pause(0.3)
    expect(walk.workflow.case.segmentation_node is not edited, "the edited segmentation was taken again")
    expect(edited.GetScene() is not None, "the edited segmentation is gone")
    expect(not edited.GetDisplayNode().GetVisibility(), "the edited segmentation still lies over the new one")
    return f"{slicer.mrmlScene.GetNumberOfNodesByClass('vtkMRMLSegmentationNode')} segmentations"


def in_3d(walk: Walk) -> Steps:
    """Show in 3D: both surfaces."""
    walk.pulse.reset()
    walk.press("show3DCheckBox")
    yield Pause(1.0)
    pause = walk.pulse.longest()
    node = walk.workflow.case.segmentation_node
    expect(node.GetSegmentation().ContainsRepresentation("Closed surface"), "there is no surface")
    expect(bool(node.GetDisplayNode().GetVisibility3D()), "it is not shown")
    slicer.app.layoutManager().resetThreeDViews()
    yield Pause(1.0)
    walk.picture("5-in-3d")
    return f"pause {pause:.2f} s"


def another_module_meanwhile(walk: Walk) -> Steps:
    """Switch to another module while it works, and back: the result is there, no effect is active."""
    editor = walk.panel.editor._widget
    editor.setActiveEffectByName("Paint")
    yield Pause(0.2)
    walk.press("segmentButton")
    yield Pause(0.3)
    slicer.util.selectModule("Volumes")
    yield Pause(0.3)
    expect(editor.activeEffect() is None, "an effect went on painting in the views")
    yield walk.idle(1200.0)
    slicer.util.selectModule("FedLiverSlicer")
    yield Pause(0.5)
    expect(walk.workflow.case.segmentation_node is not None, "the result is not there")
    return str(walk.panel.ui.statusLabel.text)


def lesions_and_places(walk: Walk) -> Steps:
    """A click on a lesion centres the slice views; next place to look, again and again; the overlay on and off."""
    if walk.workflow.state.measurements is None:  # an edit forgets them
        walk.press("segmentButton")
        yield walk.idle(1200.0)
    lesions = walk.workflow.state.measurements.lesions
    words = [f"{len(lesions)} lesions"]
    if lesions:
        walk.panel.ui.lesionsLabel.linkActivated("lesion:0")
        yield Pause(0.3)
        red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        view = slicer.app.layoutManager().threeDWidget(0).threeDView()
        view.mrmlViewNode().SetBoxVisible(False)
        view.mrmlViewNode().SetAxisLabelsVisible(False)
        view.resetFocalPoint()
        for _ in range(6):
            view.zoomIn()
        yield Pause(0.5)
        walk.picture("6-lesion")
        expect(abs(red.GetSliceOffset() - lesions[0].place[2]) < red.GetSliceToRAS().GetElement(2, 2) * 3 + 5.0, "the axial view shows another place")
    if walk.panel.ui.lookButton.enabled:
        for _ in range(len(walk.workflow.state.places) + 1):
            walk.press("lookButton")
            yield Pause(0.2)
        words.append(f"“{walk.panel.ui.statusLabel.text}”")
    if walk.panel.ui.doubtCheckBox.enabled:
        count = walk.panel.ui.ctSelector.nodeCount()
        walk.press("doubtCheckBox")
        yield Pause(0.7)
        expect(walk.panel.ui.ctSelector.nodeCount() == count, "the overlay is in the selector")
        composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
        expect(bool(composite.GetForegroundVolumeID()), "no overlay")
        walk.picture("6-doubt", at=walk.panel.ui.refineSection)
        walk.press("doubtCheckBox")
        yield Pause(0.2)
        expect(not composite.GetForegroundVolumeID(), "the overlay stays")
        words.append("overlay on and off")
    return ", ".join(words)


def approve(walk: Walk) -> Steps:
    """A checklist, the effort; a second press is refused; no export of what is not from the DICOM database."""
    walk.press("approveButton")
    yield walk.idle()
    yield Pause(0.3)
    if walk.workflow.state.needs_reason:
        walk.panel.ui.reasonEdit.setFocus()
        walk.panel.ui.reasonEdit.text = "the walk's own reason"
        walk.panel.ui.reasonEdit.textEdited("the walk's own reason")
        yield Pause(0.2)
        walk.press("approveButton")
        yield walk.idle()
    expect(walk.workflow.state.approved, f"not approved: {walk.panel.ui.statusLabel.text} {walk.panel.ui.checklistLabel.text}")
    expect(not walk.panel.ui.approveButton.enabled and bool(walk.panel.ui.approveButton.toolTip), "it can be approved twice")
    expect(not walk.panel.ui.exportButton.enabled and bool(walk.panel.ui.exportButton.toolTip), "export is live")
    walk.picture("7-approved", at=walk.panel.ui.approveSection)
    return f"“{walk.panel.ui.statusLabel.text}” “{walk.panel.ui.effortLabel.text}”"


def scene_round_trip(walk: Walk) -> Steps:
    """Save as .mrb, close, open: the panel is as it was."""
    names = (walk.workflow.case.ct_node.GetName(), walk.workflow.case.segmentation_node.GetName())
    said, doubted = (walk.workflow.state.approved, str(walk.panel.ui.resultLabel.text), str(walk.panel.ui.checklistLabel.text)), known_doubt(walk)
    walk.panel.ui.softTissueCheckBox.checked = True
    yield Pause(0.2)
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "scene.mrb")
        expect(saved(target), "not saved")
        slicer.mrmlScene.Clear(0)
        yield Pause(0.5)
        expect(walk.workflow.case.ct_node is None and not walk.panel.ui.segmentButton.enabled, "the panel did not notice the closing")
        load(target)
        yield Pause(1.5)
    shown = (walk.workflow.case.ct_node.GetName(), walk.workflow.case.segmentation_node.GetName() if walk.workflow.case.segmentation_node else None)
    expect(shown == names, f"before {names}, after {shown}")
    expect(walk.panel.ui.softTissueCheckBox.checked, "the box is not ticked any more")
    if walk.panel.ui.show3DCheckBox.checked:
        expect(walk.workflow.case.segmentation_node.GetSegmentation().ContainsRepresentation("Closed surface"), "the ticked box shows nothing in 3D")
        slicer.app.layoutManager().resetThreeDViews()
        yield Pause(0.5)
        walk.picture("7-reopened")
    now = (walk.workflow.state.approved, str(walk.panel.ui.resultLabel.text), str(walk.panel.ui.checklistLabel.text))
    expect(now == said, f"before {said}, after {now}")
    expect(known_doubt(walk) == doubted, f"where it was not sure: before {doubted}, after {known_doubt(walk)}")
    listed = walk.panel.ui.ctSelector.currentNode()
    expect(listed is walk.workflow.case.ct_node, f"the selector shows {listed.GetName() if listed else None}")
    walk.panel.ui.softTissueCheckBox.checked = False
    return f"{shown}, {'approved' if said[0] else 'not approved'}, {said[1]}; {doubted[0]} places to look"


def known_doubt(walk: Walk) -> tuple[int, bool, bool]:
    """How many places to look at there are, whether the overlay is known, and the teacher's own outlines."""
    state = walk.workflow.state
    return len(state.places), state.has_doubt, walk.workflow.case.proposal is not None


def saved(target: str) -> bool:
    """Write the scene as Slicer's own writer does; the module Data, which brings the writer, may not be built."""
    return bool(slicer.util.saveScene(target) if hasattr(slicer.modules, "data") else slicer.mrmlScene.WriteToMRB(target, None))


def load(target: str) -> None:
    if hasattr(slicer.modules, "data"):
        slicer.util.loadScene(target)
    else:
        slicer.mrmlScene.ReadFromMRB(target, False)


def closed_meanwhile(walk: Walk) -> Steps:
    """Close the scene while it works: nothing happens later."""
    walk.press("segmentButton")
    yield Pause(0.7)
    slicer.mrmlScene.Clear(0)
    yield Pause(4.0)
    expect(not walk.workflow.working, "it works on")
    expect(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0, "a segmentation came into the new scene")
    return str(walk.panel.ui.statusLabel.text)


def reloaded_meanwhile(walk: Walk) -> Steps:
    """The developer's Reload while it works: one panel, no error."""
    yield from sample_data(walk)
    walk.press("segmentButton")
    yield Pause(0.7)
    before = walk.panel
    before.onReload()
    yield Pause(2.0)
    expect(walk.panel is not before, "there is the old panel")
    expect(walk.panel.ui.segmentButton.enabled, walk.panel.ui.segmentButton.toolTip)
    visible = [w for w in slicer.util.findChildren(walk.panel.parent, name="segmentButton") if w.visible]
    expect(len(visible) == 1, f"{len(visible)} panels on show")
    walk.press("segmentButton")
    yield walk.idle(1200.0)
    expect(walk.workflow.case.segmentation_node is not None, str(walk.panel.ui.statusLabel.text))
    return "one panel, and it segments"


def real_ct(walk: Walk) -> Steps:
    """A hospital's CT, where one is given."""
    if not os.environ.get("FEDLIVER_CT"):
        return "not tried: FEDLIVER_CT names none"
    slicer.mrmlScene.Clear(0)
    yield Pause(0.3)
    slicer.util.loadVolume(os.environ["FEDLIVER_CT"])
    slicer.util.selectModule("FedLiverSlicer")
    yield Pause(1.0)
    return (yield from auto_segment(walk, "a-patients-"))


def dark_theme(walk: Walk) -> Steps:
    """Readable in Slicer's dark theme."""
    before, dark = slicer.app.palette(), qt.QPalette()  # the colours of Slicer's own dark style
    for role, colour in (("Window", "#323232"), ("Base", "#232323"), ("Button", "#3c3c3c"), ("AlternateBase", "#2d2d2d"), ("ToolTipBase", "#232323")):
        dark.setColor(getattr(qt.QPalette, role), qt.QColor(colour))
    for role, colour in (("WindowText", "#e6e6e6"), ("Text", "#e6e6e6"), ("ButtonText", "#e6e6e6"), ("ToolTipText", "#e6e6e6"), ("Link", "#3ca4ff")):
        dark.setColor(getattr(qt.QPalette, role), qt.QColor(colour))
    slicer.app.setPalette(dark)
    slicer.app.setStyle("Fusion")  # as Slicer does when another theme is chosen: every widget is polished anew
    yield Pause(1.5)
    walk.picture("8-dark")
    slicer.app.setPalette(before)
    yield Pause(0.5)
    return "see the picture"


def main() -> None:
    import editor_steps

    everything = [
        opens_empty,
        module_test,
        sample_data,
        declined_installation,
        auto_segment,
        cancel,
        editor_steps.paint_and_undo,
        editor_steps.inside_the_liver,
        again_keeps_the_edited,
        in_3d,
        another_module_meanwhile,
        lesions_and_places,
        editor_steps.soft_tissue_only,
        approve,
        scene_round_trip,
        dark_theme,
        federation_steps.invitation_and_test,
        federation_steps.join_and_round,
        federation_steps.leave,
        site_steps.environment,
        site_steps.ahead,
        site_steps.learn_and_stop,
        site_steps.details_of_an_error,
        dicom_steps.dicom_export,
        sample_data,
        closed_meanwhile,
        reloaded_meanwhile,
        real_ct,
        site_steps.adds_scans,
    ]
    walk = Walk(chosen_steps(everything), Path(os.environ.get("FEDLIVER_WALK", tempfile.mkdtemp(prefix="fedliver-walk-"))), federation_steps.tidy)
    walk.start()
    slicer.fedliverWalk = walk  # somebody must hold it while the event loop runs


main()
