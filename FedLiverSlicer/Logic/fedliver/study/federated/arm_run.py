"""One arm with one seed, from the common first weights to the scores on the common test cases."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fedliver.coordinator.checkpoints import Weights
from fedliver.errors import FedLiverError
from fedliver.federation.networks import load_weights, weights_of
from fedliver.federation.strategies import Aggregation, aggregation_of, server_step_of
from fedliver.study.federated.engine import Engine, Exchange
from fedliver.study.federated.results import ArmResult, Model, Point, SiteFacts
from fedliver.study.federated.scores import quick_score, score
from fedliver.study.federated.site_work import SiteWork, bytes_of, digest_of
from fedliver.study.machine import machine
from fedliver.watch import Watcher, report

if TYPE_CHECKING:
    import torch

_MEGABYTE = 1e6
_WHO = 3


@dataclass
class _Course:
    """What an arm has come to so far."""

    points: list[Point] = field(default_factory=list)
    computed: float = 0.0
    side_by_side: float = 0.0
    bytes: int = 0
    loss: float = 0.0
    taken: int = 0
    begun: set[str] = field(default_factory=set)


def run_arm(work: SiteWork, engine: Engine, watcher: Watcher) -> ArmResult:
    """Run it.

    Raises
    ------
    FedLiverError
        What reading, dividing and training raise; ``too-few-updates`` where a strategy needs more sites than take part.
    Cancelled
        The watcher wished so.
    """
    started = time.monotonic()
    course = _Course()
    if work.arm.way == "federated":
        models, parameters = engine.run(work, lambda exchange: _Federation(work, exchange, course, watcher).run())
    else:
        models, parameters = _by_themselves(work, course, watcher)
    return ArmResult(
        arm=work.arm.name,
        seed=work.seed,
        sites=tuple(_facts(work, site) for site in work.sites),
        curve=tuple(course.points),
        models=models,
        loss=course.loss,
        parameters=parameters,
        computed_seconds=course.computed,
        wall_seconds=time.monotonic() - started,
        taken=course.taken,
        begun=tuple(sorted(course.begun)),
        epsilon=_epsilon(work),
        engine=engine.name if work.arm.way == "federated" else "in-process",
        machine=machine() + (f", {work.device.place}" if work.device.is_card else ""),
    )


def _by_themselves(work: SiteWork, course: _Course, watcher: Watcher) -> tuple[tuple[Model, ...], int]:
    """The centralised site, or every site alone: trained from beginning to end without a pause, scored as often as the federation."""
    training, models, curves = work.task.training, [], []
    network = work.network()
    for site in range(len(work.sites)):
        network = work.network()
        course.begun.add(digest_of(weights_of(network)))
        learner = work.learner(network, site, 0)
        curve = []
        for number in range(1, training.rounds + 1):
            report(watcher, f"{work.arm.name}, seed {work.seed}", (site + (number - 1) / training.rounds) / len(work.sites))
            begun = time.process_time()
            course.loss = learner.learn((number - 1) * work.steps, work.steps, training.rounds * work.steps)
            course.computed += time.process_time() - begun
            curve.append(quick_score(work.task, network, work.images, work.curve))
        curves.append(curve)
        course.taken += learner.taken
        cases = score(work.task, network, work.images, work.test)
        models.append(Model(site=site if work.arm.way == "alone" else None, cases=tuple(cases)))
    for number, values in enumerate(np.mean(curves, axis=0), start=1):
        seconds = course.computed / len(curves) * number / training.rounds
        course.points.append(Point(round=number, steps=number * work.steps, score=float(values), megabytes=0.0, seconds=seconds))
    return tuple(models), _parameters(network)


class _Federation:
    """The rounds of a federated arm."""

    def __init__(self, work: SiteWork, exchange: Exchange, course: _Course, watcher: Watcher) -> None:
        self._work = work
        self._exchange = exchange
        self._course = course
        self._watcher = watcher
        self._network = work.network()
        self._learnt = {name for name, _ in self._network.named_parameters()}
        self._step = server_step_of(work.arm.strategy)
        self._state: Mapping[str, np.ndarray] = {}

    def run(self) -> tuple[tuple[Model, ...], int]:
        """The model after the last round, and how many parameters it has."""
        work, rounds = self._work, self._work.task.training.rounds
        weights = weights_of(self._network)
        self._course.begun.add(digest_of(weights))
        for number in range(1, rounds + 1):
            report(self._watcher, f"{work.arm.name}, seed {work.seed}", (number - 1) / rounds)
            weights = self._round(number, weights)
            load_weights(self._network, weights)
            self._note(number)
        return (Model(cases=tuple(score(work.task, self._network, work.images, work.test))),), _parameters(self._network)

    def _round(self, number: int, weights: Weights) -> Weights:
        work, course = self._work, self._course
        floating = [(name, array.shape) for name, array in weights.items() if np.issubdtype(array.dtype, np.floating)]
        aggregation = aggregation_of(work.arm.strategy, floating, work.scratch)
        try:
            slowest, losses, sites = 0.0, [], self._active(number)
            for update in self._exchange.updates(number, weights, sites):
                aggregation.add(str(update.site), {name: update.weights[name] - weights[name] for name, _ in floating}, update.cases)
                course.computed += update.seconds
                course.taken += update.taken
                slowest = max(slowest, update.seconds)
                losses.append(update.loss)
                course.bytes += bytes_of(weights) + update.bytes_up
            moved = self._moved(weights, aggregation)
        finally:
            aggregation.close()
        course.side_by_side += slowest
        course.loss = float(np.mean(losses))
        return moved

    def _moved(self, weights: Weights, aggregation: Aggregation) -> Weights:
        """The strategy's step. Running statistics of a normalisation are no parameters: they take the mean as it is, whatever the coordinator's optimiser."""
        try:
            change = aggregation.result().change
        except ValueError as error:
            raise FedLiverError(
                "too-few-updates", f"{self._work.arm.strategy.name} needs {self._work.arm.strategy.fewest_updates} sites in a round: take more."
            ) from error
        step, self._state = self._step.take({name: value for name, value in change.items() if name in self._learnt}, self._state)
        return {name: (array + step.get(name, change[name])).astype(array.dtype) if name in change else array for name, array in weights.items()}

    def _active(self, number: int) -> list[int]:
        arm = self._work.arm
        if arm.active is None:
            return list(range(arm.clients))
        drawn = np.random.default_rng([_WHO, self._work.seed, number]).choice(arm.clients, arm.active, replace=False)
        return sorted(int(site) for site in drawn)

    def _note(self, number: int) -> None:
        work, course = self._work, self._course
        value = quick_score(work.task, self._network, work.images, work.curve)
        course.points.append(Point(round=number, steps=number * work.steps, score=value, megabytes=course.bytes / _MEGABYTE, seconds=course.side_by_side))


def _facts(work: SiteWork, images: list[int]) -> SiteFacts:
    records, classes = work.images.records, work.images.classes
    kinds = [classes[record.label] if record.label is not None else record.group for record in (records[index] for index in images)]
    return SiteFacts(images=len(images), mixture=dict(sorted(Counter(kind for kind in kinds if kind).items())))


def _parameters(network: "torch.nn.Module") -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _epsilon(work: SiteWork) -> float | None:
    """What a site that takes part in every round has spent."""
    privacy = work.arm.privacy
    if privacy is None or not privacy.noise_multiplier:
        return None
    from fedliver.site.accountant import epsilon

    return epsilon([privacy.noise_multiplier] * work.task.training.rounds, privacy.delta)
