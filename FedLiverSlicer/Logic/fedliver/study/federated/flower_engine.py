"""The sites on Flower's simulation engine, behind the same seam as in one process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fedliver.coordinator.checkpoints import Weights
from fedliver.federation.simulation import SimulatedSites, simulate
from fedliver.study.federated.engine import Exchange
from fedliver.study.federated.site_work import SiteWork, Update

T = TypeVar("T")


class FlowerSimulation:
    """Flower's simulation engine on Ray: as many sites at a time as there are cores."""

    name = "flower"

    def run(self, work: SiteWork, session: Callable[[Exchange], T]) -> T:
        return simulate(_Errand(work), work.arm.clients, lambda sites: session(_OverFlower(sites)))


@dataclass(frozen=True)
class _Errand:
    """A site's work, as it is sent to Ray's processes."""

    work: SiteWork

    def __call__(self, site: int, number: int, weights: Weights) -> tuple[Weights, Mapping[str, float]]:
        update = self.work(site, number, weights)
        return update.weights, {"cases": update.cases, "loss": update.loss, "seconds": update.seconds, "bytes": update.bytes_up, "taken": update.taken}


class _OverFlower:
    def __init__(self, sites: SimulatedSites) -> None:
        self._sites = sites

    def updates(self, number: int, weights: Weights, sites: Sequence[int]) -> Iterator[Update]:
        for answer in self._sites.train(number, weights, sites):
            told = answer.numbers
            yield Update(answer.site, answer.weights, int(told["cases"]), told["loss"], told["seconds"], int(told["bytes"]), int(told["taken"]))
