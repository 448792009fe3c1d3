"""The site's own desk: the panel's wishes carried out over the site's folder, mostly in a worker thread."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedliver.image import Volume
from fedliver.slicer.adding import Beside, add_folder, add_scan
from fedliver.slicer.ahead import segment_next_new
from fedliver.slicer.learning import LearningProgress
from fedliver.slicer.panel_state import Check, Effort, Lesion, Measurements, Place, Processor
from fedliver.slicer.preload import importing
from fedliver.slicer.site_desk import Added, AddedScan, Comparison, Counts, Foreseen, Lesson, OpenedCase, Proposal, Submission, TeacherIdentity, Verdict
from fedliver.watch import Watcher, report

if TYPE_CHECKING:
    from fedliver.cases.case import Case
    from fedliver.cases.checks import CheckResult
    from fedliver.cases.store import CaseStore
    from fedliver.ct_reader import Ct
    from fedliver.site.home import SiteHome
    from fedliver.teacher.bundle import Teacher
    from fedliver.teacher.device import Device


_NOTHING_TO_JUDGE_BY = (
    "Not adopted: no case is kept back here to judge the new teacher by. Approve cases of more patients: the second one's is the first to be kept back."
)
"""In the panel's words: the command line's name an option that the panel has not."""


class HomeDesk:
    """The real one, over the site's folder. ``home``: None for the default one."""

    def __init__(self, home: Path | None = None) -> None:
        from fedliver.site.home import SiteHome

        self.home = SiteHome.locate(home).path
        self._loaded: tuple[str, Teacher] | None = None
        self._ran_on: Device | None = None
        self._adding = Beside()

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
        self._ran_on = made.ran_on
        identity = TeacherIdentity(teacher.name, teacher.version, teacher.sha256)
        measured = _measured(made.labels, made.seconds)
        proposal = Proposal(made.labels, made.liver_ml, made.tumour_ml, made.seconds, identity, measured.lesions, made.expected_dice)
        if made.doubt is None:
            return proposal
        places = tuple(Place(_across(place.position_mm), place.about) for place in made.doubt.places)
        return replace(proposal, places=places, doubt=made.doubt.map)

    def approve(self, submission: Submission, watcher: Watcher) -> Verdict:
        """Keep the CT and its labels, run the quality checks, and approve if they pass or the reason overrules what may be overruled."""

        report(watcher, "Keeping the case on this computer", 0.1)
        store = self.store()
        case = self._keep(store, submission)
        report(watcher, "Checking the case", 0.5)
        checks = tuple(_as_check(result) for result in store.check(case))
        failed = [check for check in checks if not check.passed]
        if any(not check.can_override for check in failed) or (failed and not submission.reason):
            return Verdict(checks, case=case.pseudonym)
        report(watcher, "Approving", 0.9)
        case = store.approve(case, submission.reason if failed else None)
        measured = _measured(submission.labels, submission.proposal.seconds if submission.proposal else 0.0)
        counts = _counts(store.cases(), case.pseudonym)
        return Verdict(checks, counts.approved, case.pseudonym, _effort(case), measured, counts.waiting, _approval(case), counts.held_out)

    @staticmethod
    def _keep(store: "CaseStore", submission: Submission) -> "Case":
        """Keep the CT and its labels as a draft."""
        case = _known(store, submission) or store.add(_as_ct(submission.ct, submission.source))
        if submission.proposal is None:
            return store.attach(case, submission.labels, seconds_spent=submission.seconds_spent)
        return _attach(store, case, submission.proposal, submission.labels, submission.seconds_spent)

    def segment_ahead(self, strategy: str, passed_over: frozenset[str], watcher: Watcher) -> Foreseen | None:
        """Segment the first new case in the worklist's order that is not ``passed_over``, and keep it as pre-segmented; None where there is none."""
        return segment_next_new(self.store(), self.segment, _attach, strategy, passed_over, watcher)

    def wants_ahead(self) -> bool:
        """Whether new cases shall be segmented before anyone opens them, as was said on this computer."""
        from fedliver.slicer.preferences import read_preferences

        return read_preferences(self.home).ahead

    def remember_ahead(self, wanted: bool) -> None:
        from fedliver.slicer.preferences import Preferences, write_preferences

        self._open()
        write_preferences(self.home, Preferences(ahead=wanted))

    def approval(self, case: str) -> str:
        """The name of the approval of a case that is in force; empty where there is none, or no such case."""
        found = _case(self.store(), case)
        return _approval(found) if found is not None else ""

    def counts(self, other_than: str = "") -> Counts:
        """One look at all cases. ``other_than``: the pseudonym of the case that lies open."""
        return _counts(self.store().cases(), other_than)

    def open_next(self, strategy: str, current: str, draft: Submission | None, watcher: Watcher) -> OpenedCase | None:
        """Keep ``draft`` with its case, and read the next case of the worklist. None where no other case waits.

        ``current``: the pseudonym of the case that lies open, which is passed over; empty for none.
        """
        from fedliver.cases.worklist import next_case

        store = self.store()
        if draft is not None:
            report(watcher, "Keeping your corrections", 0.1)
            self._keep(store, draft)
        everyone = store.cases()
        case = next_case(everyone, strategy, current)
        if case is None:
            return None
        report(watcher, "Opening the next case", 0.3)
        opened = OpenedCase(case.pseudonym, store.ct(case), waiting=_counts(everyone, case.pseudonym).waiting)
        if case.draft is None:
            return opened
        report(watcher, "Opening its segmentation", 0.7)
        seconds = case.draft.seconds_spent or 0.0
        return replace(opened, labels=store.labels(case), proposal=_proposal(store, case), edited=case.draft.touched, seconds_spent=seconds)

    def add_scans(self, folder: Path, watcher: Watcher) -> Added:
        """Add a folder's scans to the worklist. Cancelled at once; the scan in hand may still come in then, see :meth:`settle_adding`."""
        return self._adding.run(lambda beside: add_folder(self.store(), folder, beside), watcher)

    def add_scan(self, ct: Volume, source: tuple[str, str, str] | None, watcher: Watcher) -> AddedScan:
        """Make a scan a case of the worklist. ``source``: as in :class:`Submission`."""
        return self._adding.run(lambda beside: add_scan(self.store(), _as_ct(ct, source), beside), watcher)

    def settle_adding(self) -> None:
        """Until nothing comes in any more."""
        self._adding.settle()

    def exclude(self, case: str) -> None:
        """Take a case out of the worklist, of training and of judging."""
        store = self.store()
        store.exclude(store.case(case))

    def export(self, case: str, files: Sequence[Path], target: Path, watcher: Watcher) -> str:
        """Write the approved labels of a case as DICOM SEG, and return its SOPInstanceUID."""
        from fedliver.cases.export import write_seg_onto

        report(watcher, "Writing the DICOM SEG", 0.2)
        store = self.store()
        return write_seg_onto(store, store.case(case), files, target)

    def compare(self, candidate: Path, watcher: Watcher) -> Comparison:
        """Judge a candidate bundle on the held-out cases and adopt it if it is not worse."""
        from fedliver.cases.teachers import Origin
        from fedliver.site.adoption import compare_and_adopt

        home = self._open()
        shelf = home.shelf()
        number = candidate.name.rpartition("-")[2]  # candidates/round-NNN, see site.federation
        origin = Origin(source="federation", parent=shelf.current().version, round=int(number) if number.isdigit() else None)
        decision = compare_and_adopt(shelf, home.store(), candidate, watcher, origin=origin)
        sentence = decision.sentence if decision.adopted or decision.cases else _NOTHING_TO_JUDGE_BY
        return Comparison(decision.adopted, decision.current_dice, decision.candidate_dice, sentence)

    def learn(self, minutes: float, unlabelled: bool, watcher: Watcher) -> Lesson:
        """Train the current teacher on with this site's approved cases for ``minutes`` at most, and adopt the result if it is not worse: as ``fedliver train``.

        Raises
        ------
        FedLiverError
            ``training-busy``, ``no-approved-case``, ... Cancelled within one step; the work is kept, and the next call goes on.
        """
        report(watcher, "Opening the teacher", 0.0)
        self._teacher()
        from fedliver.site.local_training import learn_from_own_cases, settings_for

        learnt = learn_from_own_cases(self._open(), settings_for(minutes, unlabelled), LearningProgress(watcher, minutes))
        return Lesson(learnt.decision.adopted, f"Learned {learnt.steps} steps in {learnt.minutes:.0f} min. {learnt.decision.sentence}")

    def processor(self) -> Processor | None:
        """What the network has run on; None before it has run: to ask torch would be to import it."""
        if self._ran_on is None:
            return None
        import torch

        from fedliver.teacher.precision import has_fast_bfloat16

        card = self._ran_on.title or self._ran_on.name if self._ran_on.is_card else ""
        return Processor(torch.get_num_threads(), has_fast_bfloat16(self._ran_on.name), card)

    def teacher_name(self) -> str:
        """Name and version of the current teacher, as its bundle says; empty where there is none yet."""
        import json

        from fedliver.errors import FedLiverError

        try:
            metadata = json.loads((self._open().shelf().current_bundle() / "configs" / "metadata.json").read_text())
            return f"{metadata['name']} {metadata['version']}"
        except (FedLiverError, OSError, ValueError, KeyError):
            return ""

    def knows(self, candidate: Path) -> bool:
        """Whether this bundle is on the shelf already, so that it is not offered again."""
        from fedliver.files import sha256_of

        digest = sha256_of(candidate)
        return any(version.sha256 == digest for version in self._open().shelf().list())

    def store(self) -> "CaseStore":
        """This site's cases."""
        return self._open().store()

    def _open(self) -> "SiteHome":
        from fedliver.site.home import SiteHome

        return SiteHome.open(self.home)

    def _teacher(self) -> "Teacher":
        from fedliver.teacher.bundle import load_bundle

        current = self._open().shelf().current()
        if self._loaded is None:
            with importing():
                import fedliver.teacher.inference  # noqa: F401 what load_bundle does not import

                self._loaded = (current.sha256, load_bundle(current.bundle))
        if self._loaded[0] != current.sha256:
            self._loaded = (current.sha256, load_bundle(current.bundle))
        return self._loaded[1]


