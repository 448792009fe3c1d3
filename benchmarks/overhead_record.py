"""What ``overhead.py`` measures, how it is reckoned, and the table made of it."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal

from records import Machine, Record

from fedliver.evaluation.markdown import markdown_table

Kind = Literal["none", "fixed", "long"]
SITES = 3
TARGET_RATIO, TARGET_SECONDS, LONG_SECONDS = 1.15, 15.0, 300.0
_NAMES = {
    "ours": "ours",
    "flower": "plain Flower",
    "flower-polling": "plain Flower, polling as often as ours",
    "nvflare-simulator": "NVFLARE, simulator",
    "nvflare-poc": "NVFLARE, proof of concept",
}
_WHAT = (
    ("TLS between sites and coordinator", "yes", "no", "no", "no", "yes, mutual"),
    ("every request signed with a site's enrolled key", "yes", "no", "no", "no", "no (certificates)"),
    ("a process of its own for every message", "yes", "yes", "yes", "no", "no"),
    ("that process imports torch again", "no, forked", "yes", "yes", "no", "no"),
    ("the sites decide which app runs", "yes", "no", "no", "no", "no"),
    ("egress filter (agreed tensors and numbers, norm bound)", "yes", "no", "no", "no", "no"),
    ("hash-chained ledger at every site, synced", "yes", "no", "no", "no", "no"),
    ("quorum, deadline, checks of every update", "yes", "no", "no", "part", "part"),
    ("the model on disk at the coordinator after each round", "checkpoint and bundle, synced", "no", "no", "yes", "yes"),
    ("the model kept at the site, to judge and adopt", "yes", "no", "no", "no", "no"),
    ("the optimiser kept for the site's next round", "yes, on disk", "no", "no", "no", "no"),
    ("weights on the wire", "int8 changes", "fp32", "fp32", "fp32", "fp32"),
)


class Work(Record):
    """One site's work in one round, seconds since the epoch."""

    started: float
    ended: float


class Memory(Record):
    """Of a process, megabytes: all that it sees; with what it shares divided by those who share; and what is its own alone."""

    rss: float
    pss: float
    uss: float


class Measured(Record):
    """Some rounds of one kind in one framework."""

    framework: str
    kind: Kind
    steps: int
    setup_seconds: float
    """Until the sites were ready; 0 where a run starts everything itself."""
    run_seconds: float
    """Of the command that ran the rounds, its own start and end included."""
    works: tuple[Work, ...]
    memories: tuple[Memory, ...] = ()
    """Of each site's warm process, after the last round, where there is one."""

    @property
    def rounds(self) -> list[list[Work]]:
        """The sites' works, by round: a round begins when every site of the one before has ended."""
        ordered = sorted(self.works, key=lambda work: work.started)
        return [ordered[start : start + SITES] for start in range(0, len(ordered), SITES)]

    @property
    def periods(self) -> list[float]:
        """From the first site's start of work in a round to that in the next: all that a round takes. One less than there are rounds."""
        starts = [works[0].started for works in self.rounds]
        return [after - before for before, after in pairwise(starts)]

    @property
    def slowest(self) -> list[float]:
        """Of each round, the longest work of a site."""
        return [max(work.ended - work.started for work in works) for works in self.rounds]

    @property
    def beside(self) -> list[float]:
        """What a round takes beside its slowest site's work, transfer included."""
        return [period - slow for period, slow in zip(self.periods, self.slowest, strict=False)]

    @property
    def ratios(self) -> list[float]:
        """How many times as long as its slowest site's work a round takes."""
        return [period / slow for period, slow in zip(self.periods, self.slowest, strict=False)]


class Overhead(Record):
    """One run of the benchmark, and the long round."""

    at: datetime
    machine: Machine
    versions: dict[str, str]
    parameters: int
    measured: tuple[Measured, ...]
    long: Measured | None = None
    long_load: float | None = None
    left_out: tuple[str, ...] = ()

    def of(self, framework: str, kind: Kind) -> Measured | None:
        return next((one for one in self.measured if (one.framework, one.kind) == (framework, kind)), None)


def read_works(path: Path) -> tuple[Work, ...]:
    return tuple(Work.model_validate(json.loads(line)) for line in path.read_text().splitlines())


def read_memories(path: Path) -> tuple[Memory, ...]:
    """None where nobody took any down."""
    return tuple(Memory.model_validate(json.loads(line)) for line in path.read_text().splitlines()) if path.exists() else ()


