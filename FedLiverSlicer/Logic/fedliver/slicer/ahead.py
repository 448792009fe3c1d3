"""One new case of the worklist, segmented and kept as pre-segmented: the work of a thread that nobody waits for."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedliver.slicer.site_desk import Foreseen, Proposal
from fedliver.watch import Watcher, report

if TYPE_CHECKING:
    from fedliver.cases.case import Case
    from fedliver.cases.store import CaseStore
    from fedliver.image import Volume


def segment_next_new(
    store: "CaseStore",
    segment: "Callable[[Volume, Watcher], Proposal]",
    keep: "Callable[[CaseStore, Case, Proposal], object]",
    strategy: str,
    passed_over: frozenset[str],
    watcher: Watcher,
) -> Foreseen | None:
    """Segment the first new case in the worklist's order that is not ``passed_over``; None where there is none.

    A case that cannot be segmented is told with the reason, and stays new. ``Cancelled`` is raised before anything is kept.
    """
    from fedliver.cases.case import State
    from fedliver.cases.worklist import worklist
    from fedliver.errors import FedLiverError

    waiting = (case for case in worklist(store.cases(), strategy) if case.state is State.NEW and case.pseudonym not in passed_over)
    case = next(waiting, None)
    if case is None:
        return None
    try:
        proposal = segment(store.ct(case), watcher)
    except FedLiverError as error:
        return Foreseen(case.pseudonym, error.sentence)
    report(watcher, "", 1.0)
    if store.case(case.pseudonym).state is State.NEW:  # nobody has begun it meanwhile
        keep(store, case, proposal)
    return Foreseen(case.pseudonym)
