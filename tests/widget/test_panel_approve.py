"""Approve in the panel: what is handed over, what the checklist says, and what a written reason overrules."""

from typing import Any

import numpy as np
from hands import add_ct, edit, oblique_ct, segment
from seams import Desk, seams, threshold

from fedliver.slicer import scene as bridge
from fedliver.slicer.panel_state import Check
from fedliver.slicer.site_desk import Verdict


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
