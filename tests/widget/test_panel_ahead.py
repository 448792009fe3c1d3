"""New cases are segmented before anyone opens them, where the clinician wants it, and whatever the clinician presses comes first."""

import threading
from typing import Any

import pytest
from hands import add_ct, oblique_ct, press
from seams import Desk, Installed, Link, seams

from fedliver.cases.case import State
from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.errors import Cancelled, FedLiverError
from fedliver.image import Volume
from fedliver.slicer.home_desk import HomeDesk
from fedliver.slicer.site_desk import Foreseen, OpenedCase, Proposal
from fedliver.watch import Watcher

FIRST, SECOND = "C-" + "B" * 16, "C-" + "C" * 16


def new_cases(**more: Any) -> Desk:
    return Desk(worklist=[OpenedCase(FIRST, oblique_ct()), OpenedCase(SECOND, oblique_ct(1))], **more)


def turn(desktop: Any, panel: Any, holds: Any) -> None:
    """Let the window and its slow timer live until it holds."""
    desktop.wait(lambda: panel.onFederationTimer() or holds())


def test_nothing_is_segmented_ahead_unless_it_is_wanted(desktop: Any) -> None:
    desk = new_cases()
    panel = desktop.open_panel(**seams(desk=desk))
    for _ in range(3):
        panel.onFederationTimer()
    assert panel.ui.aheadCheckBox.enabled
    assert not panel.ui.aheadCheckBox.checked
    assert (desk.asked_ahead, panel.ui.aheadLabel.isHidden()) == ([], True)


def test_once_wanted_every_new_case_is_segmented_and_the_next_opens_with_its_outlines(desktop: Any) -> None:
    desk = new_cases()
    panel = desktop.open_panel(**seams(desk=desk))
    panel.ui.aheadCheckBox.checked = True
    turn(desktop, panel, lambda: panel.ui.aheadLabel.text == "all waiting cases are ready")
    assert desk.asked_ahead == [FIRST, SECOND]
    assert desk.ahead, "it is remembered"
    assert not panel.workflow.needs_ticks
    press(desktop, panel, "nextButton")
    assert panel.workflow.state.case == FIRST
    assert panel.workflow.case.segmentation_node is not None


def test_what_was_wanted_is_remembered_by_the_next_panel(desktop: Any) -> None:
    desk = new_cases(ahead=True)
    panel = desktop.open_panel(**seams(desk=desk))
    assert panel.ui.aheadCheckBox.checked
    turn(desktop, panel, lambda: desk.asked_ahead == [FIRST, SECOND])


