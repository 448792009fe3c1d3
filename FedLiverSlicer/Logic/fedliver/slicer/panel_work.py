"""What every part of the panel's work stands on: the state, one job at a time beside the window, and errors in words. No Qt."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from fedliver.error_details import details_of
from fedliver.errors import Cancelled, FedLiverError
from fedliver.slicer import panel_events as on
from fedliver.slicer.background import POLL_MILLISECONDS, Job, ThreadJob
from fedliver.slicer.federation_link import FederationLink
from fedliver.slicer.installation import Installation
from fedliver.slicer.panel_advance import advance
from fedliver.slicer.panel_state import PanelState, Requirements, Tone, Work
from fedliver.slicer.panel_view import Control, PanelView, Translate, view
from fedliver.slicer.site_desk import SiteDesk

_REDRAW_SECONDS = 0.5
_DONE = object()
_LOOKS = 6  # of 20 ms: well under what is felt as a freeze
Finish = Callable[[Any], Iterator[None] | None]
"""What becomes of a result: at once, or step by step, so that the window lives between the steps."""
_LOG = logging.getLogger("fedliver")


class PanelWork(ABC):
    """The state, and one piece of work at a time beside the window.

    Parameters
    ----------
    desk, link, installation:
        The site, the federation, and what must be installed first.
    changed:
        Called after every change of the state or of the chosen nodes.
    ask:
        Shows a question with OK and Cancel; True for OK.
    start_job:
        Runs work beside the window; a seam for tests.
    translate:
        ``slicer.i18n.translate``: context and text to text.
    """

    def __init__(
        self,
        desk: SiteDesk,
        link: FederationLink,
        installation: Installation,
        *,
        changed: Callable[[], None] = lambda: None,
        ask: Callable[[str], bool] = lambda question: False,
        start_job: Callable[[Callable[[Any], Any]], Job[Any]] = ThreadJob,
        clock: Callable[[], float] = time.monotonic,
        translate: Callable[[str, str], str] = lambda context, text: text,
    ) -> None:
        self.state = PanelState()
        self._desk, self._link, self._installation = desk, link, installation
        self._changed, self._ask, self._start_job, self._clock = changed, ask, start_job, clock
        self._: Translate = lambda text: translate("slicer.workflow", text)
        self._of_view: Translate = lambda text: translate("slicer.panel_view", text)
        self._job: Job[Any] | None = None
        self._finish: Finish = lambda result: None
        self._steps: Iterator[None] | None = None
        self._looks: dict[str, tuple[Job[Any], Callable[[Any], None]]] = {}

    # ---- what the panel shows

    @property
    def view(self) -> PanelView:
        return view(self.state, self._of_view)

    def is_live(self, control: Control) -> bool:
        return self.view.controls[control].live

    tick_milliseconds = POLL_MILLISECONDS
    """How often :meth:`tick` wants to be called while :attr:`needs_ticks`."""

    @property
    def working(self) -> bool:
        """Whether the panel is busy with what the user asked for."""
        return self._job is not None or self._steps is not None

    @property
    def needs_ticks(self) -> bool:
        """Whether anything runs that :meth:`tick` has to look at."""
        return self.working or bool(self._looks)

    # ---- time

    def tick(self) -> None:
        """What a fast timer calls while :attr:`needs_ticks`: shows progress, and takes the result when it is there."""
        self._take_looks()
        if self._steps is not None:
            self._guarded(self._step)
            return
        job = self._job
        if job is None:
            return
        snapshot = job.poll()
        if not snapshot.finished:
            self._show_progress(snapshot.phase, snapshot.fraction)
            return
        self._job = None
        if snapshot.error is not None:
            self._tell(on.WorkStopped(*self._in_words(snapshot.error)))
        else:
            self._guarded(lambda: self._take(snapshot.result))

    def _take(self, result: Any) -> None:
        self._steps = self._finish(result)
        if self._steps is not None:
            self._step()

    def _step(self) -> None:
        if self._steps is not None and next(self._steps, _DONE) is _DONE:
            self._steps = None
            self._changed()

    def _show_progress(self, phase: str, fraction: float) -> None:
        """Some forty looks a second are for the worker's sake; the panel is redrawn when there is something new to see."""
        shown, now = self.state.progress, self._clock()
        if (phase, fraction) != (shown.phase, shown.fraction) or now - shown.now >= _REDRAW_SECONDS:
            self._tell(on.WorkProgressed(phase, fraction, now))

    # ---- for the parts

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._tell(on.CancelRequested())

    def _abandon(self) -> None:
        self._steps = None
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _run(self, work: Work, task: Callable[[Any], Any], finish: Finish) -> None:
        self._tell(on.WorkStarted(work, self._clock()))
        self._finish = finish
        self._job = self._start_job(self._make_way(task))
        self._changed()

    def _make_way(self, task: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """``task``, or what lets something give way to it first."""
        return task

    def _look_aside(self, name: str, look: Callable[[Any], Any], finish: Callable[[Any], None], looks: int = _LOOKS) -> None:
        """Look something up in a thread, without the panel being busy: a large store takes most of a second. A quick answer is there at once, others
        come with a later :meth:`tick`. A newer look of the same name takes the place of an older one."""
        self._looks[name] = (ThreadJob(look), finish)
        for _ in range(looks):
            if name in self._looks:
                self._take_looks()
        if name in self._looks:
            self._changed()  # whoever calls tick() has to know

    def _take_looks(self) -> None:
        for name, (job, finish) in list(self._looks.items()):
            snapshot = job.poll()
            if not snapshot.finished:
                continue
            del self._looks[name]
            if snapshot.error is not None:
                self._tell(on.Noticed(*self._in_words(snapshot.error)))
            else:
                finish(snapshot.result)

    def _install_if_needed(self, also: tuple[str, ...] = ()) -> bool:
        """Install what segmentation needs, or what ``also`` names; False where the user declined or it failed."""
        if not also and self.state.requirements is Requirements.READY:
            return True
        if also and not self._installation.missing(also).packages:
            return True
        # Slicer's installers let the window live meanwhile: while the panel is busy, no button can start a second installation.
        self._tell(on.WorkStarted(Work.INSTALL, self._clock()), on.WorkProgressed(self._("Installing"), 0.0, self._clock()))
        try:
            installed = self._installation.ensure(self._, also)
        except FedLiverError as error:
            self._tell(on.WorkStopped(*self._in_words(error)))
            return False
        if not installed:
            declined = self._("Nothing was installed. You can outline by hand with Slicer's Segment Editor; press the button again to install.")
            self._tell(on.WorkStopped(declined, Tone.INFORMATION))
            return False
        self._tell(on.Installed())
        self.refresh()
        return True

    @abstractmethod
    def refresh(self) -> None:
        """Look at what may have changed outside the panel: what is installed, the teacher, the cases, the federation."""

    def _guarded(self, act: Callable[[], None]) -> None:
        """Whatever goes wrong becomes a sentence in the panel: an exception in a Qt slot would only reach the Python console."""
        try:
            act()
        except Exception as error:
            self._abandon()
            told = self._in_words(error)
            self._tell(on.WorkStopped(*told) if self.state.busy else on.Noticed(*told))

    def _in_words(self, error: BaseException) -> tuple[str, Tone, str]:
        """The sentence, how it is shown, and the details for whoever helps."""
        if isinstance(error, Cancelled):
            return self._stopped_in_words(), Tone.INFORMATION, ""
        if isinstance(error, FedLiverError):
            return error.sentence, Tone.ERROR, details_of(error)
        if isinstance(error, MemoryError):
            return self._("There is not enough memory: close other scans and programs, and try again."), Tone.ERROR, details_of(error)
        _LOG.error("Unexpected error in the panel.\n%s", details_of(error))
        words = self._("Something unexpected went wrong ({kind}); the details below are for whoever helps.").format(kind=type(error).__name__)
        return words, Tone.ERROR, details_of(error)

    def _stopped_in_words(self) -> str:
        return self._("Cancelled. Nothing was changed.")

    def _tell(self, *events: object) -> None:
        before = self.state
        for event in events:
            self.state = advance(self.state, event)
        if self.state != before:
            self._changed()
