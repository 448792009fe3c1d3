"""The panel over a real site: a real (tiny) teacher, the real case store, no stand-in but the window."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seams import Installed, Link

from fedliver.image import Volume
from fedliver.slicer import scene as bridge
from fedliver.slicer.background import ThreadJob
from fedliver.slicer.home_desk import HomeDesk
from fedliver.slicer.site_desk import Submission
from fedliver.watch import Silent

torch = pytest.importorskip("torch")


@pytest.fixture
def desk(tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> HomeDesk:
    monkeypatch.setattr("fedliver.teacher.bundle.STARTER", teacher)
    return HomeDesk(tmp_path / "home")


def test_the_real_teacher_segments_in_the_panel_and_shows_its_name(desktop: Any, desk: HomeDesk, patient: tuple[Volume, Volume]) -> None:
    ct_node = bridge.node_from_volume(patient[0], "CT")
    panel = desktop.open_panel(desk=desk, link=Link(), installation=Installed())
    assert panel.ui.teacherLabel.text == "tiny 0, for research only"
    panel.ui.segmentButton.click()
    desktop.wait(lambda: not panel.workflow.working, seconds=120)
    node = panel.workflow.case.segmentation_node
    assert node is not None, panel.ui.statusLabel.text
    assert node.GetName() == "Liver, by tiny 0"
    expected = desk.segment(patient[0], Silent()).labels
    np.testing.assert_array_equal(bridge.labels_from_segmentation(node, ct_node).array, expected.array)


def test_what_the_teacher_doubts_comes_in_the_scenes_frame_and_is_kept_with_the_case(desk: HomeDesk, patient: tuple[Volume, Volume]) -> None:
    from fedliver.teacher.inference import segment

    ct, labels = patient
    made = segment(desk._teacher(), ct)
    assert made.doubt is not None
    proposal = desk.segment(ct, Silent())
    assert [place.position for place in proposal.places] == [(-x, -y, z) for x, y, z in (place.position_mm for place in made.doubt.places)]
    desk.approve(Submission(ct=ct, labels=labels, proposal=proposal), Silent())
    (case,) = desk.store().cases()
    assert case.approval is not None
    kept = case.approval.segmentation
    assert [place.position_mm for place in kept.places] == [place.position_mm for place in made.doubt.places]
    assert kept.expected_dice == made.expected_dice


def test_a_case_that_was_segmented_ahead_opens_with_where_the_teacher_was_not_sure(desktop: Any, desk: HomeDesk, patient: tuple[Volume, Volume]) -> None:
    import slicer

    from fedliver.ct_reader import Ct, SourceIdentity
    from fedliver.slicer.overlay import TAG

    desk.store().add(Ct(patient[0], SourceIdentity("patient", "study", "series"), ()))
    assert desk.segment_ahead("first-come", frozenset(), Silent()) is not None
    panel = desktop.open_panel(desk=desk, link=Link(), installation=Installed())
    desktop.wait(lambda: panel.ui.nextButton.enabled)
    panel.ui.nextButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    assert panel.ui.doubtCheckBox.enabled, panel.ui.doubtCheckBox.toolTip
    panel.ui.doubtCheckBox.checked = True
    (overlay,) = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if node.GetAttribute(TAG)]
    shown = bridge.volume_from_node(overlay)
    made = desk.segment(patient[0], Silent()).doubt
    assert made is not None
    assert shown.geometry.same_grid(made.geometry)
    assert abs(shown.array - made.array)[made.array >= 0.25].max() <= 1 / 16


def test_approving_keeps_the_case_with_what_the_clinician_changed(desktop: Any, desk: HomeDesk, patient: tuple[Volume, Volume]) -> None:
    ct, labels = patient
    ct_node = bridge.node_from_volume(ct, "CT")
    panel = desktop.open_panel(desk=desk, link=Link(), installation=Installed())
    panel.ui.segmentButton.click()
    desktop.wait(lambda: not panel.workflow.working, seconds=120)
    corrected = bridge.segmentation_from_labels(labels, ct_node, "corrected")
    panel.workflow.case.choose_segmentation(corrected)
    panel.ui.approveButton.click()
    desktop.wait(lambda: not panel.workflow.working, seconds=60)
    assert panel.workflow.state.approved, panel.ui.statusLabel.text + panel.ui.checklistLabel.text
    assert "✓" in panel.ui.checklistLabel.text
    store = desk.store()
    (case,) = store.cases()
    np.testing.assert_array_equal(store.labels(case).array, labels.array)
    np.testing.assert_array_equal(store.ct(case).array, ct.array)
    assert panel.workflow.state.approved_cases == 1


def test_the_same_ct_from_the_panel_and_from_a_file_is_the_same_case(desk: HomeDesk, patient: tuple[Volume, Volume], tmp_path: Path) -> None:
    import SimpleITK as sitk

    from fedliver.ct_reader import read_ct
    from fedliver.image import to_sitk

    ct, labels = patient
    desk.approve(Submission(ct=ct, labels=labels), Silent())
    sitk.WriteImage(to_sitk(ct), str(tmp_path / "ct.mha"))
    store = desk.store()
    store.add(read_ct(tmp_path / "ct.mha"))
    assert len(store.cases()) == 1


def test_a_liver_that_is_too_small_needs_a_reason_and_a_reason_is_enough(desk: HomeDesk, patient: tuple[Volume, Volume]) -> None:
    ct, labels = patient
    centre = np.argwhere(labels.array == 1).mean(axis=0).astype(int)
    small = np.zeros_like(labels.array)
    part = tuple(slice(max(c - 4, 0), c + 4) for c in centre)
    small[part] = labels.array[part]
    submission = Submission(ct=ct, labels=labels.with_array(small))
    verdict = desk.approve(submission, Silent())
    assert verdict.approved_cases is None
    assert [check.name for check in verdict.checks if not check.passed] == ["liver-volume"]
    again = desk.approve(Submission(ct=ct, labels=submission.labels, reason="resected"), Silent())
    assert again.approved_cases == 1


def test_without_a_case_to_judge_by_a_new_teacher_is_refused_in_the_panels_words(desk: HomeDesk, teacher: Path) -> None:
    comparison = desk.compare(teacher, Silent())
    assert not comparison.adopted
    assert comparison.sentence.startswith("Not adopted: no case is kept back here")
    assert "--" not in comparison.sentence, "the panel has no options to type"


def test_what_is_no_ct_is_refused_in_words_in_the_panel(desktop: Any, desk: HomeDesk, patient: tuple[Volume, Volume]) -> None:
    bridge.node_from_volume(patient[0].with_array((patient[0].array.astype(np.int32) + 2000).astype(np.int16)), "shifted")
    panel = desktop.open_panel(desk=desk, link=Link(), installation=Installed())
    panel.ui.segmentButton.click()
    desktop.wait(lambda: not panel.workflow.working, seconds=60)
    assert "positive" in panel.ui.statusLabel.text
    assert panel.workflow.case.segmentation_node is None


def test_cancel_is_heard_while_the_real_network_runs(desktop: Any, desk: HomeDesk, patient: tuple[Volume, Volume]) -> None:
    bridge.node_from_volume(patient[0], "CT")
    panel = desktop.open_panel(desk=desk, link=Link(), installation=Installed())
    panel.ui.segmentButton.click()
    desktop.wait(lambda: panel.workflow.state.progress.fraction >= 0.05, seconds=60)  # the network runs
    panel.ui.segmentButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    assert panel.ui.statusLabel.text == "Cancelled. Nothing was changed."


@pytest.mark.skipif(not hasattr(ctypes.PyDLL(None), "usleep"), reason="no usleep on this platform")
def test_the_real_network_gets_on_although_the_window_holds_the_gil(desk: HomeDesk, patient: tuple[Volume, Volume]) -> None:
    """As in Slicer: 5 ms of event loop with the GIL held, then a tick of the panel's timer, and so on."""
    holding = ctypes.PyDLL(None)
    job = ThreadJob(lambda watcher: desk.segment(patient[0], watcher))
    turns, snapshot = 0, job.poll()
    while not snapshot.finished and turns < 4000:
        holding.usleep(5000)
        turns, snapshot = turns + 1, job.poll()
    assert snapshot.finished
    assert snapshot.error is None
