"""What happens to the panel, and the state after it. Standard library only: no Qt, no Slicer, no clock.

Events are small dataclasses; :func:`advance` is the only way from one state to the next.
"""

from dataclasses import dataclass, replace
from functools import singledispatch

from fedliver.slicer.panel_state import Candidate, Check, Effort, Measurements, Membership, Notice, PanelState, Progress, Requirements, Round, Tone, Work


@dataclass(frozen=True)
class RequirementsKnown:
    status: Requirements


@dataclass(frozen=True)
class TeacherKnown:
    name: str


@dataclass(frozen=True)
class CtSelected:
    """``problem``: a sentence that says why this volume cannot be segmented; empty when it can. ``case``: its pseudonym, if it is known."""

    name: str
    problem: str = ""
    case: str = ""
    from_database: bool = False


@dataclass(frozen=True)
class SegmentationSelected:
    name: str


@dataclass(frozen=True)
class SegmentationEdited:
    pass


@dataclass(frozen=True)
class WorkStarted:
    work: Work
    at: float


@dataclass(frozen=True)
class WorkProgressed:
    phase: str
    fraction: float
    at: float


@dataclass(frozen=True)
class CancelRequested:
    pass


@dataclass(frozen=True)
class WorkStopped:
    """The running work ended without a result: it failed, was declined or was cancelled."""

    sentence: str
    tone: Tone = Tone.ERROR


@dataclass(frozen=True)
class Installed:
    pass


@dataclass(frozen=True)
class Segmented:
    name: str
    measurements: Measurements


@dataclass(frozen=True)
class CaseChecked:
    """The quality checks ran; ``approved_cases`` is set when the case was approved and stored."""

    checks: tuple[Check, ...]
    approved_cases: int | None = None
    case: str = ""
    effort: Effort | None = None
    measurements: Measurements | None = None


@dataclass(frozen=True)
class WaitingCounted:
    """How many cases of the worklist wait, the open one not among them."""

    count: int


@dataclass(frozen=True)
class CorrectionTimed:
    """How long this segmentation has been worked on."""

    seconds: float


@dataclass(frozen=True)
class CaseExported:
    pass


@dataclass(frozen=True)
class CurvesKnown:
    """Whether there is a round to draw."""

    any: bool


@dataclass(frozen=True)
class ApprovedCasesCounted:
    count: int


@dataclass(frozen=True)
class OverrideReasonWritten:
    reason: str


@dataclass(frozen=True)
class InvitationOpened:
    federation: str


@dataclass(frozen=True)
class OptInChanged:
    opted_in: bool


@dataclass(frozen=True)
class JoinStarted:
    pass


@dataclass(frozen=True)
class Joined:
    federation: str


@dataclass(frozen=True)
class RoundReported:
    round: Round


@dataclass(frozen=True)
class LeaveStarted:
    pass


@dataclass(frozen=True)
class Left:
    """This site's node has stopped. ``sentence``: why, when it was not the user who left."""

    sentence: str = ""


@dataclass(frozen=True)
class TeacherOffered:
    name: str


@dataclass(frozen=True)
class TeacherCompared:
    """``adopted``: the new teacher was not worse, and is the current one now."""

    current_dice: float
    candidate_dice: float
    adopted: bool


@dataclass(frozen=True)
class TeacherKept:
    pass


@dataclass(frozen=True)
class SceneClosed:
    pass


@dataclass(frozen=True)
class Noticed:
    sentence: str
    tone: Tone = Tone.INFORMATION


def advance(state: PanelState, event: object) -> PanelState:
    """The state after ``event``. Raises TypeError for what is no event; an event that no longer applies changes nothing."""
    return _after(event, state)


@singledispatch
def _after(event: object, state: PanelState) -> PanelState:
    raise TypeError(f"{type(event).__name__} is no event of the panel")


@_after.register
def _(event: RequirementsKnown, state: PanelState) -> PanelState:
    return replace(state, requirements=event.status)


@_after.register
def _(event: TeacherKnown, state: PanelState) -> PanelState:
    return replace(state, teacher=event.name)


@_after.register
def _(event: CtSelected, state: PanelState) -> PanelState:
    fresh = replace(state, ct=event.name, ct_problem=event.problem, case=event.case, from_database=event.from_database)
    if fresh == state:
        return state
    fresh = replace(fresh, notice=Notice())
    return _without_result(fresh) if event.name != state.ct else fresh


@_after.register
def _(event: SegmentationSelected, state: PanelState) -> PanelState:
    if event.name == state.segmentation:
        return state
    return replace(_without_result(state), segmentation=event.name)


@_after.register
def _(event: SegmentationEdited, state: PanelState) -> PanelState:
    if not state.segmentation:
        return state
    return replace(state, edited=True, approved=False, exported=False, checks=(), measurements=None, effort=None)


@_after.register
def _(event: WorkStarted, state: PanelState) -> PanelState:
    if state.busy:
        return state
    return replace(state, work=event.work, cancelling=False, progress=Progress(started=event.at, now=event.at), notice=Notice())


