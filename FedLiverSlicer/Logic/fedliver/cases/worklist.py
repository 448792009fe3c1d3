"""What to annotate next: the cases that wait, in the order of a strategy.

A strategy is a function from the waiting cases and all cases of the site to an order. Three are here, by name; another package brings
its own under the entry point group ``fedliver.worklist``::

    [project.entry-points."fedliver.worklist"]
    rare-first = "my_package:rare_first"

Whatever the strategy, cases whose correction has begun come first: work is finished before more of it is begun.
"""

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points

import numpy as np

from fedliver.cases.appearance import features_of
from fedliver.cases.case import Case, State
from fedliver.errors import FedLiverError

GROUP = "fedliver.worklist"
FIRST_COME = "first-come"
_AT_ONCE = 256
Strategy = Callable[[Sequence[Case], Sequence[Case]], Iterator[Case]]
"""(waiting, everyone) to the waiting cases in order, each once. Both arrive in the order of their adding."""


def worklist(cases: Sequence[Case], strategy: str = FIRST_COME, limit: int | None = None) -> list[Case]:
    """The cases that wait for a clinician, the next one first, at most ``limit``. Raises FedLiverError ``no-such-strategy``."""
    order = _strategy(strategy)
    begun = [case for case in cases if case.state is State.IN_CORRECTION]
    waiting = [case for case in cases if case.state in (State.NEW, State.PRE_SEGMENTED)]
    found = begun[:limit]
    for case in order(waiting, cases):
        if limit is not None and len(found) >= limit:
            break
        found.append(case)
    return found


def next_case(cases: Sequence[Case], strategy: str = FIRST_COME, after: str = "") -> Case | None:
    """The case to annotate next. ``after``: the pseudonym of the case that lies open now; whoever passes it over gets the one behind it."""
    found = worklist(cases, strategy, limit=None if after else 1)
    position = next((n for n, case in enumerate(found) if case.pseudonym == after), -1)
    others = [*found[position + 1 :], *found[: max(position, 0)]]
    return others[0] if others else None


def strategies() -> tuple[str, ...]:
    """The names of all strategies that can be used here."""
    return (*_OWN, *sorted(point.name for point in entry_points(group=GROUP) if point.name not in _OWN))


def first_come(waiting: Sequence[Case], _everyone: Sequence[Case]) -> Iterator[Case]:
    """In the order of adding."""
    return iter(waiting)


def uncertainty(waiting: Sequence[Case], _everyone: Sequence[Case]) -> Iterator[Case]:
    """The case first whose teacher expects the lowest Dice of its pre-segmentation. One in which it found no liver at all comes before: it failed, or the
    scan does not belong here, and a person should say which. Those that no teacher has looked at come last."""
    judged = [(case.draft.expected_dice or 0.0, case) for case in waiting if case.draft is not None and case.draft.teacher is not None]
    yield from (case for _, case in sorted(judged, key=lambda pair: pair[0]))
    seen = {case.pseudonym for _, case in judged}
    yield from (case for case in waiting if case.pseudonym not in seen)


def diversity(waiting: Sequence[Case], everyone: Sequence[Case]) -> Iterator[Case]:
    """The case first that looks least like any approved one (farthest-first traversal: Gonzalez 1985; for annotation: Sener and Savarese 2018)."""
    if not waiting:
        return
    done = [case for case in everyone if case.state is State.APPROVED]
    points = features_of([*waiting, *done])
    ours, theirs = points[: len(waiting)], points[len(waiting) :]
    # Begin in the midst where nothing is approved: with the most common kind of scan.
    nearest = _distance_to_nearest(ours, theirs) if done else -np.linalg.norm(ours, axis=1)
    for number in range(len(waiting)):
        chosen = int(np.argmax(nearest))
        yield waiting[chosen]
        if number == 0 and not done:
            nearest = np.full(len(waiting), np.inf)
        nearest = np.minimum(nearest, np.linalg.norm(ours - ours[chosen], axis=1))
        nearest[chosen] = -np.inf


def _distance_to_nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each point (rows) the distance to the nearest of the others, a few hundred of them at a time."""
    squares, nearest = (points**2).sum(axis=1), np.full(len(points), np.inf)
    for start in range(0, len(others), _AT_ONCE):
        some = others[start : start + _AT_ONCE]
        nearest = np.minimum(nearest, ((some**2).sum(axis=1) - 2 * points @ some.T).min(axis=1) + squares)
    return np.sqrt(np.maximum(nearest, 0))


_OWN: dict[str, Strategy] = {FIRST_COME: first_come, "uncertainty": uncertainty, "diversity": diversity}


def _strategy(name: str) -> Strategy:
    if name in _OWN:
        return _OWN[name]
    for point in entry_points(group=GROUP):
        if point.name == name:
            return point.load()
    raise FedLiverError("no-such-strategy", f"There is no strategy {name[:40]!r} for the worklist: choose one of {', '.join(strategies())}.")
