"""Whether a new teacher becomes this site's teacher: only if it is not worse on the site's own held-out cases, in the liver and in its tumours."""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fedliver.cases.store import CaseStore
from fedliver.cases.teachers import LocalScore, Origin, TeacherShelf, TeacherVersion
from fedliver.errors import FedLiverError
from fedliver.image import Volume
from fedliver.site.home import SiteHome
from fedliver.site.judgement import TOLERANCE, Judgement, Part, Segmenter, in_words, judge, not_worse
from fedliver.watch import Silent, Watcher, report


class BundleSegmenter:
    """The real one. Keeps the last teacher loaded, since cases come teacher by teacher."""

    def __init__(self) -> None:
        self._loaded: tuple[Path, object] | None = None

    def __call__(self, bundle: Path, ct: Volume, watcher: Watcher) -> Volume:
        from fedliver.teacher.bundle import Teacher, load_bundle
        from fedliver.teacher.inference import segment

        if self._loaded is None or self._loaded[0] != bundle:
            self._loaded = (bundle, load_bundle(bundle))
        teacher = self._loaded[1]
        assert isinstance(teacher, Teacher)  # noqa: S101 for the type checker; Teacher is imported late
        return segment(teacher, ct, watcher).labels


@dataclass(frozen=True)
class AdoptionDecision:
    """What was decided, with both means over ``cases`` held-out cases (None where there is none to judge by, and of tumours where none has one)."""

    adopted: bool
    current_dice: float | None
    candidate_dice: float | None
    cases: int
    sentence: str
    current: str
    candidate: str
    current_tumour_dice: float | None = None
    candidate_tumour_dice: float | None = None


class AdoptionEntry(BaseModel):
    """One line of the adoption log."""

    model_config = ConfigDict(frozen=True)

    at: AwareDatetime
    event: str
    current: str
    candidate: str
    current_dice: float | None = None
    candidate_dice: float | None = None
    current_tumour_dice: float | None = None
    candidate_tumour_dice: float | None = None
    cases: int = 0
    forced: bool = False
    sentence: str = ""

    @property
    def decision(self) -> str:
        """What was decided about the candidate, in a few words; an event of a newer version as it is called."""
        words = {"adopted": "adopted by choice" if self.forced else "adopted", "kept": "not adopted", "rolled-back": "gone back to"}
        return words.get(self.event, self.event)


def compare_and_adopt(
    shelf: TeacherShelf,
    store: CaseStore,
    candidate: Path,
    watcher: Watcher | None = None,
    *,
    segmenter: Segmenter | None = None,
    origin: Origin | None = None,
    force: bool = False,
    tolerance: float = TOLERANCE,
) -> AdoptionDecision:
    """Put a candidate bundle on the shelf, judge it against the current teacher on every held-out case, and adopt it if it is not worse.

    Without a held-out case nothing is adopted. ``force`` is a person's explicit choice: it adopts whatever the numbers say, and the
    log says so. Both numbers go to the adoption log in the site's folder.

    Raises
    ------
    FedLiverError
        The candidate is unusable or damaged; the current teacher stays.
    Cancelled
        Nothing is adopted.
    """
    watcher, segmenter = watcher or Silent(), segmenter or BundleSegmenter()
    current = _usable_current(shelf, force=force)
    new = shelf.add(candidate, origin or Origin(source="import", parent=current.version if current else None))
    if current is None:
        return _adopt_in_place_of_a_broken_one(shelf, new.version)
    if new.sha256 == current.sha256:
        return AdoptionDecision(False, None, None, 0, "This teacher is the current one already.", current.version, new.version)
    examples = store.held_out_examples()
    both: tuple[Judgement, Judgement] | None = None
    if examples:
        old = judge(segmenter, current.bundle, examples, Part(watcher, "Scoring the current teacher", 0.0, 0.5))
        fresh = judge(segmenter, new.bundle, examples, Part(watcher, "Scoring the new teacher", 0.5, 0.5))
        both = (fresh, old)
        shelf.score(new.version, LocalScore(current=old.liver, candidate=fresh.liver, cases=len(examples)))
    good_enough = both is not None and not_worse(*both, tolerance)
    adopted = good_enough or force
    decision = AdoptionDecision(
        adopted=adopted,
        current_dice=both[1].liver if both else None,
        candidate_dice=both[0].liver if both else None,
        cases=len(examples),
        sentence=_sentence(both, adopted=adopted, good_enough=good_enough),
        current=current.version,
        candidate=new.version,
        current_tumour_dice=both[1].tumour if both else None,
        candidate_tumour_dice=both[0].tumour if both else None,
    )
    if adopted:
        shelf.adopt(new.version)
    record_event(_log_of(shelf), decision, "adopted" if adopted else "kept", forced=force and not good_enough)
    report(watcher, decision.sentence, 1.0)
    return decision