@_after.register
def _(event: WorkProgressed, state: PanelState) -> PanelState:
    if not state.busy:
        return state
    fraction = min(1.0, max(0.0, event.fraction))
    return replace(state, progress=replace(state.progress, phase=event.phase, fraction=fraction, now=event.at))


@_after.register
def _(event: CancelRequested, state: PanelState) -> PanelState:
    return replace(state, cancelling=True) if state.busy else state


@_after.register
def _(event: WorkStopped, state: PanelState) -> PanelState:
    return replace(_idle(state), notice=Notice(event.sentence, event.tone))


@_after.register
def _(event: Installed, state: PanelState) -> PanelState:
    return replace(_idle(state), requirements=Requirements.READY)


@_after.register
def _(event: Segmented, state: PanelState) -> PanelState:
    return replace(_without_result(_idle(state)), segmentation=event.name, measurements=event.measurements)


@_after.register
def _(event: CaseChecked, state: PanelState) -> PanelState:
    checked = replace(_idle(state), checks=event.checks, case=event.case or state.case)
    if event.approved_cases is None:
        return checked
    measured = event.measurements or state.measurements
    approved = replace(checked, approved=True, exported=False, edited=False, override_reason="")
    return replace(approved, approved_cases=event.approved_cases, effort=event.effort, measurements=measured)


@_after.register
def _(event: ApprovedCasesCounted, state: PanelState) -> PanelState:
    return replace(state, approved_cases=event.count)


@_after.register
def _(event: WaitingCounted, state: PanelState) -> PanelState:
    return replace(state, waiting=event.count)


@_after.register
def _(event: CorrectionTimed, state: PanelState) -> PanelState:
    return replace(state, seconds=event.seconds)


@_after.register
def _(event: CaseExported, state: PanelState) -> PanelState:
    return replace(_idle(state), exported=state.approved)


@_after.register
def _(event: CurvesKnown, state: PanelState) -> PanelState:
    return replace(state, has_curves=event.any)


@_after.register
def _(event: OverrideReasonWritten, state: PanelState) -> PanelState:
    return replace(state, override_reason=event.reason.strip())


@_after.register
def _(event: InvitationOpened, state: PanelState) -> PanelState:
    if state.membership not in (Membership.OUTSIDE, Membership.INVITED):
        return state
    return replace(state, membership=Membership.INVITED, federation=event.federation, opted_in=False, notice=Notice())


@_after.register
def _(event: OptInChanged, state: PanelState) -> PanelState:
    return replace(state, opted_in=event.opted_in) if state.membership is Membership.INVITED else state


@_after.register
def _(event: JoinStarted, state: PanelState) -> PanelState:
    if state.membership is not Membership.INVITED or not state.opted_in:
        return state
    return replace(state, membership=Membership.JOINING, round=Round(), notice=Notice())


@_after.register
def _(event: Joined, state: PanelState) -> PanelState:
    return replace(state, membership=Membership.MEMBER, federation=event.federation, opted_in=True)


@_after.register
def _(event: RoundReported, state: PanelState) -> PanelState:
    if state.membership not in (Membership.JOINING, Membership.MEMBER):
        return state
    return replace(state, membership=Membership.MEMBER, round=event.round)


@_after.register
def _(event: LeaveStarted, state: PanelState) -> PanelState:
    return replace(state, membership=Membership.LEAVING) if state.membership in (Membership.JOINING, Membership.MEMBER) else state


@_after.register
def _(event: Left, state: PanelState) -> PanelState:
    notice = Notice(event.sentence, Tone.ERROR) if event.sentence else state.notice
    membership = Membership.INVITED if state.federation else Membership.OUTSIDE
    return replace(state, membership=membership, opted_in=False, round=Round(), notice=notice)


@_after.register
def _(event: TeacherOffered, state: PanelState) -> PanelState:
    return state if state.candidate and state.candidate.name == event.name else replace(state, candidate=Candidate(event.name))


@_after.register
def _(event: TeacherCompared, state: PanelState) -> PanelState:
    idle = _idle(state)
    if idle.candidate is None:
        return idle
    if event.adopted:
        return replace(idle, teacher=idle.candidate.name, candidate=None)
    return replace(idle, candidate=replace(idle.candidate, current_dice=event.current_dice, candidate_dice=event.candidate_dice))


@_after.register
def _(event: TeacherKept, state: PanelState) -> PanelState:
    return replace(state, candidate=None)


@_after.register
def _(event: SceneClosed, state: PanelState) -> PanelState:
    return _idle(replace(_without_result(state), ct="", ct_problem="", case="", from_database=False, segmentation="", notice=Notice()))


@_after.register
def _(event: Noticed, state: PanelState) -> PanelState:
    return replace(state, notice=Notice(event.sentence, event.tone))


def _idle(state: PanelState) -> PanelState:
    return replace(state, work=Work.NONE, cancelling=False, progress=Progress())


def _without_result(state: PanelState) -> PanelState:
    emptied = replace(state, edited=False, measurements=None, checks=(), approved=False, override_reason="")
    return replace(emptied, exported=False, effort=None, seconds=0.0)
