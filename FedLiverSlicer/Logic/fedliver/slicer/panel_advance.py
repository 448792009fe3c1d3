"""The state of the panel after an event: :func:`advance` is the only way from one state to the next. Standard library only: no Qt, no clock."""

from dataclasses import replace
from functools import singledispatch

from fedliver.slicer import panel_events as on
from fedliver.slicer.panel_state import Candidate, Membership, Notice, PanelState, Progress, Requirements, Round, Tone, Work


def advance(state: PanelState, event: object) -> PanelState:
    """The state after ``event``. Raises TypeError for what is no event; an event that no longer applies changes nothing."""
    return _after(event, state)


@singledispatch
def _after(event: object, state: PanelState) -> PanelState:
    raise TypeError(f"{type(event).__name__} is no event of the panel")


@_after.register
def _(event: on.RequirementsKnown, state: PanelState) -> PanelState:
    return replace(state, requirements=event.status)


@_after.register
def _(event: on.TeacherKnown, state: PanelState) -> PanelState:
    return replace(state, teacher=event.name)


@_after.register
def _(event: on.CtSelected, state: PanelState) -> PanelState:
    fresh = replace(state, ct=event.name, ct_problem=event.problem, case=event.case, from_database=event.from_database)
    if fresh == state:
        return state
    fresh = replace(fresh, notice=Notice())
    return _without_result(fresh) if event.name != state.ct else fresh


@_after.register
def _(event: on.SegmentationSelected, state: PanelState) -> PanelState:
    if event.name == state.segmentation:
        return state
    return replace(_without_result(state), segmentation=event.name)


@_after.register
def _(event: on.SegmentationEdited, state: PanelState) -> PanelState:
    if not state.segmentation:
        return state
    return replace(state, edited=True, approved=False, exported=False, checks=(), measurements=None, effort=None)


@_after.register
def _(event: on.WorkStarted, state: PanelState) -> PanelState:
    if state.busy:
        return state
    return replace(state, work=event.work, cancelling=False, progress=Progress(started=event.at, now=event.at), notice=Notice())


@_after.register
def _(event: on.WorkProgressed, state: PanelState) -> PanelState:
    if not state.busy:
        return state
    fraction = min(1.0, max(0.0, event.fraction))
    return replace(state, progress=replace(state.progress, phase=event.phase, fraction=fraction, now=event.at))


@_after.register
def _(event: on.CancelRequested, state: PanelState) -> PanelState:
    return replace(state, cancelling=True) if state.busy else state


@_after.register
def _(event: on.WorkStopped, state: PanelState) -> PanelState:
    return replace(_idle(state), notice=Notice(event.sentence, event.tone, event.details))


@_after.register
def _(event: on.Installed, state: PanelState) -> PanelState:
    return replace(_idle(state), requirements=Requirements.READY)


@_after.register
def _(event: on.Segmented, state: PanelState) -> PanelState:
    return replace(_without_result(_idle(state)), segmentation=event.name, measurements=event.measurements)


@_after.register
def _(event: on.CaseChecked, state: PanelState) -> PanelState:
    checked = replace(_idle(state), checks=event.checks, case=event.case or state.case)
    if event.approved_cases is None:
        return checked
    measured = event.measurements or state.measurements
    approved = replace(checked, approved=True, exported=False, edited=False, override_reason="")
    return replace(approved, approved_cases=event.approved_cases, effort=event.effort, measurements=measured)


@_after.register
def _(event: on.ResultRecalled, state: PanelState) -> PanelState:
    if not state.segmentation or state.edited or state.busy:
        return state
    return replace(state, measurements=event.measurements, checks=event.checks, effort=event.effort, approved=event.approved)


@_after.register
def _(event: on.ApprovedCasesCounted, state: PanelState) -> PanelState:
    return replace(state, approved_cases=event.count, held_out=event.held_out)


@_after.register
def _(event: on.Learnt, state: PanelState) -> PanelState:
    return replace(_idle(state), learnt=event.sentence)


@_after.register
def _(event: on.PlacesKnown, state: PanelState) -> PanelState:
    return replace(state, places=event.places, place=None, has_doubt=event.has_doubt)


@_after.register
def _(event: on.PlaceShown, state: PanelState) -> PanelState:
    return replace(state, place=event.number) if 0 <= event.number < len(state.places) else state


@_after.register
def _(event: on.WaitingCounted, state: PanelState) -> PanelState:
    return replace(state, waiting=event.count)


@_after.register
def _(event: on.NewCounted, state: PanelState) -> PanelState:
    return replace(state, ahead=replace(state.ahead, new=event.count))


@_after.register
def _(event: on.AheadWished, state: PanelState) -> PanelState:
    return replace(state, ahead=replace(state.ahead, wanted=event.wanted, fraction=None, problem=""))


