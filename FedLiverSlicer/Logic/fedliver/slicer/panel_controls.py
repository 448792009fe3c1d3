"""The panel's controls: each live or dead, with the sentence that says why. Standard library only.

Every sentence passes through ``_``, the translator that the caller brings (``slicer.i18n`` in Slicer, nothing elsewhere).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from fedliver.slicer.panel_state import Membership, PanelState, Requirements, Work

Translate = Callable[[str], str]


class Control(Enum):
    """The panel's controls, in the order of the clinician's work. The values are the widgets' names in the .ui file."""

    CT = "ctSelector"
    SEGMENT = "segmentButton"
    SHOW_3D = "show3DCheckBox"
    NEXT = "nextButton"
    EXCLUDE = "excludeButton"
    STRATEGY = "strategyBox"
    EDITOR = "editorFrame"
    LOOK = "lookButton"
    DOUBT = "doubtCheckBox"
    KEEP_INSIDE = "keepInsideCheckBox"
    SOFT_TISSUE = "softTissueCheckBox"
    APPROVE = "approveButton"
    REASON = "reasonEdit"
    EXPORT = "exportButton"
    INVITATION = "invitationButton"
    TEST = "testButton"
    OPT_IN = "optInCheckBox"
    JOIN = "joinButton"
    LEAVE = "leaveButton"
    CURVES = "curvesButton"
    ADOPT = "adoptButton"
    KEEP = "keepButton"


@dataclass(frozen=True)
class ControlView:
    """A control. ``hint``: what it does when live, why not when dead; never empty. ``label``: its text, empty to leave it alone."""

    live: bool
    hint: str
    label: str = ""
    visible: bool = True


def unchanged(text: str) -> str:
    """The translator of those who have none."""
    return text


def _live(hint: str, label: str = "", visible: bool = True) -> ControlView:
    return ControlView(True, hint, label, visible)


def _dead(hint: str, label: str = "", visible: bool = True) -> ControlView:
    return ControlView(False, hint, label, visible)


def _while_busy(state: PanelState, _: Translate) -> str:
    return {
        Work.INSTALL: _("Wait until the installation has finished."),
        Work.SEGMENT: _("Wait until the segmentation has finished, or cancel it."),
        Work.APPROVE: _("Wait until the case has been checked and stored."),
        Work.COMPARE: _("Wait until both teachers have been compared, or cancel the comparison."),
        Work.OPEN: _("Wait until the next case is open."),
        Work.EXPORT: _("Wait until the DICOM SEG is in the database."),
        Work.TEST: _("Wait until the connection has been tested."),
    }[state.work]


def _ct(state: PanelState, _: Translate) -> ControlView:
    if state.busy:
        return _dead(_while_busy(state, _))
    return _live(_("The CT to segment. Load one with Add Data or DICOM if the list is empty."))


def _segment(state: PanelState, _: Translate) -> ControlView:
    start = _("Auto-segment")
    if state.work in (Work.SEGMENT, Work.COMPARE):
        if state.cancelling:
            return _dead(_("Stopping at the next safe place; this takes a second or two."), _("Stopping…"))
        return _live(_("Stop. Nothing in the scene is changed."), _("Cancel"))
    if state.busy:
        return _dead(_while_busy(state, _), start)
    if not state.ct:
        return _dead(_("Choose a CT first."), start)
    if state.ct_problem:
        return _dead(state.ct_problem, start)
    if state.requirements is Requirements.MISSING:
        return _live(_("Outlines liver and tumour. The first time, you are asked whether to install what it needs."), start)
    return _live(_("Outlines liver and tumour on this computer. What you have already edited is kept: the result is a new segmentation."), start)


def _next(state: PanelState, _: Translate) -> ControlView:
    label = _("Next case ({count} waiting)").format(count=state.waiting) if state.waiting else _("Next case")
    if state.busy:
        return _dead(_while_busy(state, _), label, visible=bool(state.waiting))
    if not state.waiting:
        return _dead(_("No case waits in the worklist. Scans come into it with the command “fedliver case add”."), label, visible=False)
    if state.case and state.edited and not state.approved:
        return _live(_("Keep your corrections as a draft of this case, and open the next one of the worklist."), label)
    return _live(_("Open the next case of the worklist, with its pre-segmentation if it has one."), label)


