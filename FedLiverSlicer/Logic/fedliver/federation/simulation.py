"""A federation of made-up sites on this machine: Flower's simulation engine, which runs the sites on Ray.

What a site does is handed in. Sites are numbered from 0; a message says which site it is for, whichever of Flower's virtual nodes takes it.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedliver.coordinator.checkpoints import Weights
from fedliver.errors import FedLiverError
from fedliver.federation.links import FlowerLinks, SiteLinks
from fedliver.federation.messages import TRAIN, pack_weights

T = TypeVar("T")
_ARRAYS, _CONFIG, _METRICS = "arrays", "config", "metrics"
_POLL_SECONDS = 0.05
_ONLINE_SECONDS = 120.0
_SECONDS_TO_LIVE = 86_400.0


@dataclass(frozen=True)
class Answer:
    """What a site says: its weights and some numbers."""

    site: int
    weights: Weights
    numbers: Mapping[str, float]


Work = Callable[[int, int, Weights], tuple[Weights, Mapping[str, float]]]
"""A site's number, the round's, and the weights that it is sent. It is called in another process, so it must be picklable."""


class SimulatedSites:
    """The sites as the one who runs the rounds reaches them."""

    def __init__(self, links: SiteLinks, sites: int) -> None:
        self._links = links
        self._sites = sites
        self._nodes: list[int] = []

    def train(self, number: int, weights: Weights, sites: Sequence[int]) -> Iterator[Answer]:
        """Send ``weights`` to the sites, and give their answers in the order of ``sites``, however they come in.

        Raises
        ------
        FedLiverError
            ``site-failed`` where a site gave no answer.
        """
        arrays, nodes, waiting = pack_weights(weights), self._online(), {}
        for site in sites:
            content = RecordDict({_ARRAYS: arrays, _CONFIG: ConfigRecord({"site": site, "round": number})})
            for message in self._links.send([nodes[site]], content, TRAIN, number, _SECONDS_TO_LIVE):
                waiting[message] = site
        there: dict[int, Answer] = {}
        for site in sites:
            while site not in there:
                there.update(self._arrived(waiting))
                if site not in there:
                    time.sleep(_POLL_SECONDS)
            yield there.pop(site)

    def _arrived(self, waiting: dict[str, int]) -> dict[int, Answer]:
        found = {}
        for reply in self._links.receive(waiting):
            site = waiting.pop(reply.message)
            if reply.content is None:
                raise FedLiverError("site-failed", f"Simulated site {site} {reply.failure}: run the study without --engine flower to see why.")
            numbers = {name: float(value) for name, value in reply.content.metric_records[_METRICS].items() if isinstance(value, int | float)}
            found[site] = Answer(site, _arrays(reply.content), numbers)
        return found

    def _online(self) -> list[int]:
        """Flower's nodes, one for every site, once all are there."""
        end = time.monotonic() + _ONLINE_SECONDS
        while len(self._nodes) < self._sites:
            self._nodes = sorted(self._links.online())
            if len(self._nodes) < self._sites:
                if time.monotonic() > end:
                    raise FedLiverError("no-simulation", "Flower's simulation engine did not start: run the study without --engine flower.")
                time.sleep(_POLL_SECONDS)
        return self._nodes


def simulate(work: Work, sites: int, session: Callable[[SimulatedSites], T]) -> T:
    """Start ``sites`` virtual sites, call ``session`` with a way to reach them, and give back its answer. One core for every site that is at work.

    Raises
    ------
    FedLiverError
        ``no-simulation`` where Ray is not installed; what ``session`` raises.
    """
    os.environ.update(FLWR_TELEMETRY_ENABLED="0", FLWR_DISABLE_UPDATE_CHECK="1", RAY_USAGE_STATS_ENABLED="0")
    # Ray makes its processes 15 nicer than this one: on a machine with other work they would hardly ever get a turn.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray  # noqa: F401
        from flwr.simulation import run_simulation
    except ImportError as error:
        raise FedLiverError("no-simulation", "Flower's simulation engine needs Ray: pip install '.[federation,study]' in the repository.") from error
    answers: list[T] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        answers.append(session(SimulatedSites(FlowerLinks(grid), sites)))

    logging.getLogger("flwr").setLevel(logging.ERROR)
    run_simulation(server, _client(work), sites, backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}})
    if not answers:
        raise FedLiverError("no-simulation", "Flower's simulation engine ended early: run the study without --engine flower.")
    return answers[0]


def _client(work: Work) -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        asked = message.content.config_records[_CONFIG]
        weights, numbers = work(int(str(asked["site"])), int(str(asked["round"])), _arrays(message.content))
        told = RecordDict({_ARRAYS: pack_weights(weights), _METRICS: MetricRecord(dict(numbers))})
        return Message(told, reply_to=message)

    return app


def _arrays(content: RecordDict) -> Weights:
    record = content[_ARRAYS]  # not ``content.array_records``, a circle of references that keeps the weights until the garbage collector comes by
    if not isinstance(record, ArrayRecord):
        raise TypeError("a message without weights")
    return {name: array.numpy() for name, array in record.items()}
