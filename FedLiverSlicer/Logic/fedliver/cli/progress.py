"""Progress bars on the terminal: rich's, on standard error, so that standard output stays a result."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Bar:
    """One bar that shows phase, percentage and time left. A :class:`~fedliver.watch.Watcher` and a training watcher; Ctrl-C interrupts."""

    def __init__(self, what: str) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._what = what
        self._task: TaskID = self._progress.add_task(what, total=1.0)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._progress.stop()

    def report(self, phase: str, fraction: float) -> None:
        self._progress.update(self._task, description=f"{self._what}: {phase}", completed=fraction)

    def step(self, n: int, total: int, loss: float) -> None:
        self._progress.update(self._task, description=f"{self._what}: step {n} of {total}, loss {loss:.3f}", completed=n / total)

    def cancelled(self) -> bool:
        return False
