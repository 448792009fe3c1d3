"""Learning here in the panel: when it can, how far it is, how it stops, and what came of it."""

from pathlib import Path
from typing import Any

import pytest
from hands import add_ct, edit, press, segment
from seams import Desk, Installed, Link, seams

from fedliver.slicer.home_desk import HomeDesk
from fedliver.slicer.learning import LearningProgress
from fedliver.slicer.panel_state import Work
from fedliver.watch import Silent
from tiny_site import approve_patients


@pytest.mark.parametrize(("approved", "held_out", "says"), [(0, 0, "Approve cases first"), (1, 0, "one more patient"), (1, 1, "none is left to learn")])
def test_without_cases_to_learn_from_and_to_judge_by_the_button_says_what_is_missing(desktop: Any, approved: int, held_out: int, says: str) -> None:
    panel = desktop.open_panel(**seams(desk=Desk(approved=approved, held_out=held_out)))
    assert not panel.ui.learnButton.enabled
    assert says in panel.ui.learnButton.toolTip


def test_learning_shows_how_far_it_is_and_then_in_words_what_came_of_it(desktop: Any) -> None:
    desk = Desk(approved=4, held_out=1, held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    assert panel.ui.learnLabel.text == "3 cases to learn from, 1 case kept back to judge by."
    panel.ui.learnTimeBox.setCurrentIndex(2)
    panel.ui.learnFromWaitingCheckBox.checked = True
    panel.ui.learnButton.click()
    desktop.wait(lambda: panel.ui.progressBar.value == 40)
    assert (panel.ui.learnButton.text, panel.ui.progressLabel.text) == ("Stop learning", "Learning: step 3, loss 0.310")
    assert not panel.ui.segmentButton.enabled
    assert "stop it" in panel.ui.segmentButton.toolTip
    desk.let_go.set()
    desktop.wait(lambda: not panel.workflow.working)
    assert desk.lessons == [(60.0, True)]
    assert panel.ui.learnLabel.text == panel.ui.statusLabel.text == "Learned 20 steps in 15 min. Adopted."


def test_learning_is_stopped_by_the_same_button_and_says_that_nothing_is_lost(desktop: Any) -> None:
    add_ct()
    desk = Desk(approved=4, held_out=1, held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    panel.ui.learnButton.click()
    desktop.wait(desk.began.is_set)
    panel.ui.learnButton.click()
    desktop.wait(lambda: not panel.workflow.working)
    assert desk.lessons == [(15.0, False)], "fifteen minutes are the usual"
    assert "goes on from there" in panel.ui.statusLabel.text
    assert panel.ui.segmentButton.enabled
    assert panel.workflow.state.work is Work.NONE


def test_while_it_learns_one_may_look_and_correct_but_neither_segment_nor_approve(desktop: Any) -> None:
    ct_node = add_ct()
    desk = Desk(approved=4, held_out=1)
    panel = desktop.open_panel(**seams(desk=desk))
    node = segment(desktop, panel)
    desk.held = True
    desk.began.clear()
    panel.ui.learnButton.click()
    desktop.wait(desk.began.is_set)
    for live in ("editorFrame", "keepInsideCheckBox", "softTissueCheckBox", "show3DCheckBox"):
        assert getattr(panel.ui, live).enabled, live
    for dead in ("segmentButton", "approveButton", "ctSelector", "nextButton", "learnTimeBox"):
        assert not getattr(panel.ui, dead).enabled, dead
    assert "stop it" in panel.ui.approveButton.toolTip
    edit(node, ct_node)
    assert panel.workflow.state.edited
    assert panel.workflow.state.work is Work.LEARN
    desk.let_go.set()
    desktop.wait(lambda: not panel.workflow.working)
    press(desktop, panel, "approveButton")
    assert panel.workflow.state.approved


def test_an_approval_counts_what_there_is_to_learn_from_anew(desktop: Any) -> None:
    add_ct()
    desk = Desk(approved=1)
    panel = desktop.open_panel(**seams(desk=desk))
    press(desktop, panel, "segmentButton")
    desk.held_out = 1
    press(desktop, panel, "approveButton")
    assert panel.ui.learnButton.enabled, panel.ui.learnButton.toolTip


def test_a_real_site_learns_judges_and_keeps_what_is_not_worse(desktop: Any, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedliver.teacher.bundle.STARTER", teacher)
    home = tmp_path / "home"
    approve_patients(home, (1, 2))
    panel = desktop.open_panel(desk=HomeDesk(home), link=Link(), installation=Installed())
    desktop.wait(lambda: panel.onFederationTimer() or panel.ui.learnButton.enabled)
    panel.workflow.learning.minutes = 0.02
    panel.ui.learnButton.click()
    desktop.wait(lambda: not panel.workflow.working, seconds=240)
    assert panel.ui.learnLabel.text.startswith("Learned "), panel.ui.statusLabel.text
    assert "dopted" in panel.ui.learnLabel.text
    assert (home / "adoptions.jsonl").read_text().count("\n") == 1


def test_the_bar_goes_by_the_clock_while_it_trains_and_never_back() -> None:
    seen: list[float] = []

    class Watcher(Silent):
        def report(self, phase: str, fraction: float) -> None:
            seen.append(fraction)

    time = [0.0]
    progress = LearningProgress(Watcher(), 1.0, lambda: time[0])
    progress.report("Reading", 0.0)
    progress.report("Reading", 1.0)
    for second in range(0, 70, 10):
        time[0] = float(second)
        progress.step(second + 1, 20_000, 0.5)
    progress.report("Scoring the new teacher", 0.5)
    assert seen == sorted(seen)
    assert seen[-2] == 0.85
    assert max(seen) < 1.0
