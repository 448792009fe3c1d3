"""The controls of the case in hand and of the worklist. Standard library only."""

from collections.abc import Mapping

from fedliver.slicer.controls import Control, ControlView, Look, dead, live, while_busy
from fedliver.slicer.panel_state import PanelState, Requirements, Work
from fedliver.slicer.translation import Translate


def _ct(state: PanelState, _: Translate) -> ControlView:
    if state.busy:
        return dead(while_busy(state, _))
    return live(_("The CT to segment. Load one with Add Data or DICOM if the list is empty."))


def _segment(state: PanelState, _: Translate) -> ControlView:
    start = _("Auto-segment")
    if state.work in (Work.SEGMENT, Work.COMPARE):
        if state.cancelling:
            return dead(_("Stopping at the next safe place; this takes a second or two."), _("Stopping…"))
        return live(_("Stop. Nothing in the scene is changed."), _("Cancel"))
    if state.busy:
        return dead(while_busy(state, _), start)
    if not state.ct:
        return dead(_("Choose a CT first."), start)
    if state.ct_problem:
        return dead(state.ct_problem, start)
    if state.requirements is Requirements.MISSING:
        return live(_("Outlines liver and tumour. The first time, you are asked whether to install what it needs."), start)
    return live(_("Outlines liver and tumour on this computer. What you have already edited is kept: the result is a new segmentation."), start)


def _next(state: PanelState, _: Translate) -> ControlView:
    label = _("Next case ({count} waiting)").format(count=state.waiting) if state.waiting else _("Next case")
    if state.busy:
        return dead(while_busy(state, _), label, visible=bool(state.waiting))
    if not state.waiting:
        return dead(_("No case waits in the worklist. Scans come into it with “Add scans”."), label, visible=False)
    if state.case and state.edited and not state.approved:
        return live(_("Keep your corrections as a draft of this case, and open the next one of the worklist."), label)
    return live(_("Open the next case of the worklist, with its pre-segmentation if it has one."), label)


def _exclude(state: PanelState, _: Translate) -> ControlView:
    if not state.case:
        return dead(_("The CT on show is no case of the worklist."), visible=False)
    if state.busy:
        return dead(while_busy(state, _))
    if state.approved:
        return dead(_("This case is approved. To take it out, use the command “fedliver case exclude”."), visible=False)
    return live(_("Take this case out of the worklist, of training and of judging: a scan that is no use. Its images stay."))


def _strategy(state: PanelState, _: Translate) -> ControlView:
    if state.busy or not state.waiting:
        return dead(while_busy(state, _) if state.busy else _("No case waits in the worklist."), visible=bool(state.waiting))
    return live(_("Which case comes next: the first that came, the one whose segmentation is least certain, or the one least like those approved."))


def _add_scans(state: PanelState, _: Translate) -> ControlView:
    label = _("Add scans…")
    if state.work is Work.ADD:
        if state.cancelling:
            return dead(_("Stopping; what was added stays."), _("Stopping…"))
        return live(_("Stop. What was added stays in the worklist."), _("Stop adding"))
    if state.busy:
        return dead(while_busy(state, _), label)
    return live(_("Add the scans of a folder to the worklist: DICOM studies, or NIfTI files. They are kept on this computer under a pseudonym."), label)


def _add_this(state: PanelState, _: Translate) -> ControlView:
    label = _("Add this scan")
    if state.busy:
        return dead(while_busy(state, _), label)
    if not state.ct:
        return dead(_("Choose a CT first."), label)
    if state.ct_problem:
        return dead(state.ct_problem, label)
    if state.case:
        return dead(_("This scan is a case of the worklist already."), label)
    return live(_("Keep the CT on show as a case of the worklist, to go on with another day. Approving does this by itself."), label)


def _ahead(state: PanelState, _: Translate) -> ControlView:
    shown = bool(state.waiting or state.ahead.wanted)
    if state.requirements is Requirements.MISSING:
        return dead(_("Press Auto-segment once first: it installs what segmenting needs."), visible=shown)
    hint = _("While nothing else runs, the teacher outlines the new cases, so that nobody waits for it. Whatever you press stops it at once.")
    return live(hint, visible=shown)


def _holds_the_scene(state: PanelState) -> bool:
    """Learning and adding touch nothing that is on show: one may look and correct meanwhile."""
    return state.busy and state.work not in (Work.LEARN, Work.ADD)