def _exclude(state: PanelState, _: Translate) -> ControlView:
    if not state.case:
        return _dead(_("The CT on show is no case of the worklist."), visible=False)
    if state.busy:
        return _dead(_while_busy(state, _))
    if state.approved:
        return _dead(_("This case is approved. To take it out, use the command “fedliver case exclude”."))
    return _live(_("Take this case out of the worklist, of training and of judging: a scan that is no use. Its images stay."))


def _strategy(state: PanelState, _: Translate) -> ControlView:
    if state.busy or not state.waiting:
        return _dead(_while_busy(state, _) if state.busy else _("No case waits in the worklist."), visible=bool(state.waiting))
    return _live(_("Which case comes next: the first that came, the one whose segmentation is least certain, or the one least like those approved."))


def _needs_segmentation(state: PanelState, _: Translate) -> str:
    if state.busy:
        return _while_busy(state, _)
    if not state.segmentation:
        return _("There is no segmentation yet: press Auto-segment first.") if state.ct else _("Choose a CT and press Auto-segment first.")
    return ""


def _show_3d(state: PanelState, _: Translate) -> ControlView:
    why = _needs_segmentation(state, _)
    if why:
        return _dead(why)
    if state.measurements and state.measurements.liver_ml == 0:
        return _dead(_("There is nothing to show: no liver was found in this CT."))
    return _live(_("Show liver and tumour in the 3D view."))


def _editor(state: PanelState, _: Translate) -> ControlView:
    why = _needs_segmentation(state, _)
    return _dead(why) if why else _live(_("Correct the outlines with the tools of the Segment Editor."))


def _keep_inside(state: PanelState, _: Translate) -> ControlView:
    why = _needs_segmentation(state, _)
    return _dead(why) if why else _live(_("While you edit the tumour, strokes outside the liver have no effect."))


def _soft_tissue(state: PanelState, _: Translate) -> ControlView:
    why = _needs_segmentation(state, _)
    return _dead(why) if why else _live(_("Strokes have no effect on gas, fat and bone. Take it off to erase there."))


def _look(state: PanelState, _: Translate) -> ControlView:
    count = len(state.places)
    label = _("Next place to look")
    if count:
        label = _("Next place to look ({number} of {count})").format(number=_following(state) + 1, count=count)
    why = _needs_segmentation(state, _)
    if why:
        return _dead(why, label)
    if not count:
        return _dead(_("The teacher was sure everywhere, or it is not known where it was not: press Auto-segment to see."), label)
    return _live(_("Go to the next place where the teacher was not sure, the most doubtful first."), label)


def _following(state: PanelState) -> int:
    return 0 if state.place is None else (state.place + 1) % len(state.places)


def _doubt(state: PanelState, _: Translate) -> ControlView:
    why = _needs_segmentation(state, _)
    if why:
        return _dead(why)
    if not state.has_doubt:
        return _dead(_("Only a segmentation that was made since Slicer was started has this overlay: press Auto-segment."))
    return _live(_("Lay over the CT, in yellow, where the teacher was not sure."))


def _approve(state: PanelState, _: Translate) -> ControlView:
    why = _needs_segmentation(state, _)
    if why:
        return _dead(why)
    if state.approved:
        return _dead(_("This segmentation is approved and stored. Edit it to approve a new version."))
    if state.needs_reason and not state.override_reason:
        return _dead(_("Correct what the checklist names, or write your reason below it."))
    if state.failed_checks and not state.needs_reason:
        return _live(_("Correct what the checklist names, then check and approve again."))
    return _live(_("Check the case and keep it on this computer for training. It is not sent anywhere."))


def _reason(state: PanelState, _: Translate) -> ControlView:
    if not state.needs_reason:
        return _dead(_("A reason is asked for only when a check fails that you may overrule."), visible=False)
    if state.busy:
        return _dead(_while_busy(state, _))
    return _live(_("Why this case is right as it is. The reason is stored with the case, on this computer."))


def _export(state: PanelState, _: Translate) -> ControlView:
    if state.busy:
        return _dead(_while_busy(state, _))
    if not state.approved:
        return _dead(_("Approve the case first: what nobody stands for does not go to the archive."))
    if not state.from_database:
        return _dead(_("This CT was not loaded from Slicer's DICOM database: use the command “fedliver case export” with the scan's folder."))
    if state.exported:
        return _dead(_("This version is in the DICOM database. Edit it and approve it again to export a new one."))
    return _live(_("Put the approved outlines as DICOM SEG into Slicer's DICOM database, beside the scan. It names the patient, as the scan does."))


