"""What a state of the panel looks like: each control live or dead, with the sentence that says why. Standard library only.

Every sentence passes through ``_``, the translator that the caller brings (``slicer.i18n`` in Slicer, nothing elsewhere).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from fedliver.slicer.panel_state import Check, Membership, PanelState, Requirements, Tone, Work

Translate = Callable[[str], str]


class Control(Enum):
    """The panel's controls, in the order of the clinician's work. The values are the widgets' names in the .ui file."""

    CT = "ctSelector"
    SEGMENT = "segmentButton"
    SHOW_3D = "show3DCheckBox"
    EDITOR = "editorFrame"
    KEEP_INSIDE = "keepInsideCheckBox"
    APPROVE = "approveButton"
    REASON = "reasonEdit"
    INVITATION = "invitationButton"
    OPT_IN = "optInCheckBox"
    JOIN = "joinButton"
    LEAVE = "leaveButton"
    ADOPT = "adoptButton"
    KEEP = "keepButton"


@dataclass(frozen=True)
class ControlView:
    """A control. ``hint``: what it does when live, why not when dead; never empty. ``label``: its text, empty to leave it alone."""

    live: bool
    hint: str
    label: str = ""
    visible: bool = True


@dataclass(frozen=True)
class ChecklistLine:
    """One line of the checklist. ``mark``: "passed", "failed", "overridden" or "open"."""

    mark: str
    text: str


@dataclass(frozen=True)
class PanelView:
    """What to show. ``percent`` and ``round_percent`` are None when no bar is to be shown.

    ``sections_of_use``: names of the sections that have become of use; the panel opens each of them once, and leaves them to the user then.
    """

    controls: Mapping[Control, ControlView]
    percent: int | None
    progress_text: str
    result: str
    checklist: tuple[ChecklistLine, ...]
    federation: str
    round_percent: int | None
    candidate: str
    leaves: tuple[str, ...]
    stays: tuple[str, ...]
    asks_consent: bool
    sections_of_use: tuple[str, ...]
    status: str
    tone: Tone


def unchanged(text: str) -> str:
    """The translator of those who have none."""
    return text


def view(state: PanelState, _: Translate = unchanged) -> PanelView:
    """What ``state`` looks like, in the words that ``_`` translates into."""
    status, tone = _status(state, _)
    return PanelView(
        controls={control: _CONTROLS[control](state, _) for control in Control},
        percent=round(100 * state.progress.fraction) if state.busy else None,
        progress_text=_progress_text(state, _),
        result=_result(state, _),
        checklist=_checklist(state, _),
        federation=_federation(state, _),
        round_percent=_round_percent(state),
        candidate=_candidate(state, _),
        leaves=what_leaves(_),
        stays=what_stays(_),
        asks_consent=state.membership is Membership.INVITED,
        sections_of_use=_sections_of_use(state),
        status=status,
        tone=tone,
    )


def what_leaves(_: Translate = unchanged) -> tuple[str, ...]:
    """What a member's machine sends to the coordinator, in words. Shown before Join, whole."""
    return (
        _("The network's weights after training here on your approved cases, once in each round. Weights can carry traces of what they learned from."),
        _("Six numbers: approved cases, training loss, seconds of training, Dice on your held-out cases, how many those are, and an error number if it fails."),
        _("The name of your site, its public key and this computer's network address, by which the coordinator knows it."),
    )


def what_stays(_: Translate = unchanged) -> tuple[str, ...]:
    """What never leaves the machine."""
    return (
        _("CT images and segmentations, and any picture made from them."),
        _("Names, patient IDs, dates of birth, study dates and every other DICOM field."),
        _("File names and folders, the list of your cases, and your reasons and comments."),
    )


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


def _invitation(state: PanelState, _: Translate) -> ControlView:
    if state.membership in (Membership.OUTSIDE, Membership.INVITED):
        return _live(_("Open the invitation file that the coordinator of a federation sent you."))
    return _dead(_("Leave this federation before you open another invitation."), visible=False)


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
    if state.approved_cases == 0:
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


_CONTROLS: Mapping[Control, Callable[[PanelState, Translate], ControlView]] = {
    Control.CT: _ct,
    Control.SEGMENT: _segment,
    Control.SHOW_3D: _show_3d,
    Control.EDITOR: _editor,
    Control.KEEP_INSIDE: _keep_inside,
    Control.APPROVE: _approve,
    Control.REASON: _reason,
    Control.INVITATION: _invitation,
    Control.OPT_IN: _opt_in,
    Control.JOIN: _join,
    Control.LEAVE: _leave,
    Control.ADOPT: _adopt,
    Control.KEEP: _keep,
}


