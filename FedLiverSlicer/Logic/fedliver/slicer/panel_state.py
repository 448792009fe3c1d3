"""What the panel knows: one immutable :class:`PanelState`. Standard library only: no Qt, no Slicer, no clock.

The panel is a state machine in three parts, which the desktop panel and the web page share::

    state = advance(state, CtSelected("CT abdomen"))     # panel_events: what happens; panel_advance: what it does to the state
    look = view(state)                                    # panel_view: which controls are live, and why not
"""

from dataclasses import dataclass
from enum import Enum


class Requirements(Enum):
    """Whether Python packages that segmentation needs are installed in this Python."""

    MISSING = "missing"
    READY = "ready"


class Work(Enum):
    """What is running now. One thing at a time, since each may use the whole processor."""

    NONE = "none"
    INSTALL = "install"
    SEGMENT = "segment"
    APPROVE = "approve"
    COMPARE = "compare"
    OPEN = "open"
    ADD = "add"
    EXPORT = "export"
    TEST = "test"
    LEARN = "learn"
    ENVIRONMENT = "environment"


class Membership(Enum):
    """Where this site stands with the federation."""

    OUTSIDE = "outside"
    INVITED = "invited"
    JOINING = "joining"
    MEMBER = "member"
    LEAVING = "leaving"


class Tone(Enum):
    """How a notice is shown."""

    INFORMATION = "information"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Notice:
    """The one sentence at the head of the panel. ``details``: of an error, for whoever helps; folded away."""

    sentence: str = ""
    tone: Tone = Tone.INFORMATION
    details: str = ""


@dataclass(frozen=True)
class Progress:
    """How far the running work is. ``started`` and ``now`` are seconds of one monotonic clock, brought by the events."""

    phase: str = ""
    fraction: float = 0.0
    started: float = 0.0
    now: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until the end; None while it is too early to say (under 2 s or under 10 %: the first of a session imports much)."""
        elapsed = self.now - self.started
        if elapsed < 2.0 or self.fraction < 0.1:
            return None
        return elapsed * (1.0 - self.fraction) / self.fraction


@dataclass(frozen=True)
class Lesion:
    """One connected tumour. ``diameter_mm``: the longest diameter in any of the CT's slices; ``place``: RAS millimetres of a point in it."""

    ml: float
    diameter_mm: float
    place: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Place:
    """A place where the teacher was not sure: RAS millimetres, and what about: "liver" or "tumour"."""

    position: tuple[float, float, float]
    about: str


@dataclass(frozen=True)
class Measurements:
    """What a segmentation measures. ``liver_ml`` includes the tumour; ``seconds`` is how long it took; the largest lesion comes first."""

    liver_ml: float
    tumour_ml: float
    seconds: float
    lesions: tuple[Lesion, ...] = ()


@dataclass(frozen=True)
class Effort:
    """What a person changed in an approved case; all but ``seconds`` are None and 0 where there was no pre-segmentation to change."""

    seconds: float | None = None
    ml_changed: float | None = None
    slices_touched: int = 0
    slices: int = 0
    path_mm: float = 0.0


@dataclass(frozen=True)
class Check:
    """One quality check of a case before it may train. ``can_override``: a written reason lets the case pass."""

    name: str
    passed: bool
    sentence: str
    can_override: bool = False


@dataclass(frozen=True)
class Round:
    """Where the federation's training is on this machine. ``number`` 0: no round has begun."""

    number: int = 0
    total: int = 0
    step: int = 0
    steps: int = 0
    loss: float | None = None
    dice: float | None = None


@dataclass(frozen=True)
class Account:
    """What the ledger says has left this site and come in.

    ``epsilon``: spent by the updates that left with noise; None where none did, and nothing is promised. ``without_noise``: updates that no epsilon covers.
    """

    updates: int = 0
    megabytes_out: float = 0.0
    megabytes_in: float = 0.0
    epsilon: float | None = None
    last: tuple[str, ...] = ()
    without_noise: int = 0


@dataclass(frozen=True)
class Candidate:
    """A new teacher that the federation offers, and both teachers' Dice on this site's own held-out cases once compared."""

    name: str
    current_dice: float | None = None
    candidate_dice: float | None = None


@dataclass(frozen=True)
class Ahead:
    """Segmenting new cases before anyone opens them. ``wanted``: the clinician's switch; ``new``: how many cases no teacher has seen yet;
    ``fraction``: how far the one in work is, None while there is none; ``problem``: why the last one that could not be segmented could not."""

    wanted: bool = False
    new: int = 0
    fraction: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Environment:
    """The federation's own Python. ``own``: it lies in the site's folder, made from here. ``sentence``: what looking into it found, empty until then."""

    there: bool = False
    own: bool = False
    sentence: str = ""


@dataclass(frozen=True)
class Processor:
    """What the network runs on here. ``bfloat16``: it is multiplied in hardware, so it is used. ``card``: a graphics card's name; empty for the processor."""

    threads: int
    bfloat16: bool
    card: str = ""


@dataclass(frozen=True)
class Consent:
    """What is asked of whoever joins a federation: what ``leaves`` this computer, and the ``rules`` of the filter that watches over it."""

    leaves: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class PanelState:
    """Everything the panel shows. ``ct`` and ``segmentation`` are node names, empty when nothing is selected.

    ``processor``: None until the network has run once;
    ``held_out``: how many of the ``approved_cases`` are kept back to judge by; ``learnt``: what came of learning here, last time;
    ``case``: the pseudonym under which the CT is in the case store, where that is known; ``waiting``: how many other cases wait;
    ``seconds``: of work on this segmentation; ``place``: which of ``places`` was looked at last, None for none yet;
    ``from_database``: the CT came from Slicer's DICOM database.
    """

    requirements: Requirements = Requirements.READY
    teacher: str = ""
    ct: str = ""
    ct_problem: str = ""
    segmentation: str = ""
    edited: bool = False
    work: Work = Work.NONE
    progress: Progress = Progress()
    cancelling: bool = False
    measurements: Measurements | None = None
    checks: tuple[Check, ...] = ()
    override_reason: str = ""
    approved: bool = False
    approved_cases: int = 0
    held_out: int = 0
    learnt: str = ""
    case: str = ""
    waiting: int = 0
    ahead: Ahead = Ahead()
    seconds: float = 0.0
    effort: Effort | None = None
    places: tuple[Place, ...] = ()
    place: int | None = None
    has_doubt: bool = False
    from_database: bool = False
    exported: bool = False
    membership: Membership = Membership.OUTSIDE
    federation: str = ""
    learns_from_unlabelled: bool = False
    consent: Consent = Consent()
    opted_in: bool = False
    round: Round = Round()
    has_curves: bool = False
    connection: tuple[Check, ...] = ()
    account: Account | None = None
    environment: Environment = Environment()
    processor: Processor | None = None
    candidate: Candidate | None = None
    notice: Notice = Notice()

    @property
    def busy(self) -> bool:
        return self.work is not Work.NONE

    @property
    def failed_checks(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    @property
    def needs_reason(self) -> bool:
        """Whether a written reason is all that stands between this case and its approval."""
        failed = self.failed_checks
        return bool(failed) and all(check.can_override for check in failed)
