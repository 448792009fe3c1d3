"""What the panel asks of this site: segment a CT, keep an approved case, compare a new teacher. All of it may run in a worker thread."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fedliver.image import Volume
from fedliver.slicer.panel_state import Check
from fedliver.watch import Watcher, report

if TYPE_CHECKING:
    from fedliver.cases.checks import CheckResult
    from fedliver.ct_reader import Ct
    from fedliver.teacher.bundle import Teacher


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
    """A teacher's segmentation, before a clinician touched it. ``liver_ml`` includes the tumour."""

    labels: Volume
    liver_ml: float
    tumour_ml: float
    seconds: float
    teacher: TeacherIdentity


@dataclass(frozen=True)
class Submission:
    """A case that a clinician wants to approve. ``source``: patient, study and series of a DICOM volume; it becomes a pseudonym."""

    ct: Volume
    labels: Volume
    source: tuple[str, str, str] | None = None
    proposal: Proposal | None = None
    seconds_spent: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """The checklist; ``approved_cases`` is the number of approved cases when this one is among them, else None."""

    checks: tuple[Check, ...]
    approved_cases: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Both teachers' mean liver Dice on the held-out cases; None where there are none. ``sentence`` says what was decided."""

    adopted: bool
    current_dice: float | None
    candidate_dice: float | None
    sentence: str


class SiteDesk(Protocol):
    """Seam between the panel and this site's cases and teachers."""

    def segment(self, ct: Volume, watcher: Watcher) -> Proposal: ...
    def approve(self, submission: Submission, watcher: Watcher) -> Verdict: ...
    def compare(self, candidate: Path, watcher: Watcher) -> Comparison: ...
    def approved_cases(self) -> int: ...
    def teacher_name(self) -> str: ...
    def knows(self, candidate: Path) -> bool: ...


class HomeDesk:
    """The real one, over the site's folder. ``home``: None for the default one."""

    def __init__(self, home: Path | None = None) -> None:
        from fedliver.site.home import SiteHome

        self.home = SiteHome.locate(home).path
        self._loaded: tuple[str, Teacher] | None = None

    def segment(self, ct: Volume, watcher: Watcher) -> Proposal:
        """Segment with the current teacher: the same function as ``fedliver segment``.

        Raises
        ------
        FedLiverError
            The volume is no CT in Hounsfield units, or the teacher is unusable. Cancelled when the watcher wants it.
        """
        from fedliver.ct_checks import check_ct, clean

        report(watcher, "Checking the CT", 0.0)
        volume, _notes = clean(ct)
        check_ct(volume)
        report(watcher, "Opening the teacher", 0.02)
        teacher = self._teacher()
        from fedliver.teacher.inference import segment

        made = segment(teacher, volume, watcher)
        identity = TeacherIdentity(teacher.name, teacher.version, teacher.sha256)
        return Proposal(made.labels, made.liver_ml, made.tumour_ml, made.seconds, identity)

    def approve(self, submission: Submission, watcher: Watcher) -> Verdict:
        """Keep the CT and its labels, run the quality checks, and approve if they pass or the reason overrules what may be overruled."""
        from fedliver.cases.case import TeacherProvenance

        report(watcher, "Keeping the case on this computer", 0.1)
        store = self._open().store()
        case = store.add(_as_ct(submission))
        proposal = submission.proposal
        provenance = None
        if proposal is not None:
            teacher = proposal.teacher
            provenance = TeacherProvenance(name=teacher.name, version=teacher.version, sha256=teacher.sha256)
        case = store.attach(case, submission.labels, proposal.labels if proposal else None, provenance, submission.seconds_spent)
        report(watcher, "Checking the case", 0.5)
        checks = tuple(_as_check(result) for result in store.check(case))
        failed = [check for check in checks if not check.passed]
        if any(not check.can_override for check in failed) or (failed and not submission.reason):
            return Verdict(checks)
        report(watcher, "Approving", 0.9)
        store.approve(case, submission.reason if failed else None)
        return Verdict(checks, self.approved_cases())

    def compare(self, candidate: Path, watcher: Watcher) -> Comparison:
        """Judge a candidate bundle on the held-out cases and adopt it if it is not worse."""
        from fedliver.cases.teachers import Origin
        from fedliver.site.adoption import compare_and_adopt

        home = self._open()
        shelf = home.shelf()
        number = candidate.name.rpartition("-")[2]  # candidates/round-NNN, see site.federation
        origin = Origin(source="federation", parent=shelf.current().version, round=int(number) if number.isdigit() else None)
        decision = compare_and_adopt(shelf, home.store(), candidate, watcher, origin=origin)
        return Comparison(decision.adopted, decision.current_dice, decision.candidate_dice, decision.sentence)

    def approved_cases(self) -> int:
        from fedliver.cases.case import State

        return sum(case.state is State.APPROVED for case in self._open().store().cases())

    def teacher_name(self) -> str:
        """Name and version of the current teacher, as its bundle says; empty where there is none yet."""
        import json

        from fedliver.errors import FedLiverError

        try:
            metadata = json.loads((self._open().shelf().current().bundle / "configs" / "metadata.json").read_text())
            return f"{metadata['name']} {metadata['version']}"
        except (FedLiverError, OSError, ValueError, KeyError):
            return ""

    def knows(self, candidate: Path) -> bool:
        """Whether this bundle is on the shelf already, so that it is not offered again."""
        from fedliver.files import sha256_of

        digest = sha256_of(candidate)
        return any(version.sha256 == digest for version in self._open().shelf().list())

    def _open(self):  # type: ignore[no-untyped-def]
        from fedliver.site.home import SiteHome

        return SiteHome.open(self.home)

    def _teacher(self) -> "Teacher":
        from fedliver.teacher.bundle import load_bundle

        current = self._open().shelf().current()
        if self._loaded is None or self._loaded[0] != current.sha256:
            self._loaded = (current.sha256, load_bundle(current.bundle))
        return self._loaded[1]


def _as_ct(submission: Submission) -> "Ct":
    """The scan as the case store takes it: padding cleaned and named by its content where it has no DICOM identity, as ``read_ct`` does."""
    from fedliver.ct_checks import check_ct, clean
    from fedliver.ct_reader import Ct, SourceIdentity, content_hash

    volume, notes = clean(submission.ct)
    warnings = check_ct(volume)
    if submission.source is not None:
        identity = SourceIdentity(*submission.source)
    else:
        content = content_hash(volume)
        identity = SourceIdentity(content, content, content)
    return Ct(volume, identity, (*notes, *warnings))


def _as_check(result: "CheckResult") -> Check:
    return Check(result.name, result.passed, result.sentence, result.overridable)
