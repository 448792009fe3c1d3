"""``fedliver study federated``: what a hospital loses by not pooling its data, and what it wins over staying alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fedliver.cli.device import DeviceName
from fedliver.cli.progress import Bar

if TYPE_CHECKING:
    from fedliver.study.federated.engine import Engine
    from fedliver.study.federated.task import Task
    from fedliver.teacher.device import Device

EngineName = Literal["in-process", "flower"]


def federated(
    task: Annotated[
        str,
        typer.Option(
            help="A task file (TOML), or a shipped one: heart, heart-small, heart-shared-steps, heart-mm-whs, liver, liver-generated, "
            "chest-xray, chest-xray-small"
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder for results, tables, plots and report. An interrupted study goes on where it was.")],
    data: Annotated[Path | None, typer.Option(help="The data set, where the task does not say it.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds; default: the task's.", min=1, max=100)] = None,
    clients: Annotated[int | None, typer.Option(help="Only centralised and one federation of so many sites, equally large.", min=1, max=10_000)] = None,
    active: Annotated[int | None, typer.Option(help="With --clients: how many of them take part in a round.", min=1)] = None,
    engine: Annotated[EngineName, typer.Option(help="What runs the sites: this process, or Flower's simulation engine on Ray.")] = "in-process",
    workers: Annotated[int, typer.Option(help="Arms at a time, each in a process of its own.", min=1, max=256)] = 1,
    device: DeviceName = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Write tables and report from the results that are there; run nothing.")] = False,
) -> None:
    """Centralised, alone and federated, balanced and not, from the same weights and on the same test patients: scores, differences, costs."""
    with Bar("Federated study") as bar:
        bar.report("Starting", 0.0)
        from fedliver.study.federated.run import run_study
        from fedliver.study.federated.study_report import write_study

        studied = _task(task, data, seeds, clients, active)
        if not report_only:
            for _ in run_study(studied, out, _engine(engine, workers), bar, workers, _device(engine, device)):
                pass
        text = write_study(studied, out, _command(task, studied, seeds, clients, active, engine))
    typer.echo(text)


def _task(name: str, data: Path | None, seeds: int | None, clients: int | None, active: int | None) -> "Task":
    from fedliver.errors import FedLiverError
    from fedliver.study.federated.task import Arm, read_task

    task = read_task(name)
    if data is not None:
        if task.data.generates:
            raise FedLiverError("no-data", f"The task {task.name} generates its images: leave out --data, or give a task that reads them.")
        task = task.model_copy(update={"data": task.data.model_copy(update={"path": data.absolute()})})
    if seeds is not None:
        task = task.model_copy(update={"seeds": seeds})
    if active is not None and (clients is None or active > clients):
        raise FedLiverError("no-clients", "--active needs --clients, and not fewer of them.")
    if clients is not None:
        task = task.model_copy(update={"arms": (Arm(way="centralised"), Arm(way="federated", clients=clients, active=active))})
    return task


def _command(task: str, studied: "Task", seeds: int | None, clients: int | None, active: int | None, engine: EngineName) -> str:
    """What gives this study again, without a path: that may name a person."""
    said = ["fedliver study federated", f"--task {Path(task).name}", "--out OUT"]
    said += [] if studied.data.generates else ["--data DATA"]
    said += [f"--{name} {value}" for name, value in (("seeds", seeds), ("clients", clients), ("active", active)) if value is not None]
    return " ".join(said + (["--engine flower"] if engine == "flower" else []))


def _device(engine: EngineName, wanted: str | None) -> "Device":
    """The processor with Flower's engine: Ray hides the cards from whom it lends none."""
    from fedliver.errors import FedLiverError
    from fedliver.teacher.device import PROCESSOR, choose_device

    if engine == "in-process":
        return choose_device(wanted)
    if wanted not in (None, "auto", "cpu"):
        raise FedLiverError("one-engine", "Flower's simulation engine runs the sites on the processor here: leave out --device, or take --engine in-process.")
    return PROCESSOR


def _engine(name: EngineName, workers: int) -> "Engine":
    from fedliver.errors import FedLiverError
    from fedliver.study.federated.engine import InProcess

    if name == "in-process":
        return InProcess()
    if workers > 1:
        raise FedLiverError("one-engine", "Flower's simulation engine spreads the sites over the cores itself: leave out --workers.")
    from fedliver.study.federated.flower_engine import FlowerSimulation

    return FlowerSimulation()