def page(found: Overhead) -> str:
    """The tables."""
    names = [name for name in _NAMES if found.of(name, "none")]
    columns = list(_NAMES)

    def row(title: str, kind: Kind, value: Callable[[Measured], str]) -> tuple[str, ...]:
        return (title, *(value(one) if (one := found.of(name, kind)) else "–" for name in names))

    steps = next(one.steps for one in found.measured if one.kind == "fixed")
    rows = [
        row("round of no work, s", "none", lambda one: _spread(one.periods)),
        row(f"round of {steps} training steps, s", "fixed", lambda one: _spread(one.periods)),
        row("of that the slowest site's steps, s", "fixed", lambda one: _spread(one.slowest[:-1])),
        row("beside them, s", "fixed", lambda one: _spread(one.beside)),
        row("times the slowest site's steps", "fixed", lambda one: _spread(one.ratios, 2)),
        row("the whole run of no work, s", "none", lambda one: f"{one.run_seconds:.0f}, {len(one.rounds)} rounds"),
        row("before that, until all sites are there, s", "none", lambda one: f"{one.setup_seconds:.0f}" if one.setup_seconds else "in the run"),
    ]
    does = [(line[0], *(line[1 + columns.index(name)] for name in names)) for line in _WHAT]
    heads = ["", *(_NAMES[name] for name in names)]
    machine = found.machine
    left_out = "".join(f"Left out: {sentence}\n\n" for sentence in found.left_out)
    return (
        f"{_HEAD}\n{markdown_table(heads, rows)}\n\nMedians, fastest to slowest in brackets. The network has {found.parameters:,} parameters.\n\n"
        f"{_memory(found)}{left_out}"
        f"## Against the targets\n\n{_targets(found)}\n\n## What each of them does in that time\n\n{_AS_SET_UP}\n\n{markdown_table(heads, does)}\n\n"
        f"Measured {found.at:%Y-%m-%d} on {machine.processor}, {machine.usable_cores} cores, {machine.system}, Python {machine.python}; load average "
        f"{machine.load_before} before and {machine.load_after} after. {', '.join(f'{name} {number}' for name, number in found.versions.items())}. "
        "Written by `python benchmarks/overhead.py`.\n"
    )


def _targets(found: Overhead) -> str:
    empty = found.of("ours", "none")
    lines = []
    if empty:
        worst = max(empty.periods)
        lines.append(
            f"- A round of no work with {SITES} sites in under {TARGET_SECONDS:.0f} s: {_verdict(worst < TARGET_SECONDS)}, {worst:.1f} s at the slowest."
        )
    if found.long:
        slow, whole = found.long.slowest[0], found.long.run_seconds
        met = whole / slow <= TARGET_RATIO and whole >= LONG_SECONDS
        lines.append(
            f"- A round of 5 minutes or longer in at most {TARGET_RATIO} times the slowest site's training time plus transfer: {_verdict(met)}."
            f" The whole command, with the start of the run and the delivery after its one round, took {whole:.0f} s, and the slowest site's"
            f" {found.long.steps} training steps {slow:.0f} s: {whole / slow:.3f} times as long, with nothing taken off for transfer"
            f" (load average {found.long_load} after)."
        )
    else:
        lines.append("- A round of 5 minutes or longer: not measured (`--long`).")
    return "\n".join(lines)


def _memory(found: Overhead) -> str:
    one = found.of("ours", "fixed")
    if one is None or not one.memories:
        return ""
    own, shared = max(memory.uss for memory in one.memories), max(memory.pss for memory in one.memories)
    return (
        f"Between messages, the warm process of a site holds {own:.0f} MB of its own ({shared:.0f} MB with its part of what the {SITES} sites of this machine"
        f" share; resident {max(memory.rss for memory in one.memories):.0f} MB). What it forks shares that until it writes.\n\n"
    )


def _verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def _spread(values: Sequence[float], digits: int = 1) -> str:
    if not values:
        return "–"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else f"{values[0]:.{digits}f}"


_AS_SET_UP = "As set up here: NVFLARE has privacy filters and site policies, and Flower has mods, that this job does not use."
_HEAD = f"""# Overhead: what a round takes beside the training

The same network, the same training steps on random numbers, {SITES} sites and the coordinator on one machine, one thread each, FedAvg; one framework after the
other, in one run. No site has a case that is held out, so nothing is scored, and no framework sends the model down twice. A round's time is taken at the sites,
by the work itself: from the first site's start in one round to that in the next. It holds everything: starting processes, sending, checking, averaging, writing
to disk.

Plain Flower is a ClientApp and a ServerApp as its quickstart has them (`benchmarks/overhead_flower_app.py`), SuperLink and SuperNodes without TLS, as they
start by default; the second column of it looks for work every 0.2 s, as ours does. NVFLARE runs its FedAvg recipe, once in its simulator, once in its
proof-of-concept mode, a server and clients in processes of their own with TLS; its training process lives as long as the job, while Flower starts one for every
message, which imports torch again each time. Ours is forked from the site's warm process (`federation/warm.py`), which has imported torch and MONAI once, at
the first message of a run, and ends ten minutes after the last one. `FEDLIVER_WARM=0` in a site's environment when it joins does without it.
"""
