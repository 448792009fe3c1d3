"""What every part of the panel's work is given: the state, one job at a time beside the window, quick looks aside, and errors in words. No Qt."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fedliver.error_details import details_of
from fedliver.errors import Cancelled, FedLiverError
from fedliver.slicer import panel_events as on
from fedliver.slicer.background import Job, ThreadJob
from fedliver.slicer.panel_advance import advance
from fedliver.slicer.panel_state import PanelState, Tone, Work
from fedliver.slicer.panel_view import Control, PanelView, view
from fedliver.slicer.translation import by_file

_REDRAW_SECONDS = 0.5
_DONE = object()
_LOOKS = 6  # of 20 ms: well under what is felt as a freeze
_LOG = logging.getLogger("fedliver")

Finish = Callable[[Any], Iterator[None] | None]
"""What becomes of a result: at once, or step by step, so that the window lives between the steps."""
GiveWay = Callable[[], Callable[[], None] | None]
"""Asks what runs of its own accord to stop, and returns what waits in a worker thread until it has; None where nothing runs."""


@dataclass(frozen=True)
class _Running:
    """What belongs to the work that was begun last, until it is over. ``stopped``: what is said when it is cancelled; ``ended``: called however it ended."""

    finish: Finish = lambda result: None
    stopped: str = ""
    ended: Callable[[], None] = lambda: None


class PanelSession:
    """One opening of the panel: what it knows, and the one piece of work that it is busy with. The parts of the work are given it, it knows none of them.

    ``state`` changes by :meth:`tell` alone. ``clock`` and ``ask`` are the ones given; ``translated`` is ``_`` for every part of the work.

    Parameters
    ----------
    changed:
        Called after every change of the state or of the chosen nodes.
    ask:
        Shows a question with OK and Cancel; True for OK.
    start_job:
        Runs work beside the window; a seam for tests.
    clock:
        Seconds that never go back.
    translate:
        ``slicer.i18n.translate``: context and text to text.
    """

    def __init__(
        self,
        *,
        changed: Callable[[], None] = lambda: None,
        ask: Callable[[str], bool] = lambda question: False,
        start_job: Callable[[Callable[[Any], Any]], Job[Any]] = ThreadJob,
        clock: Callable[[], float] = time.monotonic,
        translate: Callable[[str, str], str] = lambda context, text: text,
    ) -> None:
        self.state = PanelState()
        self.ask, self.clock = ask, clock
        self.translated = by_file(translate)
        self._changed, self._start_job = changed, start_job
        self._job: Job[Any] | None = None
        self._steps: Iterator[None] | None = None
        self._running = _Running()
        self._looks: dict[str, tuple[Job[Any], Callable[[Any], None]]] = {}
        self._first_stopped: list[GiveWay] = []

    # ---- what the panel shows

    @property
    def view(self) -> PanelView:
        return view(self.state, self.translated)

    def is_live(self, control: Control) -> bool:
        return self.view.controls[control].live

    def tell(self, *events: object) -> None:
        """Let the state follow what has happened."""
        before = self.state
        for event in events:
            self.state = advance(self.state, event)
        if self.state != before:
            self._changed()

    def show_again(self) -> None:
        """Something is to be seen that the state does not tell, as another node in hand."""
        self._changed()

    # ---- time

    @property
    def working(self) -> bool:
        """Whether the panel is busy with what the user asked for."""
        return self._job is not None or self._steps is not None

    @property
    def needs_ticks(self) -> bool:
        """Whether anything runs that :meth:`tick` has to look at."""
        return self.working or bool(self._looks)

    def tick(self) -> None:
        """Show progress, and take the result of the work and of every look aside when it is there."""
        self._take_looks()
        if self._steps is not None:
            self.guarded(self._step)
        elif self._job is not None:
            self._look_at(self._job)
        if not self.working:
            self._over()

    def _look_at(self, job: Job[Any]) -> None:
        snapshot = job.poll()
        if not snapshot.finished:
            self._show_progress(snapshot.phase, snapshot.fraction)
            return
        self._job = None
        if snapshot.error is not None:
            self.tell(on.WorkStopped(*self.in_words(snapshot.error)))
        else:
            self.guarded(lambda: self._take(snapshot.result))

    def _take(self, result: Any) -> None:
        self._steps = self._running.finish(result)
        if self._steps is not None:
            self._step()

    def _step(self) -> None:
        if self._steps is not None and next(self._steps, _DONE) is _DONE:
            self._steps = None
            self._changed()

    def _show_progress(self, phase: str, fraction: float) -> None:
        """Some forty looks a second are for the worker's sake; the panel is redrawn when there is something new to see."""
        shown, now = self.state.progress, self.clock()
        if (phase, fraction) != (shown.phase, shown.fraction) or now - shown.now >= _REDRAW_SECONDS:
            self.tell(on.WorkProgressed(phase, fraction, now))

    # ---- one piece of work

    def run(self, work: Work, task: Callable[[Any], Any], finish: Finish, *, stopped: str = "", ended: Callable[[], None] = lambda: None) -> None:
        """Begin a piece of work beside the window.

        Parameters
        ----------
        task:
            For a worker thread; gets a watcher.
        finish:
            What becomes of its result, in the window's thread.
        stopped:
            What is said when it was cancelled, if something of it stays.
        ended:
            Called once, in the window's thread, after a result as after an error, and when it is abandoned.
        """
        self.tell(on.WorkStarted(work, self.clock()))
        self._running = _Running(finish, stopped, ended)
        self._job = self._start_job(self._after_the_others(task))
        self.show_again()

    def stops_first(self, give_way: GiveWay) -> None:
        """From now on, whatever is begun by :meth:`run` calls ``give_way``, and begins when what that stops has ended."""
        self._first_stopped.append(give_way)

    def _after_the_others(self, task: Callable[[Any], Any]) -> Callable[[Any], Any]:
        waits = [wait for give_way in self._first_stopped if (wait := give_way()) is not None]

        def when_they_have_stopped(watcher: Any) -> Any:
            """The processor is free then, and nothing is written to a case that is about to be opened."""
            for wait in waits:
                wait()
            return task(watcher)

        return when_they_have_stopped if waits else task

    def cancel(self) -> None:
        """Ask the running work to stop."""
        if self._job is not None:
            self._job.cancel()
            self.tell(on.CancelRequested())

    def abandon(self) -> None:
        """Ask the running work to stop, and do not look at its result."""
        self._steps = None
        if self._job is not None:
            self._job.cancel()
            self._job = None
        self._over()

    def _over(self) -> None:
        over, self._running = self._running, _Running()
        over.ended()

    def close(self) -> None:
        """The panel goes away: nothing of ours may call it any more."""
        self._changed = lambda: None
        self.abandon()
        self._looks.clear()

    # ---- looks aside

    def look_aside(self, name: str, look: Callable[[Any], Any], finish: Callable[[Any], None], looks: int = _LOOKS) -> None:
        """Look something up in a thread, without the panel being busy: a large store takes most of a second. A quick answer is there at once, others
        come with a later :meth:`tick`. A newer look of the same name takes the place of an older one."""
        self._looks[name] = (ThreadJob(look), finish)
        for _ in range(looks):
            if name in self._looks:
                self._take_looks()
        if name in self._looks:
            self._changed()  # whoever calls tick() has to know

    def is_looking(self, name: str) -> bool:
        """Whether the look of this name has not brought its answer yet."""
        return name in self._looks

    def drop_looks(self, *names: str) -> None:
        """Nobody wants the answers any more."""
        for name in names:
            self._looks.pop(name, None)

    def _take_looks(self) -> None:
        for name, (job, finish) in list(self._looks.items()):
            snapshot = job.poll()
            if not snapshot.finished:
                continue
            del self._looks[name]
            if snapshot.error is not None:
                self.tell(on.Noticed(*self.in_words(snapshot.error)))
            else:
                finish(snapshot.result)

    # ---- errors

    def guarded(self, act: Callable[[], None]) -> None:
        """Whatever goes wrong becomes a sentence in the panel: an exception in a Qt slot would only reach the Python console."""
        try:
            act()
        except Exception as error:
            self.abandon()
            told = self.in_words(error)
            self.tell(on.WorkStopped(*told) if self.state.busy else on.Noticed(*told))

    def in_words(self, error: BaseException) -> tuple[str, Tone, str]:
        """The sentence, how it is shown, and the details for whoever helps."""
        _ = self.translated
        if isinstance(error, Cancelled):
            return self._running.stopped or _("Cancelled. Nothing was changed."), Tone.INFORMATION, ""
        if isinstance(error, FedLiverError):
            return error.sentence, Tone.ERROR, details_of(error)
        if isinstance(error, MemoryError):
            return _("There is not enough memory: close other scans and programs, and try again."), Tone.ERROR, details_of(error)
        _LOG.error("Unexpected error in the panel.\n%s", details_of(error))
        words = _("Something unexpected went wrong ({kind}); the details below are for whoever helps.").format(kind=type(error).__name__)
        return words, Tone.ERROR, details_of(error)
