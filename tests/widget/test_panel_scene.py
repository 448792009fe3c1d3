"""The panel and its scene: closed, reopened, nodes deleted, patients changed, the module reloaded."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import add_ct, choose, edit, press, segment
from seams import TEACHER, Desk, Link, seams

from fedliver.slicer import panel_events as on
from fedliver.slicer import scene as bridge
from fedliver.slicer.panel_state import Effort, Place


def test_closing_the_scene_while_work_runs_stops_it_and_clears_the_panel(desktop: Any) -> None:
    add_ct()
    desk = Desk(held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    panel.ui.segmentButton.click()
    desktop.wait(desk.began.is_set)
    desktop.scene.Clear(0)
    desktop.wait(desk.cancelled.is_set)
    desktop.events()
    assert not panel.workflow.working
    assert panel.workflow.case.ct_node is None
    assert panel.ui.segmentButton.toolTip == "Choose a CT first."
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    desk.held = False
    add_ct("next patient")
    choose(desktop, panel, desktop.scene.GetFirstNodeByName("next patient"))
    assert segment(desktop, panel) is not None


def half_shown(desktop: Any, panel: Any) -> None:
    """Press Auto-segment, and stop the time when the result is in the scene, but not yet in hand."""
    panel.ui.segmentButton.click()
    panel._workTimer.stop()
    while not desktop.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"):
        panel.workflow.tick()
    assert panel.workflow.case.segmentation_node is None
    assert panel.workflow.working


def test_closing_the_scene_while_a_result_is_being_shown_leaves_nothing_of_it(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    half_shown(desktop, panel)
    desktop.scene.Clear(0)
    desktop.events()
    assert not panel.workflow.working
    assert panel.workflow.case.segmentation_node is None
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_result_that_is_deleted_while_it_is_being_shown_is_told_and_the_panel_lives(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    half_shown(desktop, panel)
    desktop.scene.RemoveNode(desktop.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode"))
    while panel.workflow.working:
        panel.workflow.tick()
    assert "removed at once" in panel.ui.statusLabel.text
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
    assert panel.workflow.case.segmentation_node is None
    assert not panel.ui.approveButton.enabled


def test_going_back_to_a_patient_goes_back_to_the_work(desktop: Any) -> None:
    first, second = add_ct("A"), add_ct("B", seed=1)
    panel = desktop.open_panel(**seams())
    choose(desktop, panel, first)
    of_first = segment(desktop, panel)
    choose(desktop, panel, second)
    assert panel.workflow.case.segmentation_node is None
    of_second = segment(desktop, panel)
    assert of_first.GetScene() is not None
    choose(desktop, panel, first)
    assert panel.workflow.case.segmentation_node is of_first
    choose(desktop, panel, second)
    assert panel.workflow.case.segmentation_node is of_second


def test_a_reopened_scene_restores_the_panel(desktop: Any, tmp_path: Path) -> None:
    add_ct()
    add_ct("another")
    panel = desktop.open_panel(**seams())
    choose(desktop, panel, desktop.scene.GetFirstNodeByName("CT"))
    segment(desktop, panel)
    panel.ui.keepInsideCheckBox.checked = False
    assert desktop.scene.WriteToMRB(str(tmp_path / "work.mrb"))
    desktop.scene.Clear(0)
    assert panel.workflow.case.segmentation_node is None
    assert desktop.scene.ReadFromMRB(str(tmp_path / "work.mrb"))
    desktop.events()
    assert panel.workflow.case.ct_node.GetName() == "CT"
    assert panel.ui.ctSelector.currentNode() is panel.workflow.case.ct_node
    assert panel.workflow.case.segmentation_node.GetName().startswith("Liver, by")
    assert not panel.ui.keepInsideCheckBox.checked
    assert panel.ui.approveButton.enabled


def reopened(desktop: Any, folder: Path) -> None:
    """Save the scene, close it, and open it again."""
    assert desktop.scene.WriteToMRB(str(folder / "work.mrb"))
    desktop.scene.Clear(0)
    assert desktop.scene.ReadFromMRB(str(folder / "work.mrb"))
    desktop.events()


def seen(desktop: Any, panel: Any, holds: Any) -> None:
    """Wait for what a slow look brings: the panel asks for it whenever its timer turns."""
    desktop.wait(lambda: panel.onFederationTimer() or holds())


def test_a_reopened_scene_shows_the_measurements_again(desktop: Any, tmp_path: Path) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    segment(desktop, panel)
    words = panel.ui.resultLabel.text
    reopened(desktop, tmp_path)
    seen(desktop, panel, lambda: panel.ui.resultLabel.text == words)
    assert not panel.workflow.state.approved


def test_a_reopened_scene_knows_that_its_case_is_approved_and_what_it_took(desktop: Any, tmp_path: Path) -> None:
    add_ct()
    panel = desktop.open_panel(**seams(desk=Desk(effort=Effort(75.0, 12.3, 5, 40, 812.0))))
    segment(desktop, panel)
    press(desktop, panel, "approveButton")
    shown = (panel.ui.statusLabel.text, panel.ui.effortLabel.text, panel.ui.checklistLabel.text, panel.ui.resultLabel.text)
    reopened(desktop, tmp_path)
    seen(desktop, panel, lambda: panel.workflow.state.approved)
    assert (panel.ui.statusLabel.text, panel.ui.effortLabel.text, panel.ui.checklistLabel.text, panel.ui.resultLabel.text) == shown
    assert not panel.ui.approveButton.enabled
    edit(panel.workflow.case.segmentation_node, panel.workflow.case.ct_node)
    assert panel.ui.approveButton.enabled
    reopened(desktop, tmp_path)
    desktop.wait(lambda: panel.onFederationTimer() or not panel.workflow.needs_ticks)
    assert not panel.workflow.state.approved, "it was edited since"


def test_an_approval_that_the_case_store_does_not_have_in_force_is_not_believed(desktop: Any, tmp_path: Path) -> None:
    add_ct()
    desk = Desk()
    panel = desktop.open_panel(**seams(desk=desk))
    segment(desktop, panel)
    press(desktop, panel, "approveButton")
    desk.approvals = dict.fromkeys(desk.approvals, "a later approval")
    reopened(desktop, tmp_path)
    seen(desktop, panel, lambda: panel.workflow.state.measurements)
    assert not panel.workflow.state.approved
    assert panel.ui.approveButton.enabled


def test_a_segmentation_that_was_changed_while_the_panel_was_closed_is_neither_measured_nor_approved(desktop: Any, tmp_path: Path) -> None:
    ct_node = add_ct()
    panel = desktop.open_panel(**seams())
    node = segment(desktop, panel)
    press(desktop, panel, "approveButton")
    desktop.close_panel()
    edit(node, ct_node)
    panel = desktop.open_panel(**seams(desk=Desk(approvals={"C-" + "A" * 16: "approval 1"})))
    desktop.wait(lambda: panel.onFederationTimer() or not panel.workflow.needs_ticks)
    assert panel.workflow.case.segmentation_node is node
    assert (panel.workflow.state.approved, panel.workflow.state.measurements) == (False, None)


def test_each_patient_of_a_scene_keeps_its_own_result(desktop: Any) -> None:
    first, second = add_ct("A"), add_ct("B", seed=1)
    panel = desktop.open_panel(**seams())
    choose(desktop, panel, first)
    segment(desktop, panel)
    press(desktop, panel, "approveButton")
    choose(desktop, panel, second)
    assert not panel.workflow.state.approved
    segment(desktop, panel)
    choose(desktop, panel, first)
    seen(desktop, panel, lambda: panel.workflow.state.approved)
    choose(desktop, panel, second)
    seen(desktop, panel, lambda: panel.workflow.state.measurements)
    assert not panel.workflow.state.approved


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
    assert desk.cancelled.wait(30)
    assert not any(timer.isActive() for timer in timers)
    desktop.load_module()
    panel = desktop.open_panel(**seams())
    assert panel is not old
    assert segment(desktop, panel) is not None
    assert old.workflow.case.segmentation_node is None


def test_reload_in_developer_mode_reloads_the_package_too(desktop: Any, monkeypatch: pytest.MonkeyPatch) -> None:

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
    desktop.app.translations[("slicer.case_controls", "Auto-segment")] = "Auto-Segmentierung"
    desktop.app.translations[("slicer.case_controls", "Choose a CT first.")] = "Zuerst ein CT wählen."
    desktop.app.translations[("slicer.panel_view", "Load a CT and choose it below.")] = "Ein CT laden und unten wählen."
    desktop.app.translations[("slicer.panel_html", "By which rules")] = "Nach welchen Regeln"
    panel = desktop.open_panel(**seams())
    assert panel.ui.segmentButton.text == "Auto-Segmentierung"
    assert panel.ui.segmentButton.toolTip == "Zuerst ein CT wählen."
    assert panel.ui.statusLabel.text == "Ein CT laden und unten wählen."
    assert "Nach welchen Regeln" in panel.ui.leavesLabel.text


def test_the_language_may_change_while_the_panel_is_open(desktop: Any) -> None:
    panel = desktop.open_panel(**seams())
    assert panel.ui.segmentButton.text == "Auto-segment"
    desktop.app.translations[("slicer.case_controls", "Auto-segment")] = "Auto-Segmentierung"
    panel.workflow.session.show_again()
    assert panel.ui.segmentButton.text == "Auto-Segmentierung"


def test_a_reopened_scene_knows_what_the_teacher_drew_where_it_was_not_sure_and_the_time_spent(desktop: Any, tmp_path: Path) -> None:
    now = [0.0]
    add_ct()
    desk = DoubtfulDesk()
    panel = desktop.open_panel(**seams(desk=desk, clock=lambda: now[0]))
    node = segment(desktop, panel)
    drawn = bridge.labels_from_segmentation(node, panel.workflow.case.ct_node).array.copy()
    now[0] += 40.0
    edit(node, panel.workflow.case.ct_node)
    panel.onFederationTimer()
    reopened(desktop, tmp_path)
    desktop.wait(lambda: panel.ui.doubtCheckBox.enabled)
    assert panel.ui.lookButton.text == "Next place (1 of 1)"
    panel.onFederationTimer()
    assert "40 s" in panel.ui.effortLabel.text
    press(desktop, panel, "approveButton")
    submission = desk.submissions[-1]
    assert submission.proposal is not None
    assert submission.proposal.teacher == TEACHER
    assert np.array_equal(submission.proposal.labels.array, drawn)
    assert not np.array_equal(submission.labels.array, drawn), "the edit is lost"
    assert submission.seconds_spent == 40.0


class DoubtfulDesk(Desk):
    """Its teacher is not sure in one place."""

    def segment(self, ct: Any, watcher: Any) -> Any:
        made = super().segment(ct, watcher)
        doubt = ct.with_array((np.abs(ct.array - 20) < 5).astype(np.float32))
        return replace(made, doubt=doubt, places=(Place((1.0, 2.0, 3.0), "liver"),))