def _as_ct(scan: Volume, source: tuple[str, str, str] | None) -> "Ct":
    """The scan as the case store takes it: padding cleaned and named by its content where it has no DICOM identity, as ``read_ct`` does."""
    from fedliver.ct_checks import check_ct, clean
    from fedliver.ct_reader import Ct, SourceIdentity, content_hash

    volume, notes = clean(scan)
    warnings = check_ct(volume)
    if source is not None:
        identity = SourceIdentity(*source)
    else:
        content = content_hash(volume)
        identity = SourceIdentity(content, content, content)
    return Ct(volume, identity, (*notes, *warnings))


def _known(store: "CaseStore", submission: Submission) -> "Case | None":
    """The case that the CT was opened from. None where this store has no such case, as when a scene came from another site, or another CT in it."""
    from fedliver.cases.fingerprint import ct_sha256
    from fedliver.ct_checks import clean

    case = _case(store, submission.case)
    return case if case is not None and ct_sha256(clean(submission.ct)[0]) == case.ct_sha256 else None


def _case(store: "CaseStore", name: str) -> "Case | None":
    from fedliver.errors import FedLiverError

    try:
        return store.case(name) if name else None
    except FedLiverError as error:
        if error.code == "no-such-case":
            return None
        raise


def _approval(case: "Case") -> str:
    return case.approval.approved_at.isoformat() if case.approval is not None and case.withdrawn_at is None else ""


