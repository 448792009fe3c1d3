"""The controls of the federation. Standard library only."""

from collections.abc import Mapping

from fedliver.slicer.controls import Control, ControlView, Look, dead, live, while_busy
from fedliver.slicer.panel_state import Membership, PanelState, Work
from fedliver.slicer.translation import Translate


def _invitation(state: PanelState, _: Translate) -> ControlView:
    if state.membership in (Membership.OUTSIDE, Membership.INVITED):
        return live(_("Open the invitation file that the coordinator of a federation sent you."))
    return dead(_("Leave this federation before you open another invitation."), visible=False)


def _test(state: PanelState, _: Translate) -> ControlView:
    if state.membership is Membership.OUTSIDE:
        return dead(_("Open an invitation first."), visible=False)
    if state.busy:
        return dead(while_busy(state, _))
    return live(_("Try every step from here to the coordinator, and say in words which one fails. Nothing is joined, and no data is sent."))


def _opt_in(state: PanelState, _: Translate) -> ControlView:
    if state.membership is Membership.OUTSIDE:
        return dead(_("Open an invitation first."))
    if state.membership is Membership.INVITED:
        return live(_("Nothing is sent before you tick this box and press Join."))
    return dead(_("You agreed to this when you joined. Leave to take it back."))


def _join(state: PanelState, _: Translate) -> ControlView:
    if state.membership is Membership.OUTSIDE:
        return dead(_("Open an invitation first."))
    if state.membership is Membership.JOINING:
        return dead(_("Connecting to the coordinator; press Leave to stop."))
    if state.membership is Membership.MEMBER:
        return dead(_("This site has joined already."))
    if state.membership is Membership.LEAVING:
        return dead(_("This site is leaving; wait a moment."))
    if state.approved_cases == 0 and not (state.learns_from_unlabelled and state.waiting):
        return dead(_("Approve at least one case first: there is nothing on this computer to train on yet."))
    if not state.opted_in:
        return dead(_("Read what leaves this computer, and tick the box if you agree."))
    return live(_("Connect to the coordinator and train here, round by round, on your approved cases."))


def _leave(state: PanelState, _: Translate) -> ControlView:
    if state.membership in (Membership.JOINING, Membership.MEMBER):
        return live(_("Stop training and disconnect. Your cases and your teacher stay on this computer."))
    if state.membership is Membership.LEAVING:
        return dead(_("This site is leaving; wait a moment."))
    return dead(_("This site has not joined a federation."))


def _curves(state: PanelState, _: Translate) -> ControlView:
    if not state.has_curves:
        inside = state.membership in (Membership.JOINING, Membership.MEMBER)
        return dead(_("There is nothing to draw yet: no round has been trained on this computer."), visible=inside)
    return live(_("Draw loss and Dice of all rounds on this computer in Slicer's chart view."))


def _environment_check(state: PanelState, _: Translate) -> ControlView:
    if state.busy:
        return dead(while_busy(state, _))
    if not state.environment.there:
        return dead(_("There is no environment yet. It is made when you first join, or with the button beside."))
    return live(_("Let the federation's Python import all that it needs, and say whether it is whole. Nothing is downloaded."))


def _environment_make(state: PanelState, _: Translate) -> ControlView:
    label = _("Make anew…") if state.environment.own else _("Make…")
    if state.work is Work.ENVIRONMENT:
        if state.cancelling:
            return dead(_("Stopping at the installer's next word."), _("Stopping…"))
        return live(_("Stop. What is half made is removed."), _("Cancel"))
    if state.busy:
        return dead(while_busy(state, _), label)
    if _is_inside(state):
        return dead(_("Leave the federation first: its processes run in this environment."), label)
    if state.environment.there and not state.environment.own:
        return dead(_("The environment in use is not in your FedLiver folder: whoever made it looks after it."), label)
    return live(_("Make the Python environment that the federation's processes run in; about 1 GB. Slicer's own packages are not touched."), label)


def _environment_remove(state: PanelState, _: Translate) -> ControlView:
    if state.busy:
        return dead(while_busy(state, _))
    if not state.environment.own:
        return dead(_("There is no environment in your FedLiver folder to remove."))
    if _is_inside(state):
        return dead(_("Leave the federation first: its processes run in this environment."))
    return live(_("Remove the federation's environment and free its disk space. Cases, teachers and membership stay."))


def _is_inside(state: PanelState) -> bool:
    return state.membership in (Membership.JOINING, Membership.MEMBER, Membership.LEAVING)


FEDERATION_CONTROLS: Mapping[Control, Look] = {
    Control.INVITATION: _invitation,
    Control.TEST: _test,
    Control.OPT_IN: _opt_in,
    Control.JOIN: _join,
    Control.LEAVE: _leave,
    Control.CURVES: _curves,
    Control.ENVIRONMENT_CHECK: _environment_check,
    Control.ENVIRONMENT_MAKE: _environment_make,
    Control.ENVIRONMENT_REMOVE: _environment_remove,
}
