"""Choose a CT, press Auto-segment, wait or cancel. The real module file, .ui and MRML; stand-ins for Qt's PythonQt manners and Slicer's widgets."""

from typing import Any

import numpy as np
from hands import add_ct, choose, edit, oblique_ct, segment
from seams import Desk, Installed, seams, threshold

from fedliver.errors import FedLiverError
from fedliver.slicer import scene as bridge
from fedliver.slicer.panel_view import Control


def test_every_control_of_the_ui_is_live_or_its_tooltip_says_why_not(desktop: Any) -> None:
    panel = desktop.open_panel(**seams())
    for control in Control:
        widget = getattr(panel.ui, control.value)
        assert widget.toolTip.endswith("."), control
    assert not panel.ui.segmentButton.enabled
    assert panel.ui.segmentButton.toolTip == "Choose a CT first."
    assert panel.ui.statusLabel.text == "Load a CT and choose it below."
    assert panel.ui.teacherLabel.text == "FedLiver starter 0.1.0, for research only"


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
    assert panel.workflow.case.ct_node is node
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
    assert panel.ui.detailsSection.collapsed
    assert "FedLiverError (not-hounsfield)" in panel.ui.detailsLabel.text
    panel.ui.detailsSection.collapsed = False
    desk.error = ZeroDivisionError("patient Mustermann")
    segment(desktop, panel)
    assert "ZeroDivisionError" in panel.ui.statusLabel.text
    assert panel.ui.detailsSection.collapsed, "another error is folded again"
    assert "Mustermann" not in panel.ui.statusLabel.text + panel.ui.detailsLabel.text
    desk.error = None
    assert segment(desktop, panel) is not None
    assert panel.ui.detailsSection.isHidden()


def test_it_says_what_it_runs_on_and_that_no_graphics_card_is_needed(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    assert panel.ui.processorLabel.text == "this computer's processor; no graphics card is needed"
    segment(desktop, panel)
    assert panel.ui.processorLabel.text == "this computer's processor (2 threads, bfloat16); no graphics card is needed"


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