@_after.register
def _(event: on.AheadReported, state: PanelState) -> PanelState:
    if event.fraction is not None and not state.ahead.wanted:
        return state
    fraction = None if event.fraction is None else min(1.0, max(0.0, event.fraction))
    return replace(state, ahead=replace(state.ahead, fraction=fraction, problem=event.problem or state.ahead.problem))


@_after.register
def _(event: on.CorrectionTimed, state: PanelState) -> PanelState:
    return replace(state, seconds=event.seconds)


@_after.register
def _(event: on.CaseExported, state: PanelState) -> PanelState:
    return replace(_idle(state), exported=state.approved)


@_after.register
def _(event: on.CurvesKnown, state: PanelState) -> PanelState:
    return replace(state, has_curves=event.any)


@_after.register
def _(event: on.OverrideReasonWritten, state: PanelState) -> PanelState:
    return replace(state, override_reason=event.reason.strip())


@_after.register
def _(event: on.InvitationOpened, state: PanelState) -> PanelState:
    if state.membership not in (Membership.OUTSIDE, Membership.INVITED):
        return state
    invited = replace(state, membership=Membership.INVITED, federation=event.federation, opted_in=False, connection=(), notice=Notice())
    return replace(invited, learns_from_unlabelled=event.learns_from_unlabelled, consent=event.consent)


@_after.register
def _(event: on.OptInChanged, state: PanelState) -> PanelState:
    return replace(state, opted_in=event.opted_in) if state.membership is Membership.INVITED else state


@_after.register
def _(event: on.JoinStarted, state: PanelState) -> PanelState:
    if state.membership is not Membership.INVITED or not state.opted_in:
        return state
    return replace(state, membership=Membership.JOINING, round=Round(), notice=Notice())


@_after.register
def _(event: on.Joined, state: PanelState) -> PanelState:
    return replace(state, membership=Membership.MEMBER, federation=event.federation, opted_in=True)


@_after.register
def _(event: on.RoundReported, state: PanelState) -> PanelState:
    if state.membership not in (Membership.JOINING, Membership.MEMBER):
        return state
    return replace(state, membership=Membership.MEMBER, round=event.round)


@_after.register
def _(event: on.LeaveStarted, state: PanelState) -> PanelState:
    return replace(state, membership=Membership.LEAVING) if state.membership in (Membership.JOINING, Membership.MEMBER) else state


@_after.register
def _(event: on.Left, state: PanelState) -> PanelState:
    notice = Notice(event.sentence, Tone.ERROR) if event.sentence else state.notice
    membership = Membership.INVITED if state.federation else Membership.OUTSIDE
    return replace(state, membership=membership, opted_in=False, round=Round(), notice=notice)


@_after.register
def _(event: on.TeacherOffered, state: PanelState) -> PanelState:
    return state if state.candidate and state.candidate.name == event.name else replace(state, candidate=Candidate(event.name))


@_after.register
def _(event: on.TeacherCompared, state: PanelState) -> PanelState:
    idle = _idle(state)
    if idle.candidate is None:
        return idle
    if event.adopted:
        return replace(idle, teacher=idle.candidate.name, candidate=None)
    return replace(idle, candidate=replace(idle.candidate, current_dice=event.current_dice, candidate_dice=event.candidate_dice))


@_after.register
def _(event: on.TeacherKept, state: PanelState) -> PanelState:
    return replace(state, candidate=None)


@_after.register
def _(event: on.SceneClosed, state: PanelState) -> PanelState:
    return _idle(replace(_without_result(state), ct="", ct_problem="", case="", from_database=False, segmentation="", notice=Notice()))


@_after.register
def _(event: on.Noticed, state: PanelState) -> PanelState:
    return replace(state, notice=Notice(event.sentence, event.tone, event.details))


@_after.register
def _(event: on.ConnectionTested, state: PanelState) -> PanelState:
    return replace(_idle(state), connection=event.steps)


@_after.register
def _(event: on.ProcessorKnown, state: PanelState) -> PanelState:
    return replace(state, processor=event.processor)


@_after.register
def _(event: on.EnvironmentKnown, state: PanelState) -> PanelState:
    return replace(state, environment=event.environment)


@_after.register
def _(event: on.LedgerRead, state: PanelState) -> PanelState:
    return replace(state, account=event.account)


def _idle(state: PanelState) -> PanelState:
    return replace(state, work=Work.NONE, cancelling=False, progress=Progress())


def _without_result(state: PanelState) -> PanelState:
    emptied = replace(state, edited=False, measurements=None, checks=(), approved=False, override_reason="")
    return replace(emptied, exported=False, effort=None, seconds=0.0, places=(), place=None, has_doubt=False)
