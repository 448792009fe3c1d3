"""What compression saves between coordinator and sites, and what it costs in Dice: the same rounds with and without, on generated patients.

Everything but Flower's processes is real: the coordinator's rounds, the sites' filters, ledgers and training. Only the transport is a stand-in, so that the
rounds take as long as their training. The results go to ``docs/traffic.md`` and, as JSON, to ``results/traffic.json``.
"""

import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from records import Machine, installed_versions, load_average, now
from rich.console import Console
from traffic_record import Arm, Experiment, SlowLink, Traffic
from traffic_sites import Federation, Patients

from fedliver.evaluation.metrics import dice
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.policy import Compression
from fedliver.teacher.bundle import STARTER, load_bundle, save_bundle
from fedliver.teacher.inference import segment
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import TrainingSettings

HERE = Path(__file__).resolve().parent
COMPRESSIONS: tuple[Compression, ...] = ("none", "int8")
SITES = {
    "A": PhantomSettings(spacing_mm=(3.0, 3.0, 3.0), noise_hu=10.0),
    "B": PhantomSettings(spacing_mm=(3.0, 3.0, 3.0), phase="arterial", noise_hu=25.0),
    "C": PhantomSettings(spacing_mm=(3.0, 3.0, 3.0), phase="plain", patient_size=1.15),
}
"""Sites whose scanners differ: that is what drifts apart in a round."""
console = Console(stderr=True)


def bench(
    quick: Annotated[bool, typer.Option(help="Two rounds of the tiny network: to see that it works. The numbers mean nothing.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each run.")] = 10,
    shipped_steps: Annotated[int, typer.Option(min=0, help="Training steps of a site in a round with the shipped network; 0 leaves it out.")] = 3,
    repeats: Annotated[int, typer.Option(min=0, help="How often the tiny network is trained, from another start each time; 0 leaves it out.")] = 3,
    page_only: Annotated[bool, typer.Option(help="Write the page anew from the records, and measure nothing.")] = False,
    out: Annotated[Path, typer.Option(help="The page for people.")] = HERE.parent / "docs" / "traffic.md",
    record: Annotated[Path, typer.Option(help="The same as JSON.")] = HERE / "results" / "traffic.json",
) -> None:
    """Measure, write the page and the record."""
    if page_only:
        _write_page(Traffic.model_validate_json(record.read_bytes()), out)
        return
    logging.getLogger("flwr").setLevel(logging.ERROR)
    known = Traffic(quick=quick, experiments=())
    if record.exists() and not quick:
        known = Traffic.model_validate_json(record.read_bytes())
    count, starts = (2, 1) if quick else (rounds, repeats)
    with TemporaryDirectory() as folder:
        if starts:
            known = known.with_(_tiny(Path(folder), count, starts, TrainingSettings(steps=10 if quick else 80, learning_rate=3e-3, threads=1)))
        if shipped_steps and not quick:
            known = known.with_(_shipped(Path(folder), count, TrainingSettings(steps=shipped_steps, threads=1)))
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(known.model_dump_json(indent=2) + "\n")
    _write_page(known, out)
    for one in known.experiments:
        typer.echo(f"{one.network}: {one.times_fewer_up:.1f} times fewer bytes up, {one.times_fewer_down:.1f} down, Dice lost {one.dice_lost:+.4f}")


def _write_page(traffic: Traffic, out: Path) -> None:
    slow = HERE / "results" / "slow_link.json"
    out.write_text(traffic.markdown(SlowLink.model_validate_json(slow.read_bytes()) if slow.exists() else None))


def _tiny(root: Path, rounds: int, starts: int, training: TrainingSettings) -> Experiment:
    """A network that knows nothing yet: the rounds teach it everything, so that whatever compression spoils would show."""
    plan = TeacherPlan.tiny()
    machine = Machine.here()
    patients = Patients.of({name: replace(settings, spacing_mm=(8.0, 8.0, 8.0)) for name, settings in SITES.items()}, 4, root / "tiny-patients")
    runs = []
    for start in range(starts):
        bundle = _untrained(plan, start, root / f"tiny-{start}")
        runs.append([_run(root / f"tiny-{start}-{how}", bundle, patients, rounds, training, how) for how in COMPRESSIONS])
    return _experiment("tiny, from random weights", rounds, training, len(SITES), machine, runs)


def _shipped(root: Path, rounds: int, training: TrainingSettings) -> Experiment:
    """The network that travels in earnest."""
    patients = Patients.of(dict(list(SITES.items())[:2]), 2, root / "shipped-patients")
    machine = Machine.here()
    arms = [_run(root / f"shipped-{how}", STARTER, patients, rounds, training, how) for how in COMPRESSIONS]
    return _experiment("the shipped one, from its own weights", rounds, training, len(patients.sites), machine, [arms])


def _experiment(network: str, rounds: int, training: TrainingSettings, sites: int, machine: Machine, runs: list[list[Arm]]) -> Experiment:
    """``runs``: of every start an arm without and one with compression."""
    without, with_ = zip(*runs, strict=True)
    machine = machine.model_copy(update={"load_after": load_average()})
    facts = {"network": network, "rounds": rounds, "steps": training.steps, "sites": sites}
    return Experiment(**facts, at=now(), machine=machine, versions=installed_versions(), without=without, with_=with_)


def _untrained(plan: TeacherPlan, seed: int, target: Path) -> Path:
    import torch

    from fedliver.teacher.network import build_network

    torch.manual_seed(seed)
    save_bundle(build_network(plan), plan, target, name="tiny", version="0")
    return target


def _run(root: Path, bundle: Path, patients: Patients, rounds: int, training: TrainingSettings, compression: Compression) -> Arm:
    console.print(f"{root.name}: {rounds} rounds")
    federation = Federation(root, bundle, patients, training)
    federation.run(rounds, compression)
    teacher = load_bundle(federation.teacher(rounds))
    found = [dice(segment(teacher, ct).labels.array > 0, labels.array > 0) for ct, labels in map(generate, patients.held_out)]
    up, down = federation.megabytes()
    return Arm(
        compression=compression,
        dice=float(np.mean(found)),
        up=float(np.mean(up)),
        down=float(np.mean(down[1:])),
        first_down=down[0],
        plain=federation.plain,
    )


if __name__ == "__main__":
    typer.run(bench)
