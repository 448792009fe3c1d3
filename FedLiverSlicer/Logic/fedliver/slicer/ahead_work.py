"""Segmenting the new cases of the worklist before anyone opens them, so that the clinician never waits. No Qt, and nothing here touches the scene."""

from collections.abc import Callable

from fedliver.slicer import panel_events as on
from fedliver.slicer.background import ThreadJob
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_state import Requirements, Tone
from fedliver.slicer.site_desk import Foreseen, SiteDesk
from fedliver.slicer.worklist_counts import WorklistCounts
from fedliver.slicer.worklist_work import WorklistWork

_LEND_SECONDS = 0.005  # a hand that paints meanwhile must not feel it
_COUNT_AGAIN_SECONDS = 120.0  # scans come in by the command line, too


class AheadWork:
    """One case at a time, at a lower priority, while nothing else runs; whatever else is begun stops it at once. Off until the clinician wants it."""

    def __init__(self, session: PanelSession, desk: SiteDesk, worklist: WorklistWork, counts: WorklistCounts) -> None:
        self._session, self._desk, self._worklist, self._counts = session, desk, worklist, counts
        self._ahead: ThreadJob[Foreseen | None] | None = None
        self._passed_over: set[str] = set()
        session.stops_first(self.stop)

    @property
    def needs_ticks(self) -> bool:
        """Whether a case is in work that :meth:`tick` has to look at."""
        return self._ahead is not None

    def recall_wish(self) -> None:
        """What the clinician wanted on this computer before is wanted again."""
        if not self._session.state.ahead.wanted and self._desk.wants_ahead():
            self._session.tell(on.AheadWished(True))

    def wish(self, wanted: bool) -> None:
        """The clinician's switch; remembered on this computer."""
        if wanted == self._session.state.ahead.wanted:
            return
        self._session.tell(on.AheadWished(wanted))
        self._passed_over.clear()
        self._session.guarded(lambda: self._desk.remember_ahead(wanted))
        if not wanted:
            self.stop()

    def go_on(self) -> None:
        """Begin with the next new case, if there is one and nothing else to do."""
        session, state = self._session, self._session.state
        if not state.ahead.wanted or self._ahead is not None or state.busy or session.working or state.requirements is not Requirements.READY:
            return
        if not state.ahead.new:
            if self._counts.seconds_ago > _COUNT_AGAIN_SECONDS:
                self._counts.count()
            return
        strategy, passed_over = self._worklist.strategy, frozenset({*self._passed_over, state.case})
        self._ahead = ThreadJob(lambda watcher: self._desk.segment_ahead(strategy, passed_over, watcher), _LEND_SECONDS, gentle=True)
        session.tell(on.AheadReported(0.0))

    def tick(self) -> None:
        """Show how far the case is, or take its result when it is there."""
        if self._ahead is None:
            return
        snapshot = self._ahead.poll()
        if not snapshot.finished:
            self._session.tell(on.AheadReported(round(snapshot.fraction, 2)))
            return
        self._ahead = None
        self._session.tell(on.AheadReported(None))
        if snapshot.error is not None:  # not this case's fault: it would be the same with the next
            words, _tone, details = self._session.in_words(snapshot.error)
            self._session.tell(on.AheadWished(False), on.Noticed(words, Tone.WARNING, details))
        elif snapshot.result is None:
            self._session.tell(on.NewCounted(0))
        else:
            if snapshot.result.problem:
                self._passed_over.add(snapshot.result.case)
                self._session.tell(on.AheadReported(None, snapshot.result.problem))
            self._counts.count()

    def stop(self) -> Callable[[], None] | None:
        """Stop it at once. Returns what waits, in a worker thread, until it has really ended; None where nothing ran."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        ahead.cancel()
        self._session.tell(on.AheadReported(None))
        return ahead.wait
