"""What the panel asks of this site: segment a CT, keep and open cases, compare a new teacher. All of it may run in a worker thread."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedliver.image import Volume
from fedliver.slicer.panel_state import Check, Effort, Lesion, Measurements, Place, Processor
from fedliver.watch import Watcher


@dataclass(frozen=True)
class TeacherIdentity:
    """Which teacher drew a proposal."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Proposal:
    """A teacher's segmentation, before a clinician touched it. ``liver_ml`` includes the tumour. ``doubt``: 0 sure to 1 undecided, float32."""

    labels: Volume
    liver_ml: float
    tumour_ml: float
    seconds: float
    teacher: TeacherIdentity
    lesions: tuple[Lesion, ...] = ()
    expected_dice: float | None = None
    places: tuple[Place, ...] = ()
    doubt: Volume | None = None


@dataclass(frozen=True)
class Submission:
    """A case that a clinician wants to approve. ``source``: patient, study and series of a DICOM volume; it becomes a pseudonym.

    ``case``: the pseudonym of a case that was opened from the worklist. ``seconds_spent``: of work on these labels, all sittings together.
    """

    ct: Volume
    labels: Volume
    source: tuple[str, str, str] | None = None
    proposal: Proposal | None = None
    seconds_spent: float | None = None
    reason: str = ""
    case: str = ""


@dataclass(frozen=True)
class Verdict:
    """The checklist; ``approved_cases`` is the number of approved cases when this one is among them, else None; ``approval`` is then the approval's name,
    and ``held_out`` how many of them are kept back to judge by."""

    checks: tuple[Check, ...]
    approved_cases: int | None = None
    case: str = ""
    effort: Effort | None = None
    measurements: Measurements | None = None
    waiting: int | None = None
    approval: str = ""
    held_out: int = 0


@dataclass(frozen=True)
class Counts:
    """How many cases are approved (``held_out`` of them kept back to judge teachers by), how many others than the open one wait in the worklist, and how
    many of those no teacher has seen (``new``)."""

    approved: int = 0
    waiting: int = 0
    new: int = 0
    held_out: int = 0


@dataclass(frozen=True)
class Foreseen:
    """A new case that was segmented before anyone opened it, or why it could not be."""

    case: str
    problem: str = ""


@dataclass(frozen=True)
class Objection:
    """Why a scan of a folder, or its outlines, were not taken: ``number`` of its series, or among the scans in the order of their names, from 1."""

    number: int
    is_series: bool
    sentence: str


@dataclass(frozen=True)
class Added:
    """What came of adding a folder's scans: how many became cases, and how many were ``known`` here already."""

    added: int
    known: int
    refused: tuple[Objection, ...] = ()
    without_outlines: tuple[Objection, ...] = ()


@dataclass(frozen=True)
class AddedScan:
    """The case that a scan is, and whether it was here already."""

    case: str
    known: bool


@dataclass(frozen=True)
class OpenedCase:
    """A case of the worklist: its CT, its newest labels, and the teacher's proposal that they were made from, if there are any."""

    case: str
    ct: Volume
    labels: Volume | None = None
    proposal: Proposal | None = None
    edited: bool = False
    seconds_spent: float = 0.0
    waiting: int = 0


@dataclass(frozen=True)
class Comparison:
    """Both teachers' mean liver Dice on the held-out cases; None where there are none. ``sentence`` says what was decided."""

    adopted: bool
    current_dice: float | None
    candidate_dice: float | None
    sentence: str


@dataclass(frozen=True)
class Lesson:
    """What came of learning from this computer's own cases."""

    adopted: bool
    sentence: str


class SiteDesk(Protocol):
    """Seam between the panel and this site's cases and teachers."""

    def segment(self, ct: Volume, watcher: Watcher) -> Proposal: ...
    def approve(self, submission: Submission, watcher: Watcher) -> Verdict: ...
    def approval(self, case: str) -> str: ...
    def compare(self, candidate: Path, watcher: Watcher) -> Comparison: ...
    def learn(self, minutes: float, unlabelled: bool, watcher: Watcher) -> Lesson: ...
    def counts(self, other_than: str = "") -> Counts: ...
    def open_next(self, strategy: str, current: str, draft: Submission | None, watcher: Watcher) -> OpenedCase | None: ...
    def segment_ahead(self, strategy: str, passed_over: frozenset[str], watcher: Watcher) -> Foreseen | None: ...
    def remember_ahead(self, wanted: bool) -> None: ...
    def wants_ahead(self) -> bool: ...
    def add_scans(self, folder: Path, watcher: Watcher) -> Added: ...
    def add_scan(self, ct: Volume, source: tuple[str, str, str] | None, watcher: Watcher) -> AddedScan: ...
    def settle_adding(self) -> None: ...
    def exclude(self, case: str) -> None: ...
    def export(self, case: str, files: Sequence[Path], target: Path, watcher: Watcher) -> str: ...
    def processor(self) -> Processor | None: ...
    def teacher_name(self) -> str: ...
    def knows(self, candidate: Path) -> bool: ...
