"""The clinician's work as one object: what each press of a button does to the scene, the site and the panel's state. No Qt.

The panel calls a method per control, shows :attr:`Workflow.state` whenever ``changed`` is called, and calls :meth:`Workflow.tick`
from a fast timer while work runs, and :meth:`Workflow.poll_federation` from a slow one.
"""

from fedliver.slicer import panel_events as on
from fedliver.slicer.adding_work import AddingWork
from fedliver.slicer.federation_work import FederationWork
from fedliver.slicer.learning_work import LearningWork
from fedliver.slicer.panel_state import Membership, Requirements
from fedliver.slicer.preload import import_records, records_are_imported


class Workflow(AddingWork, LearningWork, FederationWork):
    """See :class:`~fedliver.slicer.panel_work.PanelWork` for the parameters."""

    def refresh(self) -> None:
        """Look at what may have changed outside the panel: what is installed, the teacher, the cases, the federation."""
        missing = self._installation.missing().packages
        self._tell(on.RequirementsKnown(Requirements.MISSING if missing else Requirements.READY))
        if missing:
            return
        if records_are_imported():
            self._guarded(self._look_at_the_site)
        elif "site" not in self._looks:  # the panel is on show before that is over
            self._look_aside("site", lambda _watcher: import_records(), lambda _: self._guarded(self._look_at_the_site), looks=0)

    def _look_at_the_site(self) -> None:
        self._tell(on.TeacherKnown(self._desk.teacher_name()))
        self._look_at_the_environment()
        if not self.state.ahead.wanted and self._desk.wants_ahead():
            self._tell(on.AheadWished(True))
        self._count()
        if self.state.membership is Membership.OUTSIDE and self._link.available():
            self._tell(*self._link.resume(), on.CurvesKnown(bool(self._link.history())), on.LedgerRead(self._link.account()))

    def poll_federation(self) -> None:
        if "site" not in self._looks:
            super().poll_federation()

    def scene_closed(self) -> None:
        """Forget every node. What runs is asked to stop, and its result is not looked at."""
        self._abandon()
        for name in ("result", "proposal"):
            self._looks.pop(name, None)
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
        self._stop_ahead()
        self._looks.clear()
        self._overlay.show(None)
        self._edits.follow(None)
