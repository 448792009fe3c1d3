"""Faults in the middle of a round: real Flower processes with TLS, a coordinator and two sites in network namespaces of their own.

    sudo .venv/bin/python benchmarks/faults.py          writes docs/faults.md; about half an hour

Every fault is played in the same federation, one after the other, while hospital A trains. After it people put right what is broken, and the next round must
have both sites. Needs root on Linux, with ``ip``, and Debian's package ``faketime``.
"""

import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from fault_plays import BOTH, FAILS, GOES_ON, Fault, faults
from fault_trial import A, B, Trial, approve_patients, own_disk
from namespaces import COORDINATOR, Federation, Network
from records import Machine, Record, load_average, now

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "faults.json", ROOT / "docs" / "faults.md"
STEPS = 60


class Played(Record):
    """What came of a fault."""

    name: str
    must: str
    held: bool
    came: str
    """How the round or the run ended, in the words that the coordinator's people read."""
    said: str = ""
    """What a command said to the person who typed it."""
    seconds: float
    next_round: str
    cases_kept: bool


def play(fault: Fault, trial: Trial) -> Played:
    """Play one fault, put things right, and run the next round."""
    cases, rounds, began = trial.cases(), len(trial.rounds()), time.monotonic()
    trial.said = ""
    fault.before(trial)
    trial.start_run(**(fault.policy or {}))
    trial.until_training()
    fault.happen(trial)
    trial.end_of_run()
    seconds = time.monotonic() - began
    held, came = _came_of_it(fault, trial, rounds)
    fault.amend(trial)
    following = _next_round(trial)
    return Played(
        name=fault.name,
        must=fault.must,
        held=held and following == "both sites" and trial.cases() == cases,
        came=came,
        said=trial.said[-400:],
        seconds=seconds,
        next_round=following,
        cases_kept=trial.cases() == cases,
    )


def _came_of_it(fault: Fault, trial: Trial, rounds: int) -> tuple[bool, str]:
    new = [record for record in trial.rounds()[rounds:] if record.aggregated]
    if trial.run is None or trial.run.code or not new:
        sentence = trial.run.sentence if trial.run else ""
        return fault.must == FAILS and bool(sentence or trial.run is None or trial.run.code), f"the run ended: {sentence or 'killed'}"
    notes = {update.site: update.refused for update in new[-1].updates}
    used = [site for site, refused in notes.items() if not refused]
    if len(used) == 2:
        return fault.must == BOTH, "the round closed with both sites"
    return fault.must == GOES_ON and used == ["Hospital B"] and bool(notes.get("Hospital A")), f"the round closed without Hospital A: {notes.get('Hospital A')}"


def _next_round(trial: Trial) -> str:
    trial.start_run(quorum=2)
    trial.end_of_run()
    if trial.run and trial.run.code:
        return f"failed: {trial.run.sentence}"
    used = [update.site for update in trial.rounds()[-1].updates if not update.refused]
    return "both sites" if len(used) == 2 else f"only {', '.join(used)}"


def page(played: list[Played], machine: Machine, left: int) -> str:
    """The table."""
    from fedliver.evaluation.markdown import markdown_table

    rows = [
        (
            one.name,
            one.must,
            _yes(one.held),
            one.came + (f". Said: {one.said}" if one.said else ""),
            one.next_round,
            _yes(one.cases_kept),
            f"{one.seconds:.0f}",
        )
        for one in played
    ]
    table = markdown_table(("fault, while A trains", "must be", "held", "what came of it", "next round", "approved cases kept", "s"), rows)
    return (
        "# Faults in the middle of a round\n\nA real federation: coordinator and two hospitals, each in a network namespace of its own, TLS, node keys, and "
        "Flower's own processes; a tiny network on generated patients, quorum 1. Each fault happens while hospital A trains. "
        "Then people put right what is broken (join again, start the coordinator again, plug the cable in), and the next round is asked to have both sites.\n\n"
        f"{table}\n\nAfter the last one everybody left: {left} processes were still there.\n\n"
        f"Measured {now():%Y-%m-%d} on {machine.processor}, {machine.usable_cores} cores, load {machine.load_before} before and {machine.load_after} after. "
        "Written by `python benchmarks/faults.py`; seconds are of the whole fault, waits included.\n"
    )


def _yes(true: bool) -> str:
    return "yes" if true else "**no**"


def bench(
    only: Annotated[list[str] | None, typer.Option(help="A word in a fault's name; may be repeated.")] = None,
    results: Annotated[Path, typer.Option(help="Where the outcomes are written.")] = RESULTS,
    target: Annotated[Path, typer.Option(help="Where the page is written.")] = PAGE,
) -> None:
    """Play the faults and write the table."""
    machine, network, played = Machine.here(), Network((A, B)), []
    with ExitStack() as at_the_end:
        root = Path(at_the_end.enter_context(TemporaryDirectory()))
        at_the_end.callback(network.remove)
        network.make()
        for who, megabytes in ((A, 600), (B, 600), (COORDINATOR, 3000)):
            at_the_end.callback(subprocess.run, ["umount", "-l", str(root / who)], check=False)
            own_disk(root / who, megabytes)
        federation = Federation(root, network)
        at_the_end.callback(federation.end)
        for number, site in enumerate((A, B)):
            approve_patients(root / site, range(10 * number, 10 * number + 4))
        federation.begin(STEPS, _tiny(root / "tiny"))
        trial = Trial(federation)
        for fault in faults():
            if only and not any(word in fault.name for word in only):
                continue
            played.append(play(fault, trial))
            typer.echo(f"{'held' if played[-1].held else 'NOT HELD'} {played[-1].model_dump_json()}")
        federation.end()
        left = sum(len(trial.processes(who)) for who in (A, B, COORDINATOR))
    machine = machine.model_copy(update={"load_after": load_average()})
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text("\n".join(one.model_dump_json() for one in played) + "\n")
    target.write_text(page(played, machine, left))


def _tiny(folder: Path) -> Path:
    import torch

    from fedliver.teacher.bundle import save_bundle
    from fedliver.teacher.network import build_network
    from fedliver.teacher.plan import TeacherPlan

    torch.manual_seed(0)
    plan = TeacherPlan.tiny()
    save_bundle(build_network(plan), plan, folder, name="tiny", version="0")
    return folder


if __name__ == "__main__":
    typer.run(bench)
