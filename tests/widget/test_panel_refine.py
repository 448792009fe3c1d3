"""Correct in the panel: Segment Editor, masks, 3D, lesions, places to look, overlay, and what the correction cost."""

from dataclasses import replace
from typing import Any

import numpy as np
from hands import add_ct, edit, opened, press, segment
from seams import Desk, seams

from fedliver.slicer import panel_events as on
from fedliver.slicer.panel_state import Effort, Lesion, Measurements, Place
from fedliver.slicer.site_desk import OpenedCase


def test_the_segment_editor_edits_the_case_and_keeps_the_tumour_inside_the_liver(desktop: Any) -> None:
    import slicer

    ct_node = add_ct()
    panel = desktop.open_panel(**seams())
    node = segment(desktop, panel)
    editor = panel.editor._node
    assert editor.GetSegmentationNode() is node
    assert editor.GetSourceVolumeNode() is ct_node
    modes = slicer.vtkMRMLSegmentationNode
    editor.SetSelectedSegmentID("Tumour")
    assert editor.GetMaskMode() == modes.EditAllowedInsideAllSegments
    editor.SetSelectedSegmentID("Liver")
    assert editor.GetMaskMode() == modes.EditAllowedEverywhere
    editor.SetSelectedSegmentID("Tumour")
    panel.ui.keepInsideCheckBox.checked = False
    desktop.events()
    assert editor.GetMaskMode() == modes.EditAllowedEverywhere
    panel.ui.keepInsideCheckBox.checked = True
    desktop.events()
    editor.SetMaskMode(modes.EditAllowedOutsideAllSegments)
    editor.SetSelectedSegmentID("Tumour")
    assert editor.GetMaskMode() == modes.EditAllowedOutsideAllSegments, "a mask that the clinician chose stays"


