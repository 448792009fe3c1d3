"""How many cases are approved, wait, and are new: looked up beside the window whenever they may have changed. No Qt."""

from fedliver.slicer import panel_events as on
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.site_desk import Counts, SiteDesk


class WorklistCounts:
    """Counts the site's cases, the open one left out of those that wait."""

    def __init__(self, session: PanelSession, desk: SiteDesk) -> None:
        self._session, self._desk = session, desk
        self._counted = 0.0

    @property
    def seconds_ago(self) -> float:
        """How long ago they were counted last."""
        return self._session.clock() - self._counted

    def count(self) -> None:
        """Count them anew; the panel shows it when it is known."""
        self._counted = self._session.clock()
        case = self._session.state.case
        self._session.look_aside("counts", lambda _watcher: self._desk.counts(case), self._show)

    def _show(self, counts: Counts) -> None:
        self._session.tell(on.ApprovedCasesCounted(counts.approved, counts.held_out), on.WaitingCounted(counts.waiting), on.NewCounted(counts.new))
