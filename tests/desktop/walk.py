"""A walk through a desktop Slicer: steps that press and wait, driven by a timer of Slicer's own event loop, as a person's hand would be.

Each step is a generator that yields what it waits for. Between the yields no Python frame is on the stack, so the window holds
Python's lock just as it does while a person looks at it: pauses that would be felt are measured as they are felt.
"""

import json
import os
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import qt
import slicer
import stacks

TICK_MILLISECONDS = 20
PULSE_MILLISECONDS = 5


@dataclass(frozen=True)
class Until:
    """Wait until ``holds()``; a step fails when it does not within ``seconds``."""

    holds: Callable[[], bool]
    seconds: float = 60.0
    what: str = "it"


@dataclass(frozen=True)
class Pause:
    """Let the window live for a while."""

    seconds: float


Step = Callable[["Walk"], Generator[Until | Pause, None, str | None]]


@dataclass
class Outcome:
    """What came out of a step. ``longest_pause``: how long the window stood still at most, in seconds; ``busy``: how much at most
    of the processor this process took while it stood still, which a window that waits for Python's lock waits for too.

    ``computed``: how much at most the window's own thread computed between two beats. ``load``: of the computer, over the last minute.
    ``stolen``: the part of its processors' time that the host of a virtual machine gave to others; it can look like work of ours.

    On a computer that does other work, the first is longer than the second by what others took, and only the third is what it would be alone.
    """

    step: str
    passed: bool = False
    words: str = ""
    seconds: float = 0.0
    longest_pause: float = 0.0
    busy: float = 0.0
    computed: float = 0.0
    load: float = 0.0
    processors: int = 0
    stolen: float = 0.0


def processor_times() -> tuple[float, float]:
    """Ticks stolen by a virtual machine's host, and all ticks, since the computer started; (0, 0) where the system does not tell."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return 0.0, 0.0
    return float(ticks[7]), float(sum(ticks))


class Pulse:
    """Feels how long the event loop stands still. ``watched``: writes down where, see ``FEDLIVER_STACKS``."""

    def __init__(self, watched: stacks.Stacks | None = None) -> None:
        self._stacks = watched
        self._timer = qt.QTimer()
        self._timer.setInterval(PULSE_MILLISECONDS)
        self._timer.connect("timeout()", self._beat)
        self.reset()
        self._timer.start()

    def reset(self) -> None:
        self._last, self._worked, self._computed = time.monotonic(), time.process_time(), time.thread_time()
        self.gaps: list[tuple[float, float]] = []
        self.computing = 0.0

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Around what the walk itself does and no person would: it counts for nothing."""
        self._beat()
        yield
        self._last, self._worked, self._computed = time.monotonic(), time.process_time(), time.thread_time()

    def close(self) -> None:
        if self._stacks is not None:
            self._stacks.close()

    def longest(self) -> float:
        """Seconds on the clock on the wall."""
        return max([time.monotonic() - self._last, *(wall for wall, _ in self.gaps)])

    def busiest(self) -> float:
        """Seconds of the processor that all our threads took between two beats; never more than passed on the wall."""
        now = (time.monotonic() - self._last, time.process_time() - self._worked)
        return max(min(gap) for gap in [now, *self.gaps])

    def _beat(self) -> None:
        now, worked = time.monotonic(), time.process_time()
        self.gaps.append((now - self._last, worked - self._worked))
        self.computing = max(self.computing, time.thread_time() - self._computed)
        self._last, self._worked, self._computed = now, worked, time.thread_time()
        if self._stacks is not None:
            if self.gaps[-1][0] > stacks.OVERDUE_SECONDS:
                self._stacks.say(f"-- that was a pause of {self.gaps[-1][0]:.3f} s, {self.gaps[-1][1]:.3f} s of the processor\n")
            self._stacks.beat()


