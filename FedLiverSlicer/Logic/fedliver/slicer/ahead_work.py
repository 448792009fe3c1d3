"""Segmenting the new cases of the worklist before anyone opens them, so that the clinician never waits. No Qt, and nothing here touches the scene."""

from collections.abc import Callable
from typing import Any

from fedliver.slicer import panel_events as on
from fedliver.slicer.background import ThreadJob
from fedliver.slicer.panel_state import Requirements, Tone
from fedliver.slicer.site_desk import Counts, Foreseen
from fedliver.slicer.worklist_work import WorklistWork

_LEND_SECONDS = 0.005  # a hand that paints meanwhile must not feel it
_COUNT_AGAIN_SECONDS = 120.0  # scans come in by the command line, too


class AheadWork(WorklistWork):
    """One case at a time, at a lower priority, while nothing else runs; whatever else is begun stops it at once. Off until the clinician wants it.

    See :class:`~fedliver.slicer.panel_work.PanelWork` for the parameters.
    """

    def __init__(self, *seams: Any, **options: Any) -> None:
        super().__init__(*seams, **options)
        self._ahead: ThreadJob[Foreseen | None] | None = None
        self._passed_over: set[str] = set()
        self._counted = 0.0

    @property
    def needs_ticks(self) -> bool:
        return super().needs_ticks or self._ahead is not None

    def wish_ahead(self, wanted: bool) -> None:
        """The clinician's switch; remembered on this computer."""
        if wanted == self.state.ahead.wanted:
            return
        self._tell(on.AheadWished(wanted))
        self._passed_over.clear()
        self._guarded(lambda: self._desk.remember_ahead(wanted))
        if not wanted:
            self._stop_ahead()

    def tick(self) -> None:
        super().tick()
        self._take_ahead()

    def check_nodes(self) -> None:
        super().check_nodes()
        self._take_ahead()
        self._go_ahead()

    def _go_ahead(self) -> None:
        """Begin with the next new case, if there is one and nothing else to do."""
        state = self.state
        if not state.ahead.wanted or self._ahead is not None or state.busy or self.working or state.requirements is not Requirements.READY:
            return
        if not state.ahead.new:
            if self._clock() - self._counted > _COUNT_AGAIN_SECONDS:
                self._count()
            return
        strategy, passed_over = self.strategy, frozenset({*self._passed_over, state.case})
        self._ahead = ThreadJob(lambda watcher: self._desk.segment_ahead(strategy, passed_over, watcher), _LEND_SECONDS, gentle=True)
        self._tell(on.AheadReported(0.0))

    def _take_ahead(self) -> None:
        if self._ahead is None:
            return
        snapshot = self._ahead.poll()
        if not snapshot.finished:
            self._tell(on.AheadReported(round(snapshot.fraction, 2)))
            return
        self._ahead = None
        self._tell(on.AheadReported(None))
        if snapshot.error is not None:  # not this case's fault: it would be the same with the next
            words, _tone, details = self._in_words(snapshot.error)
            self._tell(on.AheadWished(False), on.Noticed(words, Tone.WARNING, details))
        elif snapshot.result is None:
            self._tell(on.NewCounted(0))
        else:
            if snapshot.result.problem:
                self._passed_over.add(snapshot.result.case)
                self._tell(on.AheadReported(None, snapshot.result.problem))
            self._count()

    def _count(self) -> None:
        """How many cases are approved, wait, and are new."""
        self._counted = self._clock()
        case = self.state.case
        self._look_aside("counts", lambda _watcher: self._desk.counts(case), self._show_counts)

    def _show_counts(self, counts: Counts) -> None:
        self._tell(on.ApprovedCasesCounted(counts.approved, counts.held_out), on.WaitingCounted(counts.waiting), on.NewCounted(counts.new))

    def _make_way(self, task: Callable[[Any], Any]) -> Callable[[Any], Any]:
        ahead = self._stop_ahead()
        if ahead is None:
            return task

        def when_it_has_stopped(watcher: Any) -> Any:
            """The processor is free then, and nothing is written to a case that is about to be opened."""
            ahead.wait()
            return task(watcher)

        return when_it_has_stopped

    def _stop_ahead(self) -> "ThreadJob[Foreseen | None] | None":
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            self._tell(on.AheadReported(None))
        return ahead