def _needs_segmentation(state: PanelState, _: Translate) -> str:
    if _holds_the_scene(state):
        return while_busy(state, _)
    if not state.segmentation:
        return _("There is no segmentation yet: press Auto-segment first.") if state.ct else _("Choose a CT and press Auto-segment first.")
    return ""


def _show_3d(state: PanelState, _: Translate) -> ControlView:
    why = _needs_segmentation(state, _)
    if why:
        return dead(why)
    if state.measurements and state.measurements.liver_ml == 0:
        return dead(_("There is nothing to show: no liver was found in this CT."))
    return live(_("Show liver and tumour in the 3D view."))


def _editor(state: PanelState, _: Translate) -> ControlView:
    why = _needs_segmentation(state, _)
    return dead(why) if why else live(_("Correct the outlines with the tools of the Segment Editor."))


def _keep_inside(state: PanelState, _: Translate) -> ControlView:
    why = _needs_segmentation(state, _)
    return dead(why) if why else live(_("While you edit the tumour, strokes outside the liver have no effect."))


def _soft_tissue(state: PanelState, _: Translate) -> ControlView:
    why = _needs_segmentation(state, _)
    return dead(why) if why else live(_("Strokes have no effect on gas, fat and bone. Take it off to erase there."))


def _look(state: PanelState, _: Translate) -> ControlView:
    count = len(state.places)
    label = _("Next place to look")
    if count:
        label = _("Next place ({number} of {count})").format(number=_following(state) + 1, count=count)
    why = _needs_segmentation(state, _)
    if why:
        return dead(why, label)
    if not count:
        return dead(_("The teacher was sure everywhere, or it is not known where it was not: press Auto-segment to see."), label)
    return live(_("Go to the next place where the teacher was not sure, the most doubtful first."), label)


def _following(state: PanelState) -> int:
    return 0 if state.place is None else (state.place + 1) % len(state.places)


def _doubt(state: PanelState, _: Translate) -> ControlView:
    why = _needs_segmentation(state, _)
    if why:
        return dead(why)
    if not state.has_doubt:
        return dead(_("It is not known of this segmentation where the teacher was not sure: press Auto-segment to see."))
    return live(_("Lay over the CT, in yellow, where the teacher was not sure."))


def _approve(state: PanelState, _: Translate) -> ControlView:
    why = while_busy(state, _) if state.busy else _needs_segmentation(state, _)
    if why:
        return dead(why)
    if state.approved:
        return dead(_("This segmentation is approved and stored. Edit it to approve a new version."))
    if state.needs_reason and not state.override_reason:
        return dead(_("Correct what the checklist names, or write your reason below it."))
    if state.failed_checks and not state.needs_reason:
        return live(_("Correct what the checklist names, then check and approve again."))
    return live(_("Check the case and keep it on this computer for training. It is not sent anywhere."))


def _reason(state: PanelState, _: Translate) -> ControlView:
    if not state.needs_reason:
        return dead(_("A reason is asked for only when a check fails that you may overrule."), visible=False)
    if state.busy:
        return dead(while_busy(state, _))
    return live(_("Why this case is right as it is. The reason is stored with the case, on this computer."))


def _export(state: PanelState, _: Translate) -> ControlView:
    if state.busy:
        return dead(while_busy(state, _))
    if not state.approved:
        return dead(_("Approve the case first: what nobody stands for does not go to the archive."))
    if not state.from_database:
        return dead(_("This CT was not loaded from Slicer's DICOM database: use the command “fedliver case export” with the scan's folder."))
    if state.exported:
        return dead(_("This version is in the DICOM database. Edit it and approve it again to export a new one."))
    return live(_("Put the approved outlines as DICOM SEG into Slicer's DICOM database, beside the scan. It names the patient, as the scan does."))


CASE_CONTROLS: Mapping[Control, Look] = {
    Control.CT: _ct,
    Control.SEGMENT: _segment,
    Control.NEXT: _next,
    Control.EXCLUDE: _exclude,
    Control.STRATEGY: _strategy,
    Control.ADD_SCANS: _add_scans,
    Control.ADD_THIS: _add_this,
    Control.AHEAD: _ahead,
    Control.SHOW_3D: _show_3d,
    Control.EDITOR: _editor,
    Control.KEEP_INSIDE: _keep_inside,
    Control.SOFT_TISSUE: _soft_tissue,
    Control.LOOK: _look,
    Control.DOUBT: _doubt,
    Control.APPROVE: _approve,
    Control.REASON: _reason,
    Control.EXPORT: _export,
}
