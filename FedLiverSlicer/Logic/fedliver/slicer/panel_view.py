"""What a state of the panel looks like, in words and numbers. Standard library only; the controls are in :mod:`~fedliver.slicer.panel_controls`.

Every sentence that stands here passes through ``_``, the translator that the caller brings: see :mod:`~fedliver.slicer.translation`. What the state
says in sentences of its own, as the consent, a check or an error does, is shown as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fedliver.slicer.panel_controls import CONTROLS, Control, ControlView
from fedliver.slicer.panel_state import Check, Effort, Lesion, Membership, PanelState, Tone
from fedliver.slicer.translation import Translate, unchanged

__all__ = ["ChecklistLine", "Control", "ControlView", "PanelView", "time_left", "view", "what_stays"]


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
    processor: str
    result: str
    lesions: tuple[str, ...]
    effort: str
    ahead: str
    checklist: tuple[ChecklistLine, ...]
    learning: str
    federation: str
    connection: tuple[ChecklistLine, ...]
    account: str
    ledger: tuple[str, ...]
    environment: str
    round_percent: int | None
    candidate: str
    leaves: tuple[str, ...]
    rules: tuple[str, ...]
    stays: tuple[str, ...]
    asks_consent: bool
    sections_of_use: tuple[str, ...]
    status: str
    tone: Tone
    details: str


def view(state: PanelState, _: Translate = unchanged) -> PanelView:
    """What ``state`` looks like, in the words that ``_`` translates into."""
    status, tone = _status(state, _)
    return PanelView(
        controls={control: CONTROLS[control](state, _) for control in Control},
        percent=round(100 * state.progress.fraction) if state.busy else None,
        progress_text=_progress_text(state, _),
        processor=_processor(state, _),
        result=_result(state, _),
        lesions=_lesions(state, _),
        effort=_effort(state, _),
        ahead=_ahead(state, _),
        checklist=_checklist(state, _),
        learning=_learning(state, _),
        federation=_federation(state, _),
        connection=tuple(_line(step, False) for step in state.connection),
        account=_account(state, _),
        ledger=state.account.last if state.account else (),
        environment=_environment(state, _),
        round_percent=_round_percent(state),
        candidate=_candidate(state, _),
        leaves=state.consent.leaves,
        rules=state.consent.rules,
        stays=what_stays(_),
        asks_consent=state.membership is Membership.INVITED,
        sections_of_use=_sections_of_use(state),
        status=status,
        tone=tone,
        details=state.notice.details,
    )


def what_stays(_: Translate = unchanged) -> tuple[str, ...]:
    """What never leaves the machine."""
    return (
        _("CT images and segmentations, and any picture made from them."),
        _("Names, patient IDs, dates of birth, study dates and every other DICOM field."),
        _("File names and folders, the list of your cases, and your reasons and comments."),
    )


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


def _processor(state: PanelState, _: Translate) -> str:
    if state.processor is None:
        return _("this computer's processor; no graphics card is needed")
    arithmetic = _("bfloat16") if state.processor.bfloat16 else _("float32")
    if state.processor.card:
        return _("the graphics card {card} ({arithmetic})").format(card=state.processor.card, arithmetic=arithmetic)
    words = _("this computer's processor ({threads} threads, {arithmetic}); no graphics card is needed")
    return words.format(threads=state.processor.threads, arithmetic=arithmetic)


def _result(state: PanelState, _: Translate) -> str:
    if state.measurements is None:
        return ""
    measured = state.measurements
    if measured.liver_ml == 0:
        return _("No liver was found. Check that the scan shows the upper abdomen; you can still outline it by hand below.")
    tumour = _("tumour {ml} ml").format(ml=f"{measured.tumour_ml:.1f}") if measured.tumour_ml else _("no tumour found")
    if not measured.seconds:  # it was drawn some other time
        return _("Liver {ml} ml (with tumour), {tumour}").format(ml=f"{measured.liver_ml:.0f}", tumour=tumour)
    return _("Liver {ml} ml (with tumour), {tumour}, in {seconds} s").format(ml=f"{measured.liver_ml:.0f}", tumour=tumour, seconds=f"{measured.seconds:.0f}")


def _lesions(state: PanelState, _: Translate) -> tuple[str, ...]:
    """A line per lesion, the largest first: the panel makes of each a link that goes there."""
    lesions = state.measurements.lesions if state.measurements else ()
    return tuple(_lesion(number, lesion, _) for number, lesion in enumerate(lesions, 1))


def _lesion(number: int, lesion: Lesion, _: Translate) -> str:
    return _("Lesion {number}: {ml} ml, {mm} mm across").format(number=number, ml=f"{lesion.ml:.1f}", mm=f"{lesion.diameter_mm:.0f}")


def _ahead(state: PanelState, _: Translate) -> str:
    """Quiet words: nobody asked for them just now."""
    ahead = state.ahead
    if not ahead.wanted:
        return ""
    if ahead.fraction is not None:
        said = _("{percent} % of one, {count} new").format(percent=round(100 * ahead.fraction), count=ahead.new)
    elif ahead.new:
        said = _("{count} new").format(count=ahead.new)
    else:
        said = _("all waiting cases are ready") if state.waiting else ""
    return f"{said} · {ahead.problem}" if ahead.problem and said else said or ahead.problem


def _effort(state: PanelState, _: Translate) -> str:
    if state.approved and state.effort is not None:
        return _effort_done(state.effort, _)
    if state.segmentation and state.seconds >= 10:
        return _("Time on this case: {time}").format(time=duration(state.seconds, _))
    return ""


def _effort_done(effort: Effort, _: Translate) -> str:
    taken = _(" in {time}").format(time=duration(effort.seconds, _)) if effort.seconds is not None else ""
    if effort.ml_changed is None:
        return _("Outlined by hand{taken}.").format(taken=taken)
    if effort.ml_changed == 0:
        return _("Approved as the teacher drew it{taken}: nothing was changed.").format(taken=taken)
    sentence = _("Corrected{taken}: {touched} of {slices} slices, {ml} ml changed, {cm} cm of contour drawn anew.")
    return sentence.format(taken=taken, touched=effort.slices_touched, slices=effort.slices, ml=f"{effort.ml_changed:.1f}", cm=f"{effort.path_mm / 10:.0f}")


def duration(seconds: float, _: Translate = unchanged) -> str:
    """Seconds in words: to 10 s below two minutes, to the minute above."""
    if seconds < 120:
        return _("{seconds} s").format(seconds=10 * int(seconds / 10))
    return _("{minutes} min").format(minutes=int(seconds / 60))


def _checklist(state: PanelState, _: Translate) -> tuple[ChecklistLine, ...]:
    return tuple(_line(check, bool(state.override_reason or state.approved)) for check in state.checks)


def _line(check: Check, overridden: bool) -> ChecklistLine:
    if check.passed:
        return ChecklistLine("passed", check.sentence)
    return ChecklistLine("overridden" if check.can_override and overridden else "failed", check.sentence)


def _learning(state: PanelState, _: Translate) -> str:
    if state.learnt:
        return state.learnt
    if not state.approved_cases:
        return ""
    words = _("{training} to learn from, {judging} kept back to judge by.")
    return words.format(training=_cases(state.approved_cases - state.held_out, _), judging=_cases(state.held_out, _))


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


def _account(state: PanelState, _: Translate) -> str:
    account = state.account
    if account is None or not (account.updates or account.megabytes_in):
        return ""
    sent = _("Ledger: updates sent: {updates} ({out} MB), {into} MB received").format(
        updates=account.updates, out=f"{account.megabytes_out:.1f}", into=f"{account.megabytes_in:.1f}"
    )
    if account.epsilon is None:
        return sent + ", " + _("no noise added") + "."
    promise = _("epsilon {epsilon} spent").format(epsilon=f"{account.epsilon:.2f}")
    if account.without_noise:
        promise += _("; updates that left without noise, which no epsilon covers: {count}").format(count=account.without_noise)
    return f"{sent}, {promise}."


def _environment(state: PanelState, _: Translate) -> str:
    environment = state.environment
    if environment.sentence:
        return environment.sentence
    if not environment.there:
        return _("Not made yet: the federation's own Python environment is made when you first join.")
    return _("It is in your FedLiver folder.") if environment.own else _("One that lies elsewhere on this computer is used.")


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
    return _("Load a CT and choose it below."), Tone.INFORMATION


def _cases(count: int, _: Translate) -> str:
    return _("1 case") if count == 1 else _("{count} cases").format(count=count)
