"""Where the sites of a simulated federation run."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from fedliver.coordinator.checkpoints import Weights
from fedliver.study.federated.site_work import SiteWork, Update

T = TypeVar("T")


class Exchange(Protocol):
    """Seam between the rounds and the sites."""

    def updates(self, number: int, weights: Weights, sites: Sequence[int]) -> Iterator[Update]:
        """Round ``number``: send ``weights`` to these sites, and give their updates in the order of ``sites``. Each can be thrown away once it is used."""


class Engine(Protocol):
    """Seam between a study and what runs its sites."""

    name: str

    def run(self, work: SiteWork, session: Callable[[Exchange], T]) -> T:
        """Call ``session`` with a way to reach the sites of ``work``, and give back its answer."""


class InProcess:
    """One site after the other in this process: memory does not grow with the number of sites."""

    name = "in-process"

    def run(self, work: SiteWork, session: Callable[[Exchange], T]) -> T:
        return session(_OneByOne(work))


class _OneByOne:
    def __init__(self, work: SiteWork) -> None:
        self._work = work

    def updates(self, number: int, weights: Weights, sites: Sequence[int]) -> Iterator[Update]:
        return (self._work(site, number, weights) for site in sites)
