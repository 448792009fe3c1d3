"""What stands in for the site, the federation and the installation in the panel's tests. Each records what it was asked."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedliver.errors import Cancelled, FedLiverError
from fedliver.image import Volume
from fedliver.site.policy import Policy
from fedliver.site.rules import EgressRules
from fedliver.slicer import panel_events as on
from fedliver.slicer.consent import consent_to
from fedliver.slicer.installation import Missing
from fedliver.slicer.panel_state import Account, Check, Effort, Environment, Processor
from fedliver.slicer.site_desk import Added, AddedScan, Comparison, Counts, Foreseen, Lesson, OpenedCase, Proposal, Submission, TeacherIdentity, Verdict
from fedliver.watch import Watcher, report

POLICY = Policy(contract="0" * 64)
TEACHER = TeacherIdentity("FedLiver starter", "0.1.0", "a" * 64)
PASSED = Check("same-grid", True, "The segmentation lies on the CT's grid.")


def threshold(ct: Volume) -> np.ndarray:
    """A segmentation that depends on the CT, so that a wrong one shows: soft tissue is liver, its bright part tumour."""
    return np.where(ct.array > 60, 2, np.where(ct.array > 20, 1, 0)).astype(np.uint8)


@dataclass
class Desk:
    """A site with a segmenter that takes a moment, and can be held until a test lets it go."""

    home: Path = Path("/nowhere")
    held: bool = False
    error: Exception | None = None
    verdict: Verdict | None = None
    comparison: Comparison = field(default_factory=lambda: Comparison(True, 0.90, 0.93, "Adopted."))
    approved: int = 0
    held_out: int = 0
    lessons: list[tuple[float, bool]] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    submissions: list[Submission] = field(default_factory=list)
    compared: list[Path] = field(default_factory=list)
    worklist: list[OpenedCase] = field(default_factory=list)
    asked_next: list[tuple[str, str, Submission | None]] = field(default_factory=list)
    exported: list[tuple[str, tuple[Path, ...]]] = field(default_factory=list)
    approvals: dict[str, str] = field(default_factory=dict)
    asked_ahead: list[str] = field(default_factory=list)
    ahead: bool = False
    excluded: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    added: Added = field(default_factory=lambda: Added(2, 0))
    effort: Effort | None = None
    threads: list[str] = field(default_factory=list)

    def segment(self, ct: Volume, watcher: Watcher) -> Proposal:
        self.threads.append(threading.current_thread().name)
        report(watcher, "Looking for the liver", 0.4)
        self.began.set()
        while self.held and not self.let_go.wait(0.01):
            if watcher.cancelled():
                self.cancelled.set()
                raise Cancelled("Looking for the liver")
        if self.error is not None:
            raise self.error
        labels = threshold(ct)
        ml = ct.geometry.voxel_ml
        return Proposal(ct.with_array(labels), np.count_nonzero(labels) * ml, np.count_nonzero(labels == 2) * ml, 1.0, TEACHER)

    def approve(self, submission: Submission, watcher: Watcher) -> Verdict:
        self.submissions.append(submission)
        if self.verdict is not None and not (submission.reason and all(c.passed or c.can_override for c in self.verdict.checks)):
            return self.verdict
        self.approved += 1
        case = submission.case or "C-" + "A" * 16
        self.approvals[case] = f"approval {self.approved}"
        return Verdict((PASSED,), self.approved, case, self.effort, None, len(self.worklist), self.approvals[case], self.held_out)

    def approval(self, case: str) -> str:
        return self.approvals.get(case, "")

    def counts(self, other_than: str = "") -> Counts:
        waiting = sum(opened.case != other_than for opened in self.worklist)
        return Counts(self.approved, waiting, sum(opened.labels is None for opened in self.worklist), self.held_out)

    def learn(self, minutes: float, unlabelled: bool, watcher: Watcher) -> Lesson:
        self.lessons.append((minutes, unlabelled))
        report(watcher, "Learning: step 3, loss 0.310", 0.4)
        self.began.set()
        while self.held and not self.let_go.wait(0.01):
            report(watcher, "Learning: step 3, loss 0.310", 0.4)
        return Lesson(True, "Learned 20 steps in 15 min. Adopted.")

    def segment_ahead(self, strategy: str, passed_over: frozenset[str], watcher: Watcher) -> Foreseen | None:
        """Segments the first case of ``worklist`` that has no labels; held as :meth:`segment` is."""
        found = next((n for n, opened in enumerate(self.worklist) if opened.labels is None and opened.case not in passed_over), None)
        if found is None:
            return None
        case = self.worklist[found]
        self.asked_ahead.append(case.case)
        try:
            proposal = self.segment(case.ct, watcher)
        except FedLiverError as error:
            return Foreseen(case.case, error.sentence)
        report(watcher, "", 1.0)
        self.worklist[found] = replace(case, labels=proposal.labels, proposal=proposal)
        return Foreseen(case.case)

    def wants_ahead(self) -> bool:
        return self.ahead

    def remember_ahead(self, wanted: bool) -> None:
        self.ahead = wanted

    def open_next(self, strategy: str, current: str, draft: Submission | None, watcher: Watcher) -> OpenedCase | None:
        self.asked_next.append((strategy, current, draft))
        return self.worklist.pop(0) if self.worklist else None

    def add_scans(self, folder: Path, watcher: Watcher) -> Added:
        """Held as :meth:`segment` is."""
        self.folders.append(folder)
        report(watcher, "Importing 2 of 4", 0.25)
        self.began.set()
        while self.held and not self.let_go.wait(0.01):
            report(watcher, "Importing 2 of 4", 0.25)
        return self.added

    def add_scan(self, ct: Volume, source: tuple[str, str, str] | None, watcher: Watcher) -> AddedScan:
        return AddedScan("C-" + "D" * 16, False)

    def settle_adding(self) -> None:
        pass

    def exclude(self, case: str) -> None:
        self.excluded.append(case)

    def export(self, case: str, files: Any, target: Path, watcher: Watcher) -> str:
        self.exported.append((case, tuple(files)))
        target.write_text("a DICOM SEG")
        return "1.2.3"

    def compare(self, candidate: Path, watcher: Watcher) -> Comparison:
        self.compared.append(candidate)
        return self.comparison

    def processor(self) -> Processor | None:
        return Processor(2, True)

    def teacher_name(self) -> str:
        return str(TEACHER)

    def knows(self, candidate: Path) -> bool:
        return False


@dataclass
class Link:
    """A federation whose answers a test writes into ``news``."""

    home: Path = Path("/nowhere")
    asked: list[str] = field(default_factory=list)
    news: list[object] = field(default_factory=list)
    before: list[object] = field(default_factory=list)
    candidate: Path | None = None
    rounds: list[Any] = field(default_factory=list)
    steps: tuple[Check, ...] = ()
    ledger: Account = field(default_factory=Account)
    bad_invitation: FedLiverError | None = None
    has_environment: bool = True
    slow_installer: bool = False

    def available(self) -> bool:
        return True

    def environment_ready(self) -> bool:
        return self.has_environment

    def environment(self) -> Environment:
        return Environment(self.has_environment, self.has_environment)

    def variables_for_another_python(self) -> dict[str, str]:
        assert threading.current_thread() is threading.main_thread(), "Slicer is asked in the window's thread only"
        return {"PATH": "/bin"}

    def examine_environment(self, variables: dict[str, str], watcher: Watcher) -> Environment:
        self.asked.append("examine")
        return Environment(True, True, "The federation's environment is whole: Flower 1.41.0.")

    def make_environment(self, variables: dict[str, str], wheels: Path | None, show: Callable[[str], None]) -> None:
        self.asked.append("make")
        show("Installing Flower")
        while self.slow_installer:
            show("Still installing")
        self.has_environment = True

    def remove_environment(self) -> None:
        self.asked.append("remove")
        self.has_environment = False

    def enrol(self, invitation: Path) -> None:
        if self.bad_invitation:
            raise self.bad_invitation
        self.asked.append(f"enrol {invitation.name}")
        self.news.append(on.InvitationOpened("North", consent=consent_to(POLICY, EgressRules())))

    def join(self) -> None:
        self.asked.append("join")

    def leave(self) -> None:
        self.asked.append("leave")

    def resume(self) -> list[object]:
        return self.before

    def poll(self) -> list[object]:
        news, self.news = self.news, []
        return news

    def examine(self, watcher: Watcher) -> tuple[Check, ...]:
        self.asked.append("test")
        return self.steps

    def account(self) -> Account:
        return self.ledger

    def history(self) -> list[Any]:
        return self.rounds

    def newest_candidate(self) -> Path | None:
        candidate, self.candidate = self.candidate, None
        return candidate


@dataclass
class Installed:
    """``packages``: what is missing; ``agrees``: the user's answer."""

    packages: tuple[str, ...] = ()
    agrees: bool = True
    asked: int = 0

    also: tuple[str, ...] = ()

    def missing(self, also: tuple[str, ...] = ()) -> Missing:
        return Missing(tuple(name for name in self.also if name in also) if also else self.packages)

    def ensure(self, _: Callable[[str], str] = str, also: tuple[str, ...] = ()) -> bool:
        self.asked += 1
        if self.agrees:
            self.packages, self.also = (self.packages, ()) if also else ((), self.also)
        return self.agrees


def seams(**changed: Any) -> dict[str, Any]:
    """The seams for ``Desktop.open_panel``."""
    return {"desk": Desk(), "link": Link(), "installation": Installed()} | changed
