"""The real module file and the real .ui, on a real MRML scene, with stand-ins for Qt's PythonQt manners and Slicer's widgets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seams import Desk, Installed, Link, seams, threshold

from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume
from fedliver.slicer import panel_events as on
from fedliver.slicer import scene as bridge
from fedliver.slicer.panel_state import Check, Membership, Round
from fedliver.slicer.panel_view import Control
from fedliver.slicer.site_desk import Comparison, Verdict


def oblique_ct(seed: int = 0) -> Volume:
    affine = np.array([[0.8, -0.3, 0.1, -90.0], [0.28, 0.85, 0.4, 22.0], [-0.15, -0.4, 2.6, -700.0], [0, 0, 0, 1.0]])
    axes, _upper = np.linalg.qr(affine[:3, :3])
    affine[:3, :3] = axes @ np.diag([0.9, 1.1, 2.7])
    geometry = Geometry.from_affine_ras(affine, (20, 18, 12))
    return Volume(np.random.default_rng(seed).integers(-100, 100, geometry.shape).astype(np.int16), geometry)


def add_ct(name: str = "CT", seed: int = 0) -> Any:
    return bridge.node_from_volume(oblique_ct(seed), name)


def choose(desktop: Any, panel: Any, node: Any) -> None:
    """What the user does at the selector; the panel reacts when the event loop turns."""
    panel.ui.ctSelector.setCurrentNode(node)
    desktop.events()


def segment(desktop: Any, panel: Any) -> Any:
    panel.ui.segmentButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    return panel.workflow.segmentation_node


def edit(node: Any, ct_node: Any) -> None:
    """What the Segment Editor does to a segment: writes voxels into it."""
    import slicer

    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Tumour", ct_node)
    mask[0, :3, :3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "Tumour", ct_node)


def test_every_control_of_the_ui_is_live_or_its_tooltip_says_why_not(desktop: Any) -> None:
    panel = desktop.open_panel(**seams())
    for control in Control:
        widget = getattr(panel.ui, control.value)
        assert widget.toolTip.endswith("."), control
    assert not panel.ui.segmentButton.enabled
    assert panel.ui.segmentButton.toolTip == "Choose a CT first."
    assert panel.ui.statusLabel.text == "Load a CT and choose it below."
    assert panel.ui.teacherLabel.text == "FedLiver starter 0.1.0"


def test_the_only_ct_of_the_scene_is_chosen_and_can_be_segmented(desktop: Any) -> None:
    node = add_ct()
    panel = desktop.open_panel(**seams())
    assert panel.ui.ctSelector.currentNode() is node
    assert panel.ui.segmentButton.enabled


def test_a_ct_that_is_loaded_while_the_panel_is_open_is_chosen(desktop: Any) -> None:
    panel = desktop.open_panel(**seams())
    node = add_ct()
    desktop.events()
    assert panel.ui.ctSelector.currentNode() is node
    assert panel.ui.segmentButton.enabled


def test_of_two_cts_none_is_chosen_for_the_user(desktop: Any) -> None:
    add_ct("A")
    node = add_ct("B")
    panel = desktop.open_panel(**seams())
    assert panel.ui.ctSelector.currentNode() is None
    choose(desktop, panel, node)
    assert panel.workflow.ct_node is node
    assert panel.ui.segmentButton.enabled


def test_a_ct_that_cannot_be_segmented_says_why_on_the_button(desktop: Any) -> None:
    node = add_ct()
    node.SetAndObserveTransformNodeID(desktop.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())
    panel = desktop.open_panel(**seams())
    assert not panel.ui.segmentButton.enabled
    assert "Harden" in panel.ui.segmentButton.toolTip
    assert "Harden" in panel.ui.statusLabel.text


def test_auto_segment_puts_the_teachers_labels_into_the_scene(desktop: Any) -> None:
    ct_node = add_ct()
    desk = Desk()
    panel = desktop.open_panel(**seams(desk=desk))
    node = segment(desktop, panel)
    np.testing.assert_array_equal(bridge.labels_from_segmentation(node, ct_node).array, threshold(oblique_ct()))
    assert node.GetName() == "Liver, by FedLiver starter 0.1.0"
    assert node.GetAttribute(bridge.TEACHER_HASH_ATTRIBUTE) == "a" * 64
    assert panel.ui.resultLabel.text.startswith("Liver ")
    assert desk.threads == ["fedliver-work"], "the work does not run in the window's thread"
    assert panel.ui.refineSection.collapsed is False
    assert panel._parameterNode.segmentation is node


def test_while_work_runs_the_button_cancels_and_progress_shows_phase_and_bar(desktop: Any) -> None:
    add_ct()
    desk = Desk(held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    panel.ui.segmentButton.click()
    desktop.wait(lambda: panel.ui.progressBar.value == 40)
    assert panel.ui.segmentButton.text == "Cancel"
    assert panel.ui.segmentButton.enabled
    assert panel.ui.progressLabel.text == "Looking for the liver"
    assert not panel.ui.progressFrame.isHidden()
    assert not panel.ui.ctSelector.enabled
    assert not panel.ui.approveButton.enabled
    desk.let_go.set()
    desktop.wait(lambda: not panel.workflow.working)
    assert panel.ui.segmentButton.text == "Auto-segment"
    assert panel.ui.progressFrame.isHidden()


def test_cancel_stops_and_leaves_the_scene_as_it_was(desktop: Any) -> None:
    add_ct()
    desk = Desk(held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    panel.ui.segmentButton.click()
    desktop.wait(desk.began.is_set)
    before = desktop.scene.GetNumberOfNodes()
    panel.ui.segmentButton.click()
    assert panel.ui.segmentButton.text == "Stopping…"
    assert not panel.ui.segmentButton.enabled
    desktop.wait(lambda: not panel.workflow.working)
    assert desk.cancelled.is_set()
    assert desktop.scene.GetNumberOfNodes() == before
    assert panel.ui.statusLabel.text == "Cancelled. Nothing was changed."
    assert panel.ui.segmentButton.enabled


def test_the_window_lives_while_the_teacher_works(desktop: Any) -> None:
    """The event loop turns while the work does not end: a window that waits for its teacher would never get through the turns below."""
    add_ct()
    desk = Desk(held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    panel.ui.segmentButton.click()
    desktop.wait(desk.began.is_set)
    for _ in range(200):
        desktop.application.processEvents()
    assert panel.workflow.working
    assert not desk.let_go.is_set()
    desk.let_go.set()
    desktop.wait(lambda: not panel.workflow.working)


def test_an_edited_segmentation_is_never_overwritten(desktop: Any) -> None:
    ct_node = add_ct()
    panel = desktop.open_panel(**seams())
    first = segment(desktop, panel)
    edit(first, ct_node)
    kept = bridge.labels_from_segmentation(first, ct_node).array
    second = segment(desktop, panel)
    assert second is not first
    assert first.GetScene() is not None
    np.testing.assert_array_equal(bridge.labels_from_segmentation(first, ct_node).array, kept)
    assert not first.GetDisplayNode().GetVisibility()


def test_an_untouched_segmentation_is_replaced_instead_of_piling_up(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    first = segment(desktop, panel)
    segment(desktop, panel)
    assert first.GetScene() is None
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_an_edit_forgets_the_measurements_and_the_checklist(desktop: Any) -> None:
    ct_node = add_ct()
    panel = desktop.open_panel(**seams())
    node = segment(desktop, panel)
    assert not panel.ui.resultLabel.isHidden()
    edit(node, ct_node)
    assert panel.workflow.state.edited
    assert panel.ui.resultLabel.isHidden()


def test_a_failure_is_a_sentence_in_the_panel_and_the_panel_goes_on(desktop: Any) -> None:
    add_ct()
    desk = Desk(error=FedLiverError("not-hounsfield", "All values are positive: export the CT again."))
    panel = desktop.open_panel(**seams(desk=desk))
    segment(desktop, panel)
    assert panel.ui.statusLabel.text == "All values are positive: export the CT again."
    assert panel.ui.segmentButton.enabled
    desk.error = ZeroDivisionError("a bug")
    segment(desktop, panel)
    assert "ZeroDivisionError" in panel.ui.statusLabel.text
    desk.error = None
    assert segment(desktop, panel) is not None


def test_approve_hands_over_the_ct_the_corrected_labels_and_the_proposal(desktop: Any) -> None:
    ct_node = add_ct()
    desk = Desk()
    panel = desktop.open_panel(**seams(desk=desk))
    node = segment(desktop, panel)
    edit(node, ct_node)
    panel.ui.approveButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    (submission,) = desk.submissions
    np.testing.assert_array_equal(submission.ct.array, oblique_ct().array)
    np.testing.assert_array_equal(submission.labels.array, bridge.labels_from_segmentation(node, ct_node).array)
    assert submission.proposal is not None
    np.testing.assert_array_equal(submission.proposal.labels.array, threshold(oblique_ct()))
    assert (submission.labels.array != submission.proposal.labels.array).any()
    assert submission.seconds_spent is not None
    assert panel.ui.statusLabel.text == "Approved. 1 case approved on this computer."
    assert not panel.ui.approveButton.enabled
    edit(node, ct_node)
    assert not panel.ui.approveButton.enabled or panel.workflow.state.edited


def test_a_failed_check_shows_its_reason_and_a_written_reason_overrules_it(desktop: Any) -> None:
    add_ct()
    failed = Check("liver-volume", False, "The liver measures 7200 ml, expected 200 to 6000 ml.", can_override=True)
    desk = Desk(verdict=Verdict((failed,)))
    panel = desktop.open_panel(**seams(desk=desk))
    segment(desktop, panel)
    assert panel.ui.reasonEdit.isHidden()
    panel.ui.approveButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    assert "7200 ml" in panel.ui.checklistLabel.text
    assert not panel.ui.reasonEdit.isHidden()
    assert not panel.ui.approveButton.enabled
    panel.ui.reasonEdit.text = "polycystic liver"
    panel.ui.reasonEdit.textEdited.emit("polycystic liver")
    assert panel.ui.approveButton.enabled
    panel.ui.approveButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    assert desk.submissions[-1].reason == "polycystic liver"
    assert panel.workflow.state.approved
    assert panel.ui.reasonEdit.text == ""


def test_a_segment_that_is_no_liver_stops_the_approval_in_words(desktop: Any) -> None:
    add_ct()
    desk = Desk()
    panel = desktop.open_panel(**seams(desk=desk))
    node = segment(desktop, panel)
    node.GetSegmentation().AddEmptySegment("", "Spleen")
    panel.ui.approveButton.click()
    assert "Spleen" in panel.ui.statusLabel.text
    assert desk.submissions == []
    assert not panel.workflow.state.busy


def test_join_needs_an_invitation_an_approved_case_and_the_users_explicit_yes(desktop: Any) -> None:
    link, desk = Link(), Desk(approved=2)
    desktop.file_to_open = "/mail/invitation.json"
    panel = desktop.open_panel(**seams(link=link, desk=desk))
    assert not panel.ui.joinButton.enabled
    assert panel.ui.consentFrame.isHidden()
    panel.ui.invitationButton.click()
    assert link.asked == ["enrol invitation.json"]
    panel.onFederationTimer()
    assert not panel.ui.consentFrame.isHidden()
    for sentence in (*panel.workflow.view.leaves, *panel.workflow.view.stays):
        assert sentence[:30] in panel.ui.leavesLabel.text.replace("&#x27;", "'")
    assert not panel.ui.joinButton.enabled
    panel.ui.joinButton.click()
    assert link.asked == ["enrol invitation.json"]
    panel.ui.optInCheckBox.checked = True
    assert panel.ui.joinButton.enabled
    panel.ui.optInCheckBox.checked = False
    assert not panel.ui.joinButton.enabled
    panel.ui.optInCheckBox.checked = True
    panel.ui.joinButton.click()
    assert link.asked[-1] == "join"
    assert panel.workflow.state.membership is Membership.JOINING


def test_rounds_are_shown_as_they_are_reported_and_leave_ends_them(desktop: Any) -> None:
    link = Link(before=[on.Joined("North")])
    panel = desktop.open_panel(**seams(link=link, desk=Desk(approved=1)))
    assert panel.ui.leaveButton.enabled
    link.news = [on.RoundReported(Round(2, 3, 10, 40, 0.31, 0.88))]
    panel.onFederationTimer()
    assert panel.ui.federationLabel.text == "Round 2 of 3 · step 10 of 40 · loss 0.310 · Dice 0.880"
    assert panel.ui.roundBar.value == 25
    panel.ui.leaveButton.click()
    assert link.asked == ["leave"]
    link.news = [on.Left()]
    panel.onFederationTimer()
    assert not panel.ui.leaveButton.enabled
    assert not panel.ui.optInCheckBox.checked, "to join again, the user must agree again"


def test_a_damaged_invitation_is_refused_in_words(desktop: Any) -> None:
    link = Link(bad_invitation=FedLiverError("not-an-invitation", "x.json is not an invitation: ask the coordinator."))
    desktop.file_to_open = "/mail/x.json"
    panel = desktop.open_panel(**seams(link=link))
    panel.ui.invitationButton.click()
    assert panel.ui.statusLabel.text == "x.json is not an invitation: ask the coordinator."
    assert link.asked == []
    assert panel.workflow.state.membership is Membership.OUTSIDE


def test_closing_the_file_dialog_does_nothing(desktop: Any) -> None:
    link = Link()
    panel = desktop.open_panel(**seams(link=link))
    panel.ui.invitationButton.click()
    assert link.asked == []


def test_a_missing_federation_environment_is_asked_for_before_join(desktop: Any) -> None:
    link = Link(before=[on.InvitationOpened("North")], has_environment=False)
    panel = desktop.open_panel(**seams(link=link, desk=Desk(approved=1)))
    panel.ui.optInCheckBox.checked = True
    panel.ui.joinButton.click()
    assert "1 GB" in desktop.questions[-1]
    assert link.asked == []
    assert panel.ui.joinButton.enabled


def test_a_new_teacher_is_offered_compared_and_adopted(desktop: Any) -> None:
    link, desk = Link(before=[on.Joined("North")], candidate=Path("/site/candidates/round-003")), Desk(approved=3)
    panel = desktop.open_panel(**seams(link=link, desk=desk))
    assert panel.ui.candidateFrame.isHidden()
    panel.onFederationTimer()
    assert not panel.ui.candidateFrame.isHidden()
    assert "round 003" in panel.ui.candidateLabel.text
    desk.comparison = Comparison(False, 0.93, 0.90, "Not adopted: liver Dice 0.900 against 0.930.")
    panel.ui.adoptButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    assert desk.compared == [Path("/site/candidates/round-003")]
    assert "0.900" in panel.ui.candidateLabel.text
    assert "0.930" in panel.ui.candidateLabel.text
    assert not panel.ui.adoptButton.enabled
    panel.ui.keepButton.click()
    assert panel.ui.candidateFrame.isHidden()


def test_declining_the_installation_leaves_the_panel_usable(desktop: Any) -> None:
    add_ct()
    installation = Installed(("torch", "monai"), agrees=False)
    panel = desktop.open_panel(**seams(installation=installation))
    assert panel.ui.segmentButton.enabled
    panel.ui.segmentButton.click()
    assert installation.asked == 1
    assert not panel.workflow.working
    assert "Nothing was installed" in panel.ui.statusLabel.text
    installation.agrees = True
    assert segment(desktop, panel) is not None
    segment(desktop, panel)
    assert installation.asked == 2, "asked no more once everything is there"


def test_a_second_press_while_packages_are_being_installed_starts_no_second_installation(desktop: Any) -> None:
    add_ct()

    class Installing(Installed):
        def ensure(self, _: Any = str, also: tuple[str, ...] = ()) -> bool:
            if self.asked == 0:
                self.asked += 1
                panel.ui.segmentButton.click()  # pip lets the window live
                assert not panel.ui.segmentButton.enabled
                assert "installation" in panel.ui.segmentButton.toolTip
                self.packages = ()
                return True
            return super().ensure()

    installation = Installing(("monai",))
    panel = desktop.open_panel(**seams(installation=installation))
    assert segment(desktop, panel) is not None
    assert installation.asked == 1


def test_closing_the_scene_while_work_runs_stops_it_and_clears_the_panel(desktop: Any) -> None:
    add_ct()
    desk = Desk(held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    panel.ui.segmentButton.click()
    desktop.wait(desk.began.is_set)
    desktop.scene.Clear(0)
    desktop.wait(desk.cancelled.is_set, seconds=2.0)
    desktop.events()
    assert not panel.workflow.working
    assert panel.workflow.ct_node is None
    assert panel.ui.segmentButton.toolTip == "Choose a CT first."
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    desk.held = False
    add_ct("next patient")
    choose(desktop, panel, desktop.scene.GetFirstNodeByName("next patient"))
    assert segment(desktop, panel) is not None


def test_deleting_the_ct_while_work_runs_throws_the_result_away(desktop: Any) -> None:
    node = add_ct()
    desk = Desk(held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    panel.ui.segmentButton.click()
    desktop.wait(desk.began.is_set)
    desktop.scene.RemoveNode(node)
    desk.let_go.set()
    desktop.wait(lambda: not panel.workflow.working)
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert "was closed or changed" in panel.workflow.state.notice.sentence


def test_deleting_the_segmentation_elsewhere_is_noticed(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    desktop.scene.RemoveNode(segment(desktop, panel))
    desktop.events()
    assert panel.workflow.segmentation_node is None
    assert not panel.ui.approveButton.enabled


def test_going_back_to_a_patient_goes_back_to_the_work(desktop: Any) -> None:
    first, second = add_ct("A"), add_ct("B", seed=1)
    panel = desktop.open_panel(**seams())
    choose(desktop, panel, first)
    of_first = segment(desktop, panel)
    choose(desktop, panel, second)
    assert panel.workflow.segmentation_node is None
    of_second = segment(desktop, panel)
    assert of_first.GetScene() is not None
    choose(desktop, panel, first)
    assert panel.workflow.segmentation_node is of_first
    choose(desktop, panel, second)
    assert panel.workflow.segmentation_node is of_second


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
    assert panel.workflow.segmentation_node is not None
    assert panel._parameterNode.segmentation is panel.workflow.segmentation_node


def test_a_reopened_scene_restores_the_panel(desktop: Any, tmp_path: Path) -> None:
    add_ct()
    add_ct("another")
    panel = desktop.open_panel(**seams())
    choose(desktop, panel, desktop.scene.GetFirstNodeByName("CT"))
    segment(desktop, panel)
    panel.ui.keepInsideCheckBox.checked = False
    assert desktop.scene.WriteToMRB(str(tmp_path / "work.mrb"))
    desktop.scene.Clear(0)
    assert panel.workflow.segmentation_node is None
    assert desktop.scene.ReadFromMRB(str(tmp_path / "work.mrb"))
    desktop.events()
    assert panel.workflow.ct_node.GetName() == "CT"
    assert panel.ui.ctSelector.currentNode() is panel.workflow.ct_node
    assert panel.workflow.segmentation_node.GetName().startswith("Liver, by")
    assert not panel.ui.keepInsideCheckBox.checked
    assert panel.ui.approveButton.enabled


def test_consent_is_never_stored_in_the_scene(desktop: Any) -> None:
    panel = desktop.open_panel(**seams(link=Link(before=[on.InvitationOpened("North")]), desk=Desk(approved=1)))
    panel.ui.optInCheckBox.checked = True
    node = panel._parameterNode.parameterNode
    stored = set(node.GetParameterNames())
    assert stored <= {"show3D", "keepInside", "softTissue", "ct", "segmentation"}


def test_reload_makes_a_new_panel_and_silences_the_old_one(desktop: Any) -> None:
    add_ct()
    desk = Desk(held=True)
    old = desktop.open_panel(**seams(desk=desk))
    old.ui.segmentButton.click()
    desktop.wait(desk.began.is_set)
    timers = list(old._timers)
    desktop.close_panel()
    assert desk.cancelled.wait(2.0)
    assert not any(timer.isActive() for timer in timers)
    desktop.load_module()
    panel = desktop.open_panel(**seams())
    assert panel is not old
    assert segment(desktop, panel) is not None
    assert old.workflow.segmentation_node is None


def test_reload_in_developer_mode_reloads_the_package_too(desktop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    panel = desktop.open_panel(**seams())
    monkeypatch.setattr(sys, "modules", dict(sys.modules))  # Slicer forgets them for good; the other tests still need them
    monkeypatch.setattr(sys.modules["slicer.ScriptedLoadableModule"].ScriptedLoadableModuleWidget, "onReload", lambda self: None)
    panel.onReload()
    assert not [name for name in sys.modules if name.split(".")[0] == "fedliver"]


def test_a_panel_that_cannot_be_built_says_so_in_its_place(desktop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    def broken(path: str) -> Any:
        raise RuntimeError("no such file")

    monkeypatch.setattr(slicer.util, "loadUI", broken)
    with pytest.raises(RuntimeError):
        desktop.open_panel(**seams())
    layout = desktop.parent.layout()
    texts = [layout.itemAt(i).widget().text for i in range(layout.count())]
    assert any("could not be built: no such file" in text for text in texts)


def test_all_text_can_be_translated(desktop: Any) -> None:
    module = desktop.load_module()
    desktop.app.translations[("slicer.panel_view", "Auto-segment")] = "Auto-Segmentierung"
    desktop.app.translations[("slicer.panel_view", "Choose a CT first.")] = "Zuerst ein CT wählen."
    panel = desktop.open_panel(**seams())
    assert panel.ui.segmentButton.text == "Auto-Segmentierung"
    assert panel.ui.segmentButton.toolTip == "Zuerst ein CT wählen."
    assert module is not None