def _counts(cases: "Sequence[Case]", other_than: str) -> Counts:
    from fedliver.cases.case import Role, State

    waiting = (State.NEW, State.PRE_SEGMENTED, State.IN_CORRECTION)
    return Counts(
        approved=sum(case.state is State.APPROVED for case in cases),
        waiting=sum(case.state in waiting and case.pseudonym != other_than for case in cases),
        held_out=sum(case.state is State.APPROVED and case.role is Role.HELD_OUT for case in cases),
        new=sum(case.state is State.NEW and case.pseudonym != other_than for case in cases),
    )


def _attach(store: "CaseStore", case: "Case", proposal: Proposal, labels: Volume | None = None, seconds: float | None = None) -> "Case":
    """Keep ``labels`` (the proposal itself, unless a person has changed it) with the proposal that they were made from."""
    from fedliver.cases.case import LookAt, TeacherProvenance

    teacher = TeacherProvenance(name=proposal.teacher.name, version=proposal.teacher.version, sha256=proposal.teacher.sha256)
    places = tuple(LookAt(position_mm=_across(place.position), about=place.about) for place in proposal.places)
    return store.attach(case, labels or proposal.labels, proposal.labels, teacher, seconds, proposal.expected_dice, places, proposal.doubt)


def _as_check(result: "CheckResult") -> Check:
    return Check(result.name, result.passed, result.sentence, result.overridable)


def _measured(labels: Volume, seconds: float) -> Measurements:
    """The measurements of a label map, places in RAS as the scene has them."""
    from fedliver.cases.measure import measure

    measured = measure(labels)
    lesions = tuple(Lesion(one.ml, one.diameter_mm, _across(one.centre_lps)) for one in measured.lesions)
    return Measurements(measured.liver_ml, measured.tumour_ml, seconds, lesions)


def _across(place: tuple[float, float, float]) -> tuple[float, float, float]:
    """From LPS, which files speak, to RAS, which the scene speaks; and back."""
    return (-place[0], -place[1], place[2])


def _effort(case: "Case") -> Effort | None:
    approval = case.approval
    if approval is None:
        return None
    seconds, correction = approval.segmentation.seconds_spent, approval.correction
    if correction is None or correction.effort is None:
        return Effort(seconds)
    effort = correction.effort
    return Effort(seconds, effort.ml_changed, effort.slices_touched, effort.slices, effort.added_path_length_mm)


def _proposal(store: "CaseStore", case: "Case") -> Proposal | None:
    """What the teacher drew of a case, as it was before anyone changed it."""
    draft = case.draft
    labels = store.presegmentation(case)
    if draft is None or draft.teacher is None or labels is None:
        return None
    measured = _measured(labels, 0.0)
    teacher = TeacherIdentity(draft.teacher.name, draft.teacher.version, draft.teacher.sha256)
    places = tuple(Place(_across(place.position_mm), place.about) for place in draft.places)
    return Proposal(labels, measured.liver_ml, measured.tumour_ml, 0.0, teacher, measured.lesions, draft.expected_dice, places, store.doubt(case))