def _usable_current(shelf: TeacherShelf, *, force: bool) -> TeacherVersion | None:
    """The current teacher; None where it is broken and a person chose to replace it without a comparison."""
    try:
        return shelf.current()
    except FedLiverError:
        if force:
            return None
        raise


def _adopt_in_place_of_a_broken_one(shelf: TeacherShelf, version: str) -> AdoptionDecision:
    sentence = "Adopted by choice: the teacher before it is missing or damaged, so there was nothing to compare with."
    decision = AdoptionDecision(True, None, None, 0, sentence, "none", version)
    shelf.adopt(version)
    record_event(_log_of(shelf), decision, "adopted", forced=True)
    return decision


def roll_back(shelf: TeacherShelf) -> str:
    """Go back to the teacher before, note it in the log, and say so in a sentence. Raises what :meth:`TeacherShelf.roll_back` raises."""
    before = next((teacher.version for teacher in shelf.list() if teacher.is_current), "")
    now = shelf.roll_back().version
    sentence = f"Rolled back from {before} to {now}."
    record_event(_log_of(shelf), AdoptionDecision(False, None, None, 0, sentence, before, now), "rolled-back")
    return sentence


def record_event(log: Path, decision: AdoptionDecision, event: str, *, forced: bool = False) -> None:
    """Append a line to the log and sync it. Raises FedLiverError ``log-not-written``; what was decided stands."""
    entry = AdoptionEntry(
        at=datetime.now(UTC),
        event=event,
        current=decision.current,
        candidate=decision.candidate,
        current_dice=decision.current_dice,
        candidate_dice=decision.candidate_dice,
        current_tumour_dice=decision.current_tumour_dice,
        candidate_tumour_dice=decision.candidate_tumour_dice,
        cases=decision.cases,
        forced=forced,
        sentence=decision.sentence,
    )
    try:
        _append(log, entry.model_dump_json().encode())
    except OSError as error:
        sentence = f"{decision.sentence} But {log.name} could not be written ({error.strerror}): free some space, or give yourself permission to write it."
        raise FedLiverError("log-not-written", sentence) from error


def _append(log: Path, line: bytes) -> None:
    descriptor = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - 1, 0))
        torn = size > 0 and stream.read(1) != b"\n"
        stream.seek(0, os.SEEK_END)
        stream.write((b"\n" if torn else b"") + line + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_log(log: Path) -> list[AdoptionEntry]:
    """The entries, oldest first. A line torn by a crash is left out."""
    entries = []
    for line in log.read_bytes().splitlines() if log.is_file() else []:
        try:
            entries.append(AdoptionEntry.model_validate(json.loads(line)))
        except (ValueError, ValidationError):
            continue
    return entries


def _log_of(shelf: TeacherShelf) -> Path:
    return SiteHome(shelf.folder.parent).adoption_log


def _sentence(both: tuple[Judgement, Judgement] | None, *, adopted: bool, good_enough: bool) -> str:
    if both is None:
        if adopted:
            return "Adopted by choice: this site has no held-out case to judge the new teacher by."
        advice = "Approve more cases (the second patient is the first to be held out), or adopt it by choice with --force."
        return f"Not adopted: this site has no held-out case to judge by. {advice}"
    numbers = in_words(*both)
    if good_enough:
        return f"Adopted: {numbers}."
    if adopted:
        return f"Adopted by choice although it is worse here: {numbers}."
    return f"Not adopted, the current teacher is better here: {numbers}."