def _invitation(state: PanelState, _: Translate) -> ControlView:
    if state.membership in (Membership.OUTSIDE, Membership.INVITED):
        return _live(_("Open the invitation file that the coordinator of a federation sent you."))
    return _dead(_("Leave this federation before you open another invitation."), visible=False)


def _test(state: PanelState, _: Translate) -> ControlView:
    if state.membership is Membership.OUTSIDE:
        return _dead(_("Open an invitation first."), visible=False)
    if state.busy:
        return _dead(_while_busy(state, _))
    return _live(_("Try every step from here to the coordinator, and say in words which one fails. Nothing is joined, and no data is sent."))


def _opt_in(state: PanelState, _: Translate) -> ControlView:
    if state.membership is Membership.OUTSIDE:
        return _dead(_("Open an invitation first."))
    if state.membership is Membership.INVITED:
        return _live(_("Nothing is sent before you tick this box and press Join."))
    return _dead(_("You agreed to this when you joined. Leave to take it back."))


def _join(state: PanelState, _: Translate) -> ControlView:
    if state.membership is Membership.OUTSIDE:
        return _dead(_("Open an invitation first."))
    if state.membership is Membership.JOINING:
        return _dead(_("Connecting to the coordinator; press Leave to stop."))
    if state.membership is Membership.MEMBER:
        return _dead(_("This site has joined already."))
    if state.membership is Membership.LEAVING:
        return _dead(_("This site is leaving; wait a moment."))
    if state.approved_cases == 0 and not (state.learns_from_unlabelled and state.waiting):
        return _dead(_("Approve at least one case first: there is nothing on this computer to train on yet."))
    if not state.opted_in:
        return _dead(_("Read what leaves this computer, and tick the box if you agree."))
    return _live(_("Connect to the coordinator and train here, round by round, on your approved cases."))


def _leave(state: PanelState, _: Translate) -> ControlView:
    if state.membership in (Membership.JOINING, Membership.MEMBER):
        return _live(_("Stop training and disconnect. Your cases and your teacher stay on this computer."))
    if state.membership is Membership.LEAVING:
        return _dead(_("This site is leaving; wait a moment."))
    return _dead(_("This site has not joined a federation."))


def _curves(state: PanelState, _: Translate) -> ControlView:
    if not state.has_curves:
        return _dead(_("There is nothing to draw yet: no round has been trained on this computer."))
    return _live(_("Draw loss and Dice of all rounds on this computer in Slicer's chart view."))


def _adopt(state: PanelState, _: Translate) -> ControlView:
    if state.candidate is None:
        return _dead(_("The federation has not sent a new teacher yet."))
    if state.busy:
        return _dead(_while_busy(state, _))
    if state.candidate.candidate_dice is not None:
        return _dead(_("It did worse than your teacher on your own cases, so it was not adopted."))
    return _live(_("Compare both teachers on your own held-out cases, and adopt the new one if it is not worse."))


def _keep(state: PanelState, _: Translate) -> ControlView:
    if state.candidate is None:
        return _dead(_("The federation has not sent a new teacher yet."))
    if state.busy:
        return _dead(_while_busy(state, _))
    return _live(_("Keep your present teacher and put the new one aside."))


CONTROLS: Mapping[Control, Callable[[PanelState, Translate], ControlView]] = {
    Control.CT: _ct,
    Control.SEGMENT: _segment,
    Control.SHOW_3D: _show_3d,
    Control.NEXT: _next,
    Control.EXCLUDE: _exclude,
    Control.STRATEGY: _strategy,
    Control.EDITOR: _editor,
    Control.LOOK: _look,
    Control.DOUBT: _doubt,
    Control.KEEP_INSIDE: _keep_inside,
    Control.SOFT_TISSUE: _soft_tissue,
    Control.APPROVE: _approve,
    Control.REASON: _reason,
    Control.EXPORT: _export,
    Control.INVITATION: _invitation,
    Control.TEST: _test,
    Control.OPT_IN: _opt_in,
    Control.JOIN: _join,
    Control.LEAVE: _leave,
    Control.CURVES: _curves,
    Control.ADOPT: _adopt,
    Control.KEEP: _keep,
}