@dataclass
class Walk:
    """Goes through ``steps`` and leaves ``outcomes.json`` and pictures in ``folder``."""

    steps: list[Step]
    folder: Path
    finished: Callable[[], None] = lambda: None
    outcomes: list[Outcome] = field(default_factory=list)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        slicer.util.mainWindow().resize(1500, 960)  # without a window manager, as under Xvfb, it begins small
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        slicer.util.setDataProbeVisible(False)  # the panel has the whole height, as on a larger screen
        slicer.util.setApplicationLogoVisible(False)
        slicer.util.setModuleHelpSectionVisible(False)
        self.pulse = Pulse(stacks.Stacks(self.folder / "stacks.txt") if os.environ.get("FEDLIVER_STACKS") else None)
        self._left = list(self.steps)
        self._now: Generator[Until | Pause, None, str | None] | None = None
        self._waits: Until | Pause = Pause(0.0)
        self._since = time.monotonic()
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MILLISECONDS)
        self._timer.connect("timeout()", self._tick)
        self._timer.start()

    @property
    def panel(self) -> Any:
        return slicer.modules.FedLiverSlicerWidget

    @property
    def workflow(self) -> Any:
        return self.panel.workflow

    def idle(self, seconds: float = 120.0) -> Until:
        """Until nothing runs beside the window."""
        return Until(lambda: not self.workflow.working, seconds, "the work")

    def at(self, phase: str) -> Until:
        """Until the work has come to ``phase``, or is over."""
        return Until(lambda: self.workflow.state.progress.phase == phase or not self.workflow.working, 60.0, phase)

    def press(self, name: str) -> None:
        """Press a button of the panel as a hand does: a dead one fails the step, with its own reason."""
        button = getattr(self.panel.ui, name)
        expect(button.enabled, f"{name} is dead: {button.toolTip}")
        button.click()

    def picture(self, name: str, widget: Any = None, at: Any = None) -> None:
        """Keep how ``widget`` (the main window) looks; with ``at``, a widget of the panel, scrolled to the top."""
        with self.pulse.aside():
            if at is not None:
                self._scroll_to(at)
            (widget or slicer.util.mainWindow()).grab().save(str(self.folder / f"{name}.png"))

    def _scroll_to(self, widget: Any) -> None:
        area = widget.parentWidget()
        while not area.inherits("QScrollArea"):
            area = area.parentWidget()
        bar = area.verticalScrollBar()
        bar.value = widget.mapTo(area.widget(), qt.QPoint(0, 0)).y()
        slicer.app.processEvents()

    def answer_dialog(self, accept: bool, seen: list[str]) -> None:
        """Answer the next question box that comes up, and keep what it asked."""

        def answer() -> None:
            box = slicer.app.activeModalWidget()
            if box is None or not box.inherits("QMessageBox"):
                qt.QTimer.singleShot(100, answer)
                return
            seen.append(str(box.text))
            button = box.button(qt.QMessageBox.Ok if accept else qt.QMessageBox.Cancel)
            button.click()

        qt.QTimer.singleShot(200, answer)

    def _tick(self) -> None:
        if isinstance(self._waits, Until):
            try:
                held = self._waits.holds()
            except Exception as error:
                return self._fail(error)
            if not held:
                if time.monotonic() - self._since > self._waits.seconds:
                    self._fail(AssertionError(f"{self._waits.what} did not come within {self._waits.seconds:.0f} s"))
                return None
        elif time.monotonic() - self._since < self._waits.seconds:
            return None
        self._go_on()
        return None

    def _go_on(self) -> None:
        if self._now is None:
            if not self._left:
                self._end()
                return
            step = self._left.pop(0)
            self.outcomes.append(Outcome(step.__name__))
            self._began, self._ticks = time.monotonic(), processor_times()
            self.pulse.reset()
            self._now = step(self)
        try:
            self._waits = next(self._now)
            self._since = time.monotonic()
        except StopIteration as end:
            self._close(True, end.value or "")
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        traceback.print_exception(error)
        self.picture(f"failed-{self.outcomes[-1].step}")
        self._close(False, f"{type(error).__name__}: {error}")

    def _close(self, passed: bool, words: str) -> None:
        outcome = self.outcomes[-1]
        outcome.passed, outcome.words = passed, words
        outcome.seconds = round(time.monotonic() - self._began, 2)
        outcome.longest_pause, outcome.busy = round(self.pulse.longest(), 3), round(self.pulse.busiest(), 3)
        outcome.computed, outcome.load, outcome.processors = round(self.pulse.computing, 3), round(os.getloadavg()[0], 1), os.cpu_count() or 0
        stolen, ticks = (after - before for before, after in zip(self._ticks, processor_times(), strict=True))
        outcome.stolen = round(stolen / ticks, 3) if ticks else 0.0
        print(
            f"{'ok    ' if passed else 'FAILED'} {outcome.step}: {words} ({outcome.seconds} s, longest pause {outcome.longest_pause} s, busy {outcome.busy} s)",
            flush=True,
        )
        self._write()
        self._now, self._waits, self._since = None, Pause(0.2), time.monotonic()

    def _write(self) -> None:
        lines = ["| step | came out | seconds | window stood still | of it own work | the window computed |", "|---|---|---|---|---|---|"]
        for outcome in self.outcomes:
            words = outcome.words.replace("|", "/").replace("\n", " ")
            numbers = f"{outcome.seconds:.1f} | {outcome.longest_pause:.2f} | {outcome.busy:.2f} | {outcome.computed:.2f}"
            lines.append(f"| {outcome.step.replace('_', ' ')} | {'' if outcome.passed else '**failed** '}{words} | {numbers} |")
        (self.folder / "outcomes.md").write_text("\n".join(lines) + "\n")
        (self.folder / "outcomes.json").write_text(json.dumps([asdict(outcome) for outcome in self.outcomes], indent=1))

    def _end(self) -> None:
        self._timer.stop()
        self.pulse.close()
        failed = [outcome.step for outcome in self.outcomes if not outcome.passed]
        print(f"{len(self.outcomes) - len(failed)} of {len(self.outcomes)} steps passed" + (f"; failed: {', '.join(failed)}" if failed else ""), flush=True)
        self.finished()
        slicer.app.exit(1 if failed else 0)


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def chosen_steps(everything: list[Step]) -> list[Step]:
    """All, or those whose names are in ``FEDLIVER_STEPS``, separated by commas."""
    wanted = [name for name in os.environ.get("FEDLIVER_STEPS", "").split(",") if name]
    return [step for step in everything if not wanted or step.__name__ in wanted]
