"""What came of each fault: judged, written down, and the table made of it."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError
from records import Machine, Record, now

from fedliver.coordinator.records import RoundRecord, SiteUpdate
from fedliver.evaluation.markdown import markdown_table

GOES_ON, FAILS = "the round closes without A", "the run ends, the next one goes on"
BOTH, MISSED = "the round has both sites", "the round has both sites; A misses the delivery"
EITHER = "the round closes, with A if its update comes through, or else without"
NAME_OF_A = "Hospital A"
_HEAD = """# Faults in the middle of a round

A real federation: coordinator and two hospitals, each in a network namespace of its own, TLS, node keys, and Flower's own processes; a tiny network on
generated patients, quorum 1. Each fault happens while hospital A trains, or when its name says. Then people put right what is broken (join again, start the
coordinator again, plug the cable in), and the next round is asked to have both sites.
"""
_FOOT = """
'held': the run came to what it must, the next round had both sites, every approved case is still there, and no process is left that belongs to nobody
('strays', counted in the network namespaces after the next round). 's': from the fault to the end of the run, so it holds what is left of the round, the
deadline of 150 s where that is what ends it, and the fault's own length. 's to recover': from the first thing that people did to put it right to the end of
the next round, whose own start and training take most of it. 'A site's ClientApp' is what its warm process has forked for the message, the process that trains,
scores and sends; both are found by name among what the site's SuperExec has started.
"""


class Played(Record):
    """What came of a fault."""

    name: str
    at: datetime
    load: float | None
    """The machine's load average when it was over."""
    must: str
    held: bool
    came: str
    """How the round or the run ended."""
    report: str
    """What the coordinator's people read about it while it ran."""
    named: bool | None
    """Whether that names the site and the cause, or, of a fault of the coordinator's own, the cause. None where there is nothing to report."""
    said: str = ""
    """What a command said to the person who typed it."""
    seconds: float
    """From the fault to the end of the run."""
    recovery_seconds: float
    """From the first thing that people did to put it right to the end of the next round."""
    next_round: str
    cases_kept: bool
    strays: int
    """Processes that belong to nobody any more, after the next round."""


class Results(Record):
    """Every fault that was played, its last play only."""

    machine: Machine
    played: tuple[Played, ...] = ()
    left: int | None = None
    """Processes that were there when everybody had left, after the last session."""

    @classmethod
    def read(cls, path: Path, machine: Machine) -> "Results":
        """Those in ``path``; none if it is not there, cannot be read, or is of another machine."""
        try:
            found = cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return cls(machine=machine)
        return found if found.machine.slug == machine.slug else cls(machine=machine)

    def with_(self, one: Played) -> "Results":
        return self.model_copy(update={"played": (*(other for other in self.played if other.name != one.name), one)})

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=2) + "\n")


def what_came(must: str, new: Sequence[RoundRecord], code: int | None, sentence: str) -> tuple[bool, str]:
    """Whether a run did what it must, and what it did.

    Parameters
    ----------
    new:
        The records that the run wrote.
    code, sentence:
        How the command ended that ran it; None if nothing was left to end.
    """
    aggregated = [record for record in new if record.kind == "round" and record.aggregated]
    if code != 0:
        whole = " after the round was closed" if aggregated else ""
        return must == FAILS, f"the run ended{whole}: {sentence or 'it was killed with the rest'}"
    if not aggregated:
        return False, "the run ended well, and no round was aggregated"
    missing = [update for update in aggregated[-1].updates if update.refused]
    used = [update.site for update in aggregated[-1].updates if not update.refused]
    if missing:
        return must in (GOES_ON, EITHER) and used == ["Hospital B"] and [one.site for one in missing] == [
            NAME_OF_A
        ], f"the round closed without {_listed(missing)}"
    if len(used) != 2:
        return False, f"the round had only {', '.join(used) or 'nobody'}, and nobody said why"
    delivered = [record for record in new if record.kind == "delivery"]
    late = [update for update in delivered[-1].updates if update.refused] if delivered else []
    if late:
        return must in (MISSED, EITHER) and [one.site for one in late] == [NAME_OF_A], f"the round closed with both sites; not delivered to {_listed(late)}"
    return must in (BOTH, EITHER), "the round closed with both sites"


def _listed(updates: Sequence[SiteUpdate]) -> str:
    return "; ".join(f"{update.site} ({update.refused})" for update in updates)


def names_it(report: str, cause: str) -> bool | None:
    """Whether a report says what it must: ``cause`` is a pattern, and empty where there is nothing to report."""
    return bool(re.search(cause, report)) if cause else None


def page(results: Results, names: Sequence[str]) -> str:
    """The table, in the order of ``names``; what was not played is said."""
    by_name = {one.name: one for one in results.played}
    played = [by_name[name] for name in names if name in by_name]
    missing = [name for name in names if name not in by_name]
    rows = [
        (
            one.name,
            one.must,
            _yes(one.held),
            one.came.replace("|", r"\|"),
            _quoted(one.report) + (f" To the person who typed: {_quoted(one.said)}" if one.said else ""),
            "–" if one.named is None else _yes(one.named),
            one.next_round,
            _yes(one.cases_kept),
            str(one.strays) if not one.strays else f"**{one.strays}**",
            f"{one.seconds:.0f}",
            f"{one.recovery_seconds:.0f}",
        )
        for one in played
    ]
    head = (
        "fault",
        "must be",
        "held",
        "what came of it",
        "what the report says",
        "names site and cause",
        "next round",
        "cases kept",
        "strays",
        "s",
        "s to recover",
    )
    machine, days = results.machine, sorted({f"{one.at:%Y-%m-%d}" for one in played})
    loads = [one.load for one in played if one.load is not None]
    not_played = f" **Not played:** {'; '.join(missing)}." if missing else ""
    left = f"After the last one everybody left: {results.left} processes were still there.\n\n" if results.left is not None else ""
    return (
        f"{_HEAD}\n{sum(one.held for one in played)} of {len(played)} held.{not_played}\n\n{markdown_table(head, rows)}\n{_FOOT}\n{left}"
        f"Played {' and '.join(days) or 'never'} on {machine.processor}, {machine.usable_cores} cores, {machine.system}, Python {machine.python}; load average"
        f" {min(loads, default=0):.1f} to {max(loads, default=0):.1f}. Page of {now():%Y-%m-%d}, written by `python benchmarks/faults.py`.\n"
    )


def _quoted(text: str) -> str:
    return f"'{text}'".replace("|", r"\|") if text else ""


def _yes(true: bool) -> str:
    return "yes" if true else "**no**"
