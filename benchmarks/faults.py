"""Faults in the middle of a round: real Flower processes with TLS, a coordinator and two sites in network namespaces of their own.

    sudo .venv/bin/python benchmarks/faults.py          plays what was not played yet, and writes docs/faults.md; about an hour for all of it

Every fault is played in the same federation, one after the other. After it people put right what is broken, and the next round must have both sites. What came
of each is written down at once, so that it can be stopped and goes on where it was. Needs root on Linux, with ``ip``, and Debian's package ``faketime``.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from fault_plays import FAULTS, Fault
from fault_record import Played, Results, names_it, page, what_came
from fault_trial import A, B, Trial, approve_patients, own_disk
from namespaces import COORDINATOR, Federation, Network
from records import Machine, load_average, now

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "faults.json", ROOT / "docs" / "faults.md"
STEPS, BOTH_SITES = 60, "both sites"


def play(fault: Fault, trial: Trial) -> Played:
    """Play one fault, put things right, and run the next round."""
    cases = trial.cases()
    trial.said = ""
    fault.before(trial)
    before = len(trial.records())
    trial.start_run(**(fault.policy or {}))
    fault.when(trial)
    began = time.monotonic()
    trouble = _trouble(lambda: fault.happen(trial))
    trial.end_of_run()
    seconds = time.monotonic() - began
    new = trial.records()[before:]
    held, came = what_came(fault.must, new, trial.run.code if trial.run else None, trial.run.sentence if trial.run else "")
    report = [*trial.warnings(), trial.report(new)]
    began = time.monotonic()
    left = _trouble(lambda: fault.amend(trial))
    following = f"not put right: {left}" if left else next_round(trial)
    recovery_seconds = time.monotonic() - began
    told = " ".join(filter(None, [*report, *trial.warnings()]))
    kept, strays = trial.cases() == cases, trial.strays()
    return Played(
        name=fault.name,
        at=now(),
        load=load_average(),
        must=fault.must,
        held=held and not trouble and following == BOTH_SITES and kept and not strays,
        came=trial.without_folder("; ".join(filter(None, [came, trouble]))),
        report=trial.without_folder(told),
        named=names_it(told, fault.cause),
        said=trial.without_folder(trial.said)[-400:],
        seconds=seconds,
        recovery_seconds=recovery_seconds,
        next_round=trial.without_folder(following),
        cases_kept=kept,
        strays=strays,
    )


def _trouble(act: Callable[[], None]) -> str:
    """What went wrong in an act; empty if nothing did."""
    try:
        act()
    except RuntimeError as error:
        return str(error)
    return ""


def next_round(trial: Trial) -> str:
    """Run one more round that needs both sites, and say who was in it."""
    trial.start_run(quorum=2)
    trial.end_of_run()
    if trial.run and trial.run.code:
        return f"failed: {trial.run.sentence}"
    used = [update.site for update in trial.records()[-1].updates if not update.refused]
    return BOTH_SITES if len(used) == 2 else f"only {', '.join(used)}"


@contextmanager
def stage() -> Iterator[Trial]:
    """A federation whose two sites have joined, each folder on a disk of its own."""
    with ExitStack() as at_the_end:
        root = Path(at_the_end.enter_context(TemporaryDirectory()))
        network = Network((A, B))
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
        yield Trial(federation)


def play_all(faults: list[Fault], results: Results, target: Path, minutes: float) -> Results:
    """Play them on one stage until the time is up; each is written down at once. One that breaks the stage ends it."""
    end = time.monotonic() + 60 * minutes
    with stage() as trial:
        for fault in faults:
            if time.monotonic() > end:
                break
            try:
                one = play(fault, trial)
            except RuntimeError as error:
                typer.echo(f"{now():%H:%M:%S} not played: {fault.name}: {error}")
                break
            results = Results.read(target, results.machine).with_(one)  # read again: another federation may be played beside this one
            results.write(target)
            typer.echo(f"{now():%H:%M:%S} {'held' if one.held else 'NOT HELD'} {one.model_dump_json()}")
            if one.next_round != BOTH_SITES:
                break
        trial.federation.end()
        left = sum(len(trial.processes(who)) for who in (A, B, COORDINATOR))
    results = Results.read(target, results.machine).model_copy(update={"left": left})
    results.write(target)
    return results


def bench(
    only: Annotated[list[str] | None, typer.Option(help="A fault's whole name, to play it again; may be repeated. Default: what was not played yet.")] = None,
    anew: Annotated[bool, typer.Option(help="Forget what was played, and play all.")] = False,
    minutes: Annotated[float, typer.Option(help="Begin no other fault after so many minutes.")] = 1e6,
    page_only: Annotated[bool, typer.Option(help="Write the page anew from the record, and play nothing.")] = False,
    record: Annotated[Path, typer.Option(help="Where the outcomes are written.")] = RESULTS,
    target: Annotated[Path, typer.Option(help="Where the page is written.")] = PAGE,
) -> None:
    """Play faults and write the table."""
    machine = Machine.here()
    if anew:
        record.unlink(missing_ok=True)
    results = Results.read(record, machine)
    must = {fault.name: fault.must for fault in FAULTS}
    done = {one.name for one in results.played if one.must == must.get(one.name)}  # a play that has become another is played again
    chosen = [fault for fault in FAULTS if (fault.name in only if only else fault.name not in done)]
    if unknown := set(only or ()) - {fault.name for fault in FAULTS}:
        raise typer.BadParameter(f"no such fault: {'; '.join(sorted(unknown))}")
    if chosen and not page_only:
        results = play_all(chosen, results, record, minutes)
    target.write_text(page(results, [fault.name for fault in FAULTS]))


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
