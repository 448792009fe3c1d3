"""Check the case in hand, and approve it. No Qt."""

from typing import Any

from fedliver.slicer import panel_events as on
from fedliver.slicer.case_work import CaseWork
from fedliver.slicer.packages_work import PackagesWork
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_state import Work
from fedliver.slicer.panel_view import Control
from fedliver.slicer.remembered import Remembered, digest, remember
from fedliver.slicer.site_desk import SiteDesk, Verdict
from fedliver.watch import Watcher


class ApprovingWork:
    """The case in hand to the site's quality checks and, if they let it pass, into its case store."""

    def __init__(self, session: PanelSession, desk: SiteDesk, packages: PackagesWork, case: CaseWork) -> None:
        self._session, self._desk, self._packages, self._case = session, desk, packages, case

    def write_reason(self, reason: str) -> None:
        """Why it is approved against a check that may be overruled."""
        self._session.tell(on.OverrideReasonWritten(reason))

    def press_approve(self) -> None:
        """Check the case, and approve it if the checks let it pass."""
        if self._session.is_live(Control.APPROVE) and self._packages.ensure():
            self._session.guarded(self._start)

    def _start(self) -> None:
        submission = self._case.submission()
        self._case.mark_judged()
        node = self._case.segmentation_node

        def work(watcher: Watcher) -> tuple[Verdict, str]:
            verdict = self._desk.approve(submission, watcher)
            return verdict, digest(submission.labels)

        self._session.run(Work.APPROVE, work, lambda made: self._show_verdict(made[0], made[1], node))

    def _show_verdict(self, verdict: Verdict, labels: str, node: Any) -> None:
        from fedliver.slicer.scene import CASE_ATTRIBUTE

        session, ct_node = self._session, self._case.ct_node
        if verdict.case and ct_node is not None:
            ct_node.SetAttribute(CASE_ATTRIBUTE, verdict.case)
        session.tell(on.CaseChecked(verdict.checks, verdict.approved_cases, verdict.case, verdict.effort, verdict.measurements))
        if verdict.approved_cases is not None:
            session.tell(on.ApprovedCasesCounted(verdict.approved_cases, verdict.held_out))
        if verdict.waiting is not None:
            session.tell(on.WaitingCounted(verdict.waiting))
        state = session.state
        remember(node, Remembered(labels, state.measurements, state.checks, state.effort, verdict.approval))
