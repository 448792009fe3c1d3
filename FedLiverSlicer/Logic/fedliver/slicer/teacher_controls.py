"""The controls by which this site gets another teacher. Standard library only."""

from collections.abc import Mapping

from fedliver.slicer.controls import Control, ControlView, Look, dead, live, while_busy
from fedliver.slicer.panel_state import PanelState, Work
from fedliver.slicer.translation import Translate


def _learn(state: PanelState, _: Translate) -> ControlView:
    start = _("Learn from my cases")
    if state.work is Work.LEARN:
        if state.cancelling:
            return dead(_("Stopping after this step; what was learned is kept."), _("Stopping…"))
        return live(_("Stop. What was learned so far is kept, and the next press goes on from there."), _("Stop learning"))
    if state.busy:
        return dead(while_busy(state, _), start)
    if state.approved_cases == 0:
        return dead(_("Approve cases first: there is nothing on this computer to learn from yet."), start)
    if state.held_out == 0:
        return dead(_("Approve a case of one more patient: it is kept back, to judge by whether the new teacher is better."), start)
    if state.held_out == state.approved_cases:
        return dead(_("Approve a case of one more patient: those approved are kept back for judging, and none is left to learn from."), start)
    return live(_("Train your teacher on with your approved cases. It takes its place only if it is not worse on those kept back. Nothing leaves here."), start)


def _learn_time(state: PanelState, _: Translate) -> ControlView:
    if state.busy:
        return dead(while_busy(state, _))
    return live(_("For how long it learns at most. Meanwhile you can look and correct; segmenting, which needs the same processor, waits until you stop it."))


def _learn_from_waiting(state: PanelState, _: Translate) -> ControlView:
    if state.busy:
        return dead(while_busy(state, _))
    return live(_("Learn from the scans that nobody has approved yet, too, where the teacher is sure of them. Excluded ones never teach."))


def _adopt(state: PanelState, _: Translate) -> ControlView:
    if state.candidate is None:
        return dead(_("The federation has not sent a new teacher yet."))
    if state.busy:
        return dead(while_busy(state, _))
    if state.candidate.candidate_dice is not None:
        return dead(_("It did worse than your teacher on your own cases, so it was not adopted."))
    return live(_("Compare both teachers on your own held-out cases, and adopt the new one if it is not worse."))


def _keep(state: PanelState, _: Translate) -> ControlView:
    if state.candidate is None:
        return dead(_("The federation has not sent a new teacher yet."))
    if state.busy:
        return dead(while_busy(state, _))
    return live(_("Keep your present teacher and put the new one aside."))


TEACHER_CONTROLS: Mapping[Control, Look] = {
    Control.LEARN: _learn,
    Control.LEARN_TIME: _learn_time,
    Control.LEARN_FROM_WAITING: _learn_from_waiting,
    Control.ADOPT: _adopt,
    Control.KEEP: _keep,
}
