"""What happens to the panel: small dataclasses. Standard library only. What each does to the state is in :mod:`~fedliver.slicer.panel_advance`."""

from dataclasses import dataclass, field

from fedliver.slicer.panel_state import Account, Check, Consent, Effort, Environment, Measurements, Place, Processor, Requirements, Round, Tone, Work


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
    details: str = ""


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
class ResultRecalled:
    """The scene remembers these very labels. ``approved``: the case store has their approval in force."""

    measurements: Measurements | None
    checks: tuple[Check, ...] = ()
    effort: Effort | None = None
    approved: bool = False


@dataclass(frozen=True)
class PlacesKnown:
    """Where the teacher was least sure of this segmentation, the most doubtful first; ``has_doubt``: there is a map of its doubt to show."""

    places: tuple[Place, ...]
    has_doubt: bool = False


@dataclass(frozen=True)
class PlaceShown:
    """The slice views show the place with this number, from 0."""

    number: int


@dataclass(frozen=True)
class WaitingCounted:
    """How many cases of the worklist wait, the open one not among them."""

    count: int


@dataclass(frozen=True)
class NewCounted:
    """How many cases of the worklist no teacher has seen yet."""

    count: int


@dataclass(frozen=True)
class AheadWished:
    """Whether new cases shall be segmented before anyone opens them."""

    wanted: bool


@dataclass(frozen=True)
class AheadReported:
    """How far the case is that is segmented ahead; None for none in work. ``problem``: why one could not be segmented."""

    fraction: float | None
    problem: str = ""


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
    """``held_out``: how many of them are kept back to judge teachers by."""

    count: int
    held_out: int = 0


@dataclass(frozen=True)
class Learnt:
    """Learning from this computer's own cases has ended; ``sentence`` says what came of it."""

    sentence: str


@dataclass(frozen=True)
class OverrideReasonWritten:
    reason: str


@dataclass(frozen=True)
class InvitationOpened:
    """``learns_from_unlabelled``: the federation also trains on scans that nobody approved. ``consent``: what is asked of whoever joins."""

    federation: str
    learns_from_unlabelled: bool = False
    consent: Consent = field(default_factory=Consent)


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
    details: str = ""


@dataclass(frozen=True)
class ConnectionTested:
    """Every step from here to the coordinator; the first that fails is the last."""

    steps: tuple[Check, ...]


@dataclass(frozen=True)
class ProcessorKnown:
    processor: Processor


@dataclass(frozen=True)
class EnvironmentKnown:
    environment: Environment


@dataclass(frozen=True)
class LedgerRead:
    account: Account
