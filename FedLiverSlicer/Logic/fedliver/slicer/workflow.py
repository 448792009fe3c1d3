"""The clinician's work as one object: what each press of a button does to the scene, the site and the panel's state. No Qt.

The panel calls a method per control, shows :attr:`Workflow.state` whenever ``changed`` is called, and calls :meth:`Workflow.tick`
from a fast timer while work runs, and :meth:`Workflow.poll_federation` from a slow one.
"""

from fedliver.slicer import panel_events as on
from fedliver.slicer.background import Job, ThreadJob
from fedliver.slicer.federation_work import FederationWork
from fedliver.slicer.panel_state import Membership, Requirements
from fedliver.slicer.site_desk import Counts
from fedliver.slicer.worklist_work import WorklistWork

_LOOKS = 6  # of 20 ms: well under what is felt as a freeze


class Workflow(WorklistWork, FederationWork):
    """See :class:`~fedliver.slicer.panel_work.PanelWork` for the parameters."""

    _counting: Job[Counts] | None = None

    def refresh(self) -> None:
        """Look at what may have changed outside the panel: what is installed, the teacher, the cases, the federation."""
        missing = self._installation.missing().packages
        self._tell(on.RequirementsKnown(Requirements.MISSING if missing else Requirements.READY))
        if not missing:
            self._guarded(self._look_at_the_site)

    def _look_at_the_site(self) -> None:
        self._tell(on.TeacherKnown(self._desk.teacher_name()))
        self._count()
        if self.state.membership is Membership.OUTSIDE and self._link.available():
            self._tell(*self._link.resume(), on.CurvesKnown(bool(self._link.history())), on.LedgerRead(self._link.account()))

    def _count(self) -> None:
        """Count the cases in a thread: ten thousand take most of a second. A few are there at once; many arrive with a later :meth:`check_nodes`."""
        case = self.state.case
        self._counting = ThreadJob(lambda _watcher: self._desk.counts(case))
        for _ in range(_LOOKS):
            if self._take_counts():
                return

    def _take_counts(self) -> bool:
        """Whether there is nothing left to wait for."""
        if self._counting is None:
            return True
        snapshot = self._counting.poll()
        if snapshot.finished:
            self._counting = None
            if snapshot.error is not None:
                self._tell(on.Noticed(*self._in_words(snapshot.error)))
            if snapshot.result is not None:
                self._tell(on.ApprovedCasesCounted(snapshot.result.approved), on.WaitingCounted(snapshot.result.waiting))
        return snapshot.finished

    def check_nodes(self) -> None:
        super().check_nodes()
        self._take_counts()

    def scene_closed(self) -> None:
        """Forget every node. What runs is asked to stop, and its result is not looked at."""
        self._abandon()
        self._overlay.forget()
        self._use_segmentation(None)
        self.ct_node = None
        self._proposals.clear()
        self._sources.clear()
        self._time.forget()
        self._untouched.clear()
        self._tell(on.SceneClosed())

    def close(self) -> None:
        """The panel goes away: nothing of ours may call it any more. A joined site stays joined, it does not need the panel."""
        self._changed = lambda: None
        self._abandon()
        self._overlay.show(None)
        self._edits.follow(None)
