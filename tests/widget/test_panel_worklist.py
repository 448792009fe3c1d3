"""From case to case in the panel: next, draft, exclude; with a real case store where it says so."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from hands import add_ct, edit, oblique_ct, opened, press, segment
from seams import Desk, Installed, Link, seams

from dicom_files import write_series
from fedliver.cases.case import State, TeacherProvenance
from fedliver.ct_reader import read_ct
from fedliver.image import Volume
from fedliver.phantom import PhantomSettings, generate
from fedliver.slicer import scene as bridge
from fedliver.slicer.home_desk import HomeDesk
from fedliver.slicer.site_desk import Counts, OpenedCase, Submission
from fedliver.watch import Silent


def test_without_a_worklist_its_row_is_not_in_the_way(desktop: Any) -> None:
    panel = desktop.open_panel(**seams())
    assert panel.ui.nextButton.isHidden()
    assert panel.ui.strategyBox.isHidden()


def test_next_case_opens_the_ct_and_its_pre_segmentation_and_counts_the_rest(desktop: Any) -> None:
    desk = Desk(worklist=[opened("C-" + "B" * 16, waiting=1), opened("C-" + "C" * 16, seed=1)])
    panel = desktop.open_panel(**seams(desk=desk))
    assert panel.ui.nextButton.text == "Next case (2 waiting)"
    panel.ui.strategyBox.setCurrentIndex(1)
    press(desktop, panel, "nextButton")
    assert desk.asked_next == [("uncertainty", "", None)]
    node = panel.ui.ctSelector.currentNode()
    assert (node.GetName(), panel._parameterNode.ct) == ("C-" + "B" * 16, node)
    assert panel.workflow.state.case == "C-" + "B" * 16
    np.testing.assert_array_equal(bridge.volume_from_node(node).array, oblique_ct(0).array)
    expected = (oblique_ct(0).array > 20).astype(np.uint8)
    np.testing.assert_array_equal(bridge.labels_from_segmentation(panel.workflow.case.segmentation_node, node).array, expected)
    assert panel._parameterNode.segmentation is panel.workflow.case.segmentation_node
    assert panel.ui.nextButton.text == "Next case (1 waiting)"
    assert panel.ui.resultLabel.text == "Liver 9 ml (with tumour), no tumour found", "how long it took is not known any more"
    assert panel.ui.approveButton.enabled


def test_what_was_corrected_is_kept_as_a_draft_and_leaves_the_scene_with_its_case(desktop: Any) -> None:
    desk = Desk(worklist=[opened("C-" + "B" * 16, waiting=1), opened("C-" + "C" * 16, seed=1)])
    panel = desktop.open_panel(**seams(desk=desk))
    press(desktop, panel, "nextButton")
    first_ct, first = panel.workflow.case.ct_node, panel.workflow.case.segmentation_node
    edit(first, first_ct)
    corrected = bridge.labels_from_segmentation(first, first_ct)
    press(desktop, panel, "nextButton")
    _, current, draft = desk.asked_next[1]
    assert (current, draft.case) == ("C-" + "B" * 16, "C-" + "B" * 16)
    np.testing.assert_array_equal(draft.labels.array, corrected.array)
    assert draft.proposal is not None
    assert (first_ct.GetScene(), first.GetScene()) == (None, None)
    assert panel.ui.ctSelector.currentNode().GetName() == "C-" + "C" * 16


def test_a_ct_that_the_user_loaded_stays_in_the_scene_with_its_edits(desktop: Any) -> None:
    ct_node = add_ct()
    desk = Desk(worklist=[opened("C-" + "B" * 16)])
    panel = desktop.open_panel(**seams(desk=desk))
    own = segment(desktop, panel)
    edit(own, ct_node)
    press(desktop, panel, "nextButton")
    assert desk.asked_next == [("first-come", "", None)]
    assert ct_node.GetScene() is desktop.scene
    assert own.GetScene() is desktop.scene
    assert panel.workflow.case.segmentation_node is not own


def test_a_case_that_nobody_has_segmented_opens_without_outlines_and_can_be_segmented(desktop: Any) -> None:
    desk = Desk(worklist=[OpenedCase("C-" + "B" * 16, oblique_ct())])
    panel = desktop.open_panel(**seams(desk=desk))
    press(desktop, panel, "nextButton")
    assert panel.workflow.case.segmentation_node is None
    assert panel.ui.segmentButton.enabled
    segment(desktop, panel)
    press(desktop, panel, "approveButton")
    assert desk.submissions[0].case == "C-" + "B" * 16


def test_the_worklist_that_was_emptied_elsewhere_is_told_in_words(desktop: Any) -> None:
    desk = Desk(worklist=[opened("C-" + "B" * 16)])
    panel = desktop.open_panel(**seams(desk=desk))
    desk.worklist.clear()
    press(desktop, panel, "nextButton")
    assert panel.ui.statusLabel.text == "No other case waits in the worklist."
    assert panel.ui.nextButton.isHidden()


def test_a_scan_that_is_no_use_is_excluded_after_asking_and_the_next_one_opens(desktop: Any) -> None:
    desk = Desk(worklist=[opened("C-" + "B" * 16, waiting=1), opened("C-" + "C" * 16, seed=1)])
    panel = desktop.open_panel(**seams(desk=desk))
    assert panel.ui.excludeButton.isHidden()
    press(desktop, panel, "nextButton")
    press(desktop, panel, "excludeButton")
    assert (desk.excluded, len(desktop.questions)) == ([], 1)
    desktop.answers.append(True)
    press(desktop, panel, "excludeButton")
    assert desk.excluded == ["C-" + "B" * 16]
    assert panel.workflow.state.case == "C-" + "C" * 16
    assert desk.asked_next[1][2] is None, "what is excluded leaves no draft"


def test_a_store_that_takes_long_to_count_does_not_hold_the_window_and_its_numbers_arrive_later(desktop: Any) -> None:
    let_go, counted = threading.Event(), threading.Event()

    class Slow(Desk):
        def counts(self, other_than: str = "") -> Counts:
            let_go.wait(20)
            counted.set()
            return Counts(5, 4242)

    panel = desktop.open_panel(**seams(desk=Slow()))
    assert not counted.is_set(), "it waited for the count"
    assert panel.ui.nextButton.isHidden()
    let_go.set()
    desktop.wait(lambda: panel.onFederationTimer() or not panel.ui.nextButton.isHidden())
    assert panel.ui.nextButton.text == "Next case (4242 waiting)"
    assert panel.workflow.state.approved_cases == 5


def draw_tumour_into_the_liver(node: Any, ct_node: Any, labels: Volume) -> None:
    import slicer

    k, j, i = np.argwhere(labels.array == 1)[np.count_nonzero(labels.array == 1) // 2]
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Tumour", ct_node)
    mask[k, j, i] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "Tumour", ct_node)


def test_a_correction_begun_today_is_finished_tomorrow_and_its_effort_is_kept_with_the_case(desktop: Any, patient: Any, tmp_path: Path) -> None:
    ct, labels = patient
    desk = HomeDesk(tmp_path / "home")
    store = desk.store()
    write_series(tmp_path / "a", ct)
    other, _ = generate(PhantomSettings(seed=6, spacing_mm=(4.0, 4.0, 6.0)))
    write_series(tmp_path / "b", other, series="1.2.3.2", study="1.2.4")
    case = store.add(read_ct(tmp_path / "a"))
    store.add(read_ct(tmp_path / "b"))
    proposal = labels.with_array(np.where(labels.array > 0, 1, 0).astype(np.uint8))
    store.attach(case, proposal, proposal, TeacherProvenance(name="tiny", version="7", sha256="a" * 64), expected_dice=0.8)
    time = [0.0]
    panel = desktop.open_panel(desk=desk, link=Link(), installation=Installed(), clock=lambda: time[0])

    press(desktop, panel, "nextButton")
    assert panel.workflow.state.case == case.pseudonym
    assert panel.ui.nextButton.text == "Next case (1 waiting)"
    time[0] += 40
    draw_tumour_into_the_liver(panel.workflow.case.segmentation_node, panel.workflow.case.ct_node, labels)
    press(desktop, panel, "nextButton")
    assert store.case(case.pseudonym).state is State.IN_CORRECTION
    assert store.case(case.pseudonym).draft.seconds_spent == 40
    assert panel.workflow.case.segmentation_node is None, "the other case is new"

    press(desktop, panel, "nextButton")
    assert panel.workflow.state.case == case.pseudonym
    time[0] += 25
    press(desktop, panel, "approveButton")
    approval = store.case(case.pseudonym).approval
    assert approval is not None, panel.ui.checklistLabel.text + panel.ui.statusLabel.text
    assert approval.segmentation.seconds_spent == 65
    assert approval.segmentation.expected_dice == 0.8
    assert approval.correction.effort.slices_touched == 1
    assert "1 of " in panel.ui.effortLabel.text
    assert len(store.cases()) == 2, "the opened case is the same case"


def test_a_case_from_a_scene_of_another_site_becomes_a_case_of_this_one(desktop: Any, patient: Any, tmp_path: Path) -> None:
    ct, labels = patient
    desk = HomeDesk(tmp_path / "home")
    ct_node = bridge.node_from_volume(ct, "CT")
    ct_node.SetAttribute(bridge.CASE_ATTRIBUTE, "C-" + "Z" * 16)
    panel = desktop.open_panel(desk=desk, link=Link(), installation=Installed())
    panel.workflow.case.choose_segmentation(bridge.segmentation_from_labels(labels, ct_node, "Liver"))
    press(desktop, panel, "approveButton")
    (case,) = desk.store().cases()
    assert case.state is State.APPROVED
    assert ct_node.GetAttribute(bridge.CASE_ATTRIBUTE) == case.pseudonym


def test_another_ct_under_a_cases_name_is_not_stored_as_that_case(patient: Any, tmp_path: Path) -> None:
    from fedliver.slicer.site_desk import Submission
    from fedliver.watch import Silent

    ct, labels = patient
    desk = HomeDesk(tmp_path / "home")
    store = desk.store()
    write_series(tmp_path / "a", ct)
    case = store.add(read_ct(tmp_path / "a"))
    changed = ct.with_array(np.where(labels.array > 0, ct.array + 7, ct.array).astype(np.int16))
    verdict = desk.approve(Submission(ct=changed, labels=labels, case=case.pseudonym), Silent())
    assert verdict.case != case.pseudonym
    assert store.case(case.pseudonym).state is State.NEW


def test_two_windows_of_the_same_store_lose_nothing_of_each_other(desktop: Any, patient: Any, tmp_path: Path) -> None:
    """The second window is another desk over the same folder, as in another Slicer: it approves what lies open in the first, and takes in a case."""
    ct, labels = patient
    here, there = HomeDesk(tmp_path / "home"), HomeDesk(tmp_path / "home")
    write_series(tmp_path / "a", ct)
    case = here.store().add(read_ct(tmp_path / "a"))
    proposal = labels.with_array(np.where(labels.array > 0, 1, 0).astype(np.uint8))
    here.store().attach(case, proposal, proposal, TeacherProvenance(name="tiny", version="7", sha256="a" * 64), expected_dice=0.8)
    panel = desktop.open_panel(desk=here, link=Link(), installation=Installed())
    press(desktop, panel, "nextButton")

    elsewhere = there.open_next("first-come", "", None, Silent())
    assert elsewhere is not None
    assert elsewhere.labels is not None
    verdict = there.approve(Submission(ct=elsewhere.ct, labels=elsewhere.labels, proposal=elsewhere.proposal, case=elsewhere.case), Silent())
    assert verdict.approved_cases == 1
    other, _ = generate(PhantomSettings(seed=6, spacing_mm=(4.0, 4.0, 6.0)))
    write_series(tmp_path / "b", other, series="1.2.3.2", study="1.2.4")
    there.store().add(read_ct(tmp_path / "b"))

    draw_tumour_into_the_liver(panel.workflow.case.segmentation_node, panel.workflow.case.ct_node, labels)
    press(desktop, panel, "approveButton")
    assert panel.workflow.state.approved, panel.ui.statusLabel.text
    assert panel.ui.nextButton.text == "Next case (1 waiting)"
    (kept,) = [found for found in there.store().cases() if found.pseudonym == case.pseudonym]
    assert kept.approval is not None
    assert kept.approval.segmentation.number == 3, "after the teacher's and the other window's"
    assert (there.store().labels(kept).array == 2).any(), "the later correction is the one in force"
    assert len(there.store().cases()) == 2