def time_left(seconds: float, _: Translate = unchanged) -> str:
    """Seconds in a person's words: to 5 s below a minute, to the minute above."""
    if seconds < 5:
        return _("a few seconds left")
    if seconds < 55:
        return _("about {seconds} s left").format(seconds=5 * round(seconds / 5))
    return _("about {minutes} min left").format(minutes=max(1, round(seconds / 60)))


def _progress_text(state: PanelState, _: Translate) -> str:
    if not state.busy:
        return ""
    if state.cancelling:
        return _("Stopping…")
    phase = state.progress.phase or _("Starting")
    left = state.progress.seconds_left
    return phase if left is None else f"{phase} · {time_left(left, _)}"


def _result(state: PanelState, _: Translate) -> str:
    if state.measurements is None:
        return ""
    measured = state.measurements
    if measured.liver_ml == 0:
        return _("No liver was found. Check that the scan shows the upper abdomen; you can still outline it by hand below.")
    tumour = _("tumour {ml} ml").format(ml=f"{measured.tumour_ml:.1f}") if measured.tumour_ml else _("no tumour found")
    return _("Liver {ml} ml (with tumour), {tumour}, in {seconds} s").format(ml=f"{measured.liver_ml:.0f}", tumour=tumour, seconds=f"{measured.seconds:.0f}")


def _checklist(state: PanelState, _: Translate) -> tuple[ChecklistLine, ...]:
    return tuple(_line(check, bool(state.override_reason or state.approved)) for check in state.checks)


def _line(check: Check, overridden: bool) -> ChecklistLine:
    if check.passed:
        return ChecklistLine("passed", check.sentence)
    return ChecklistLine("overridden" if check.can_override and overridden else "failed", check.sentence)


def _federation(state: PanelState, _: Translate) -> str:
    name = state.federation
    if state.membership is Membership.OUTSIDE:
        return _("Not a member of any federation. FedLiver works fully without one.")
    if state.membership is Membership.INVITED:
        return _("Invited to “{name}”. Nothing has been sent.").format(name=name)
    if state.membership is Membership.JOINING:
        return _("Connecting to “{name}”…").format(name=name)
    if state.membership is Membership.LEAVING:
        return _("Leaving “{name}”…").format(name=name)
    return _member(state, _)


def _member(state: PanelState, _: Translate) -> str:
    at = state.round
    if at.number == 0:
        return _("Member of “{name}”. Waiting for the coordinator to begin a round.").format(name=state.federation)
    parts = [_("Round {number} of {total}").format(number=at.number, total=at.total) if at.total else _("Round {number}").format(number=at.number)]
    if at.steps:
        parts.append(_("step {step} of {steps}").format(step=at.step, steps=at.steps))
    if at.loss is not None:
        parts.append(_("loss {loss}").format(loss=f"{at.loss:.3f}"))
    if at.dice is not None:
        parts.append(_("Dice {dice}").format(dice=f"{at.dice:.3f}"))
    return " · ".join(parts)


def _round_percent(state: PanelState) -> int | None:
    if state.membership is not Membership.MEMBER or not state.round.steps:
        return None
    return min(100, round(100 * state.round.step / state.round.steps))


def _candidate(state: PanelState, _: Translate) -> str:
    candidate = state.candidate
    if candidate is None:
        return ""
    if candidate.current_dice is None or candidate.candidate_dice is None:
        return _("New teacher: {name}. It is not used until you adopt it.").format(name=candidate.name)
    return _("{name} was not adopted: Dice {new} on your held-out cases, your teacher {old}.").format(
        name=candidate.name, new=f"{candidate.candidate_dice:.3f}", old=f"{candidate.current_dice:.3f}"
    )


def _sections_of_use(state: PanelState) -> tuple[str, ...]:
    sections = ["refineSection", "approveSection"] if state.segmentation else []
    if state.membership is not Membership.OUTSIDE or state.candidate is not None:
        sections.append("federationSection")
    return tuple(sections)


def _status(state: PanelState, _: Translate) -> tuple[str, Tone]:
    if state.notice.sentence:
        return state.notice.sentence, state.notice.tone
    if state.busy:
        return _progress_text(state, _), Tone.INFORMATION
    if state.ct and state.ct_problem:
        return state.ct_problem, Tone.WARNING
    if state.approved:
        return _("Approved. {count} approved on this computer.").format(count=_cases(state.approved_cases, _)), Tone.SUCCESS
    if state.failed_checks:
        return _("Not approved: see the checklist."), Tone.WARNING
    if state.segmentation:
        return _("Correct the outlines if needed, then approve the case."), Tone.INFORMATION
    if state.ct:
        return _("Press Auto-segment to outline liver and tumour."), Tone.INFORMATION
    return _("Load a CT and choose it above."), Tone.INFORMATION


def _cases(count: int, _: Translate) -> str:
    return _("1 case") if count == 1 else _("{count} cases").format(count=count)