def test_while_it_segments_ahead_the_panel_is_not_busy_and_says_quietly_how_far_it_is(desktop: Any) -> None:
    add_ct()
    desk = new_cases(ahead=True, held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    turn(desktop, panel, desk.began.is_set)
    desktop.wait(lambda: panel.ui.aheadLabel.text == "40 % of one, 2 new")
    assert panel.workflow.needs_ticks
    assert not panel.workflow.working
    assert panel.ui.segmentButton.enabled
    assert panel.ui.progressFrame.isHidden()
    desk.let_go.set()


def test_a_press_that_needs_the_teacher_stops_it_at_once_and_goes_on_when_it_has_stopped(desktop: Any) -> None:
    add_ct()
    desk = new_cases(ahead=True, held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    turn(desktop, panel, desk.began.is_set)
    desk.began.clear()
    panel.ui.segmentButton.click()
    assert panel.workflow.working
    desktop.wait(desk.began.is_set)
    assert desk.cancelled.is_set(), "the press began before the other had stopped"
    assert desk.worklist[0].labels is None, "what was stopped is not kept"
    desk.held = False
    desktop.wait(lambda: not panel.workflow.working)
    assert panel.workflow.case.segmentation_node is not None
    turn(desktop, panel, lambda: panel.ui.aheadLabel.text == "all waiting cases are ready")


def test_what_is_pressed_begins_only_when_the_other_has_really_ended(desktop: Any) -> None:
    """The processor is free then, and nothing is written to a case that is being opened."""
    add_ct()
    stopping, may_end, order = threading.Event(), threading.Event(), []

    class Slow(Desk):
        def segment_ahead(self, strategy: str, passed_over: frozenset[str], watcher: Watcher) -> Foreseen | None:
            self.began.set()
            while not watcher.cancelled():
                may_end.wait(0.005)
            stopping.set()
            may_end.wait(20)
            order.append("ahead")
            raise Cancelled("ahead")

        def segment(self, ct: Volume, watcher: Watcher) -> Proposal:
            order.append("segment")
            return super().segment(ct, watcher)

    desk = Slow(worklist=[OpenedCase(FIRST, oblique_ct())], ahead=True)
    panel = desktop.open_panel(**seams(desk=desk))
    turn(desktop, panel, desk.began.is_set)
    panel.ui.segmentButton.click()
    desktop.wait(stopping.is_set)
    for _ in range(20):
        desktop.events()
    assert order == []
    panel.ui.aheadCheckBox.checked = False
    may_end.set()
    desktop.wait(lambda: not panel.workflow.working)
    assert order == ["ahead", "segment"]


def test_taking_the_tick_away_stops_it(desktop: Any) -> None:
    desk = new_cases(ahead=True, held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    turn(desktop, panel, desk.began.is_set)
    panel.ui.aheadCheckBox.checked = False
    desktop.wait(desk.cancelled.is_set)
    panel.onFederationTimer()
    assert not panel.workflow.needs_ticks
    assert not desk.ahead


def test_the_panel_that_goes_away_takes_it_along(desktop: Any) -> None:
    desk = new_cases(ahead=True, held=True)
    panel = desktop.open_panel(**seams(desk=desk))
    turn(desktop, panel, desk.began.is_set)
    desktop.close_panel()
    assert desk.cancelled.wait(20)


def test_the_case_that_lies_open_is_left_to_its_clinician(desktop: Any) -> None:
    desk = new_cases()
    panel = desktop.open_panel(**seams(desk=desk))
    press(desktop, panel, "nextButton")
    desk.worklist.append(OpenedCase(FIRST, oblique_ct()))
    panel.ui.aheadCheckBox.checked = True
    panel.workflow.refresh()
    turn(desktop, panel, lambda: not panel.workflow.state.ahead.new)
    assert desk.asked_ahead == [SECOND]


def test_a_case_that_cannot_be_segmented_is_passed_over_with_its_reason(desktop: Any) -> None:
    desk = new_cases(ahead=True, error=FedLiverError("not-hounsfield", "All values are positive."))
    panel = desktop.open_panel(**seams(desk=desk))
    turn(desktop, panel, lambda: desk.asked_ahead == [FIRST, SECOND])
    turn(desktop, panel, lambda: not panel.workflow.state.ahead.new)
    assert panel.ui.aheadLabel.text == "all waiting cases are ready · All values are positive." or panel.ui.aheadLabel.text == "All values are positive."
    assert "All values" not in panel.ui.statusLabel.text, "nobody asked for it just now"


def test_an_error_that_is_not_the_cases_own_switches_it_off_for_now_and_says_so(desktop: Any) -> None:
    desk = new_cases(ahead=True, error=MemoryError())
    panel = desktop.open_panel(**seams(desk=desk))
    turn(desktop, panel, lambda: not panel.ui.aheadCheckBox.checked)
    assert "not enough memory" in panel.ui.statusLabel.text
    assert desk.ahead, "what the clinician wants stays as it was said"


def test_in_a_real_store_the_case_is_pre_segmented_and_remembered_with_its_teacher(
    desktop: Any, patient: Any, teacher: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedliver.teacher.bundle.STARTER", teacher)
    desk = HomeDesk(tmp_path / "home")
    store = desk.store()
    case = store.add(Ct(patient[0], SourceIdentity("one", "1", "1"), ()))
    panel = desktop.open_panel(desk=desk, link=Link(), installation=Installed())
    panel.ui.aheadCheckBox.checked = True
    desktop.wait(lambda: panel.onFederationTimer() or store.case(case.pseudonym).state is State.PRE_SEGMENTED, seconds=120)
    draft = store.case(case.pseudonym).draft
    assert (draft.teacher.name, draft.touched) == ("tiny", False)
    assert HomeDesk(tmp_path / "home").wants_ahead()