def test_strokes_can_be_kept_to_soft_tissue_and_a_range_of_the_clinicians_own_stays(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    segment(desktop, panel)
    node = panel.editor._node
    panel.ui.softTissueCheckBox.checked = True
    desktop.events()
    assert (node.GetSourceVolumeIntensityMask(), tuple(node.GetSourceVolumeIntensityMaskRange())) == (True, (-50.0, 250.0))
    panel.ui.softTissueCheckBox.checked = False
    desktop.events()
    assert not node.GetSourceVolumeIntensityMask()
    node.SetSourceVolumeIntensityMaskRange(0.0, 99.0)
    node.SourceVolumeIntensityMaskOn()
    panel.ui.keepInsideCheckBox.checked = False
    desktop.events()
    assert (node.GetSourceVolumeIntensityMask(), tuple(node.GetSourceVolumeIntensityMaskRange())) == (True, (0.0, 99.0))


def test_leaving_the_module_ends_the_active_effect_and_lets_work_go_on(desktop: Any) -> None:
    add_ct()
    desk = Desk(held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    panel.ui.segmentButton.click()
    desktop.wait(desk.began.is_set)
    panel.exit()
    widget = panel.editor._widget
    assert ("effect", None) in widget.calls
    assert not widget.shortcuts
    desk.let_go.set()
    desktop.wait(lambda: not panel.workflow.working)
    panel.enter()
    assert widget.shortcuts
    assert panel.workflow.case.segmentation_node is not None
    assert panel._parameterNode.segmentation is panel.workflow.case.segmentation_node


def test_show_in_3d_makes_and_hides_the_surfaces(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    assert not panel.ui.show3DCheckBox.enabled
    node = segment(desktop, panel)
    panel.ui.show3DCheckBox.checked = True
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    panel.ui.show3DCheckBox.checked = False
    assert not node.GetDisplayNode().GetVisibility3D()


def test_a_new_segmentation_is_shown_in_3d_while_the_box_is_ticked(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    segment(desktop, panel)
    panel.ui.show3DCheckBox.checked = True
    another = segment(desktop, panel)
    assert another.GetSegmentation().ContainsRepresentation("Closed surface")
    assert another.GetDisplayNode().GetVisibility3D()
    assert another.GetDisplayNode().GetSegmentOpacity3D("Liver") < another.GetDisplayNode().GetSegmentOpacity3D("Tumour"), "it hides what is inside"


def test_lesions_are_links_that_bring_the_slice_views_there(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    segment(desktop, panel)
    slice_node = desktop.scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    slice_node.SetOrientation("Axial")
    lesions = (Lesion(12.34, 31.0, (5.0, 6.0, 7.0)), Lesion(0.2, 6.0, (-5.0, 1.0, -30.0)))
    panel.workflow.session.tell(on.Segmented("Liver", Measurements(1500, 12.54, 3, lesions)))
    assert "Lesion 1: 12.3 ml, 31 mm across" in panel.ui.lesionsLabel.text
    panel.ui.lesionsLabel.linkActivated.emit("lesion:1")
    assert slice_node.GetSliceToRAS().GetElement(2, 3) == -30.0
    panel.ui.lesionsLabel.linkActivated.emit("lesion:99")


def doubtful(case: str = "C-" + "B" * 16) -> OpenedCase:

    found = opened(case, waiting=1)
    doubt = found.ct.with_array(np.linspace(0, 1, found.ct.array.size, dtype=np.float32).reshape(found.ct.array.shape))
    places = (Place((1.0, 2.0, 3.0), "liver"), Place((-4.0, 5.0, 60.0), "tumour"))
    return replace(found, proposal=replace(found.proposal, places=places, doubt=doubt))


def test_the_places_where_the_teacher_was_not_sure_are_gone_through_one_by_one(desktop: Any) -> None:
    panel = desktop.open_panel(**seams(desk=Desk(worklist=[doubtful(), opened("C-" + "C" * 16, seed=1)])))
    slice_node = desktop.scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    slice_node.SetOrientation("Axial")
    press(desktop, panel, "nextButton")
    assert panel.ui.lookButton.text == "Next place (1 of 2)"
    for height, words in ((3.0, "Place 1 of 2: Is this liver?"), (60.0, "Place 2 of 2: Is this tumour?"), (3.0, "Place 1 of 2: Is this liver?")):
        panel.ui.lookButton.click()
        assert (slice_node.GetSliceToRAS().GetElement(2, 3), panel.ui.statusLabel.text) == (height, words)
    press(desktop, panel, "nextButton")
    assert not panel.ui.lookButton.enabled


def test_the_overlay_follows_the_segmentation_in_hand_and_is_never_taken_for_a_ct(desktop: Any) -> None:
    composite = desktop.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", "Red")
    panel = desktop.open_panel(**seams(desk=Desk(worklist=[doubtful(), opened("C-" + "C" * 16, seed=1)])))
    press(desktop, panel, "nextButton")
    listed = panel.ui.ctSelector.count
    panel.ui.doubtCheckBox.checked = True
    assert composite.GetForegroundVolumeID() is not None
    assert panel.ui.ctSelector.count == listed
    panel.ui.doubtCheckBox.checked = False
    assert composite.GetForegroundVolumeID() is None
    panel.ui.doubtCheckBox.checked = True
    press(desktop, panel, "nextButton")
    assert composite.GetForegroundVolumeID() is None, "nothing is known of this one"
    assert not panel.ui.doubtCheckBox.enabled
    desktop.close_panel()
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


def test_the_time_is_shown_while_correcting_and_the_effort_after_approval(desktop: Any) -> None:
    time = [1000.0]
    add_ct()
    desk = Desk(effort=Effort(75.0, 12.34, 5, 40, 812.0))
    panel = desktop.open_panel(**seams(desk=desk, clock=lambda: time[0]))
    node = segment(desktop, panel)
    for _ in range(2):
        time[0] += 30
        edit(node, panel.workflow.case.ct_node)
    time[0] += 5000  # lunch
    panel.onFederationTimer()
    assert panel.ui.effortLabel.text == "Time on this case: 3 min"
    press(desktop, panel, "approveButton")
    assert desk.submissions[0].seconds_spent == 60 + 120
    assert panel.ui.effortLabel.text == "Corrected in 70 s: 5 of 40 slices, 12.3 ml changed, 81 cm of contour drawn anew."
    edit(node, panel.workflow.case.ct_node)
    assert "Corrected" not in panel.ui.effortLabel.text
