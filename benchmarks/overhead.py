"""Overhead: what a round takes beside the training, ours against plain Flower and NVFLARE, side by side in one run.

    .venv/bin/python benchmarks/overhead.py             a quarter of an hour; writes docs/overhead.md
    .venv/bin/python benchmarks/overhead.py --long      then one round of 5 minutes of ours, into the same page

Linux. Leave the machine alone while it runs; the load average is in the results. NVFLARE is installed the first time, into benchmarks/.venv-nvflare.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import version
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from overhead_frameworks import Framework, flower, nvflare, ours, work_folder
from overhead_record import LONG_SECONDS, Kind, Measured, Overhead, page, read_memories, read_works
from own_environment import NotInstalled, python_with
from records import Machine, installed_versions, load_average, now

from fedliver.teacher.bundle import STARTER, load_bundle

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results" / "overhead.json", HERE.parent / "docs" / "overhead.md"
SAME = ("torch", "monai", "SimpleITK", "numpy", "pydantic")
POLLING = "0.2"
MARGIN = 1.4  # a long row of steps takes less for each than a few do: 454 steps that should have been 330 s were 259
Started = Callable[[Path], AbstractContextManager[Framework]]


def measure(name: str, started: Started, kinds: dict[Kind, int], rounds: int) -> list[Measured]:
    """Start a framework, and run rounds of each kind: so many training steps."""
    found = []
    with TemporaryDirectory() as place:
        root = Path(place)
        folder = root / "work"
        with work_folder(folder, load_bundle(STARTER).plan.model_dump_json()):
            began = time.monotonic()
            with started(root / name) as framework:
                setup = time.monotonic() - began
                for kind, steps in kinds.items():
                    (folder / "steps").write_text(str(steps))
                    for file in ("work.jsonl", "memory.jsonl"):
                        (folder / file).unlink(missing_ok=True)
                    began = time.monotonic()
                    framework.run(rounds)
                    seconds = time.monotonic() - began
                    one = Measured(
                        framework=name,
                        kind=kind,
                        steps=steps,
                        setup_seconds=0.0 if name.startswith("nvflare") else setup,
                        run_seconds=seconds,
                        works=read_works(folder / "work.jsonl"),
                        memories=read_memories(folder / "memory.jsonl"),
                    )
                    typer.echo(f"{name}, {kind}: the slowest sites worked {[round(slow, 1) for slow in one.slowest]} s, {seconds:.0f} s in all")
                    found.append(one)
    return found


def frameworks() -> tuple[dict[str, Started], tuple[str, ...]]:
    """By name, and what had to be left out."""
    found: dict[str, Started] = {"ours": ours, "flower": flower, "flower-polling": lambda root: flower(root, POLLING)}
    try:
        python = python_with("NVFLARE", HERE / ".venv-nvflare", HERE / "requirements-nvflare.txt", SAME)
    except NotInstalled as error:
        return found, (str(error),)
    return {
        **found,
        "nvflare-simulator": lambda root: nvflare(root, python, "simulator"),
        "nvflare-poc": lambda root: nvflare(root, python, "poc"),
    }, ()


def side_by_side(steps: int, rounds: int, only: list[str] | None) -> Overhead:
    """Every framework, one after the other; of each first the rounds of no work."""
    known, left_out = frameworks()
    machine, measured = Machine.here(), []
    for name, started in known.items():
        if only and name not in only:
            continue
        try:
            measured += measure(name, started, {"none": 0, "fixed": steps}, rounds)
        except RuntimeError as error:
            if name == "ours":
                raise
            left_out += (f"{name}: {' '.join(str(error).split())[-300:]}",)
            typer.echo(left_out[-1])
    nvflare_version = (HERE / "requirements-nvflare.txt").read_text().strip().split("==")[1]
    return Overhead(
        at=now(),
        machine=machine.model_copy(update={"load_after": load_average()}),
        versions={
            **{name: number for name, number in installed_versions().items() if name in ("fedliver", "torch")},
            "flwr": version("flwr"),
            "nvflare": nvflare_version,
        },
        parameters=sum(weight.numel() for weight in load_bundle(STARTER).network.parameters()),
        measured=tuple(measured),
        left_out=left_out,
    )


def with_long_round(found: Overhead) -> Overhead:
    """With one round of ours whose slowest site works for 5 minutes or a little longer."""
    fixed = found.of("ours", "fixed")
    if fixed is None:
        raise typer.BadParameter("the long round goes by what a step takes: run it without --long first")
    steps = ceil(MARGIN * LONG_SECONDS * fixed.steps / min(fixed.slowest))
    (one,) = measure("ours", ours, {"long": steps}, 1)
    return found.model_copy(update={"long": one, "long_load": load_average()})


def bench(
    steps: Annotated[int, typer.Option(min=1, help="Training steps of the work.")] = 20,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds of each kind; one less is counted.")] = 5,
    only: Annotated[list[str] | None, typer.Option(help="One framework, to see that it works; may be repeated. The page is not written then.")] = None,
    long: Annotated[bool, typer.Option("--long", help="Add the round of 5 minutes to what was measured.")] = False,
    page_only: Annotated[bool, typer.Option(help="Write the page anew from the record, and measure nothing.")] = False,
    record: Annotated[Path, typer.Option(help="Where the numbers are written.")] = RESULTS,
    target: Annotated[Path, typer.Option(help="Where the page is written.")] = PAGE,
) -> None:
    """Measure, write the record and the page."""
    if long or page_only:
        found = Overhead.model_validate_json(record.read_bytes())
        found = with_long_round(found) if long else found
    else:
        found = side_by_side(steps, rounds, only)
    if only:
        return
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(found.model_dump_json(indent=2) + "\n")
    target.write_text(page(found))


if __name__ == "__main__":
    typer.run(bench)
