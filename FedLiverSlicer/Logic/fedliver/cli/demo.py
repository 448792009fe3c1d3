"""``fedliver demo``: the whole loop on this machine, with progress, ending in a report."""

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fedliver.errors import FedLiverError

if TYPE_CHECKING:
    from fedliver.coordinator.records import RunEvent
    from fedliver.site.progress import ProgressEvent
    from fedliver.watch import Watcher


class _Phase:
    """One line of the display: a :class:`~fedliver.watch.Watcher`."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def report(self, phase: str, fraction: float) -> None:
        self._progress.update(self._task, completed=fraction, detail=phase)

    def cancelled(self) -> bool:
        return False


class _Display:
    """Narrates the demo: a line per phase, and a line per site while it trains."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=12), TimeElapsedColumn(), TextColumn("[dim]{task.fields[detail]}"))
        self.progress = Progress(*columns, console=Console(stderr=True))
        self._open: list[TaskID] = []
        self._sites: dict[str, TaskID] = {}

    def __enter__(self) -> "_Display":
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if kind is None:
            self._close()
        self.progress.stop()

    def _close(self) -> None:
        for task in [*self._open, *self._sites.values()]:
            self.progress.update(task, completed=1.0)
            self.progress.stop_task(task)
        self._open.clear()

    def phase(self, name: str) -> "Watcher":
        self._close()
        task = self.progress.add_task(name, total=1.0, detail="")
        self._open.append(task)
        return _Phase(self.progress, task)

    def run_event(self, event: "RunEvent") -> None:
        if self._open:
            self.progress.update(self._open[-1], completed=max(0, event.round - 1) / max(1, event.rounds), detail=event.sentence)

    def site_progress(self, site: str, event: "ProgressEvent") -> None:
        if site not in self._sites:
            self._sites[site] = self.progress.add_task(f"  {site}", total=1.0, detail="")
        done = (event.round - 1 + (event.step / event.total if event.total else 0.0)) / max(1, event.rounds)
        self.progress.update(self._sites[site], completed=min(1.0, done), detail=event.sentence)


def demo(
    out: Annotated[Path, typer.Option(help="Where the report, the segmentations and the scene go.")] = Path("demo-output"),
    ct: Annotated[Path | None, typer.Option(help="A real CT (DICOM folder, NIfTI, NRRD, MHA) for the segmentation part; default: a generated one.")] = None,
    reference: Annotated[Path | None, typer.Option(help="A person's segmentation of that CT, to score against.")] = None,
    series: Annotated[str | None, typer.Option(help="Which series of a DICOM folder that holds several.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Federated rounds.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each site in each round.")] = 30,
) -> None:
    """Show the whole loop: three generated hospitals, one coordinator, TLS and node keys, rounds, adoption, before and after."""
    if ct is None and (reference or series):
        raise FedLiverError("no-ct", "--reference and --series are of a CT: give --ct, or leave them away.")
    from fedliver.demo.journey import DemoSettings, run
    from fedliver.demo.report import write_report

    started = time.monotonic()
    with _Display() as display:
        result = run(DemoSettings(out.absolute(), ct, reference, series, rounds=rounds, steps=steps), display)
        display.phase("Writing the report")
        report = write_report(result, out / "report.html")
    for look in result.looks:
        score = f", liver Dice {look.scores.liver.dice:.3f}" if look.scores else ""
        typer.echo(f"{look.name}: {look.segmentation.sentence[:-1]}{score}.")
    for site, decision in zip(result.sites, result.decisions, strict=True):
        typer.echo(f"{site.hospital.name}: {decision.sentence}")
    typer.echo(f"Done in {(time.monotonic() - started) / 60:.1f} min. Open {report} in a browser and {result.scene} in 3D Slicer.")
