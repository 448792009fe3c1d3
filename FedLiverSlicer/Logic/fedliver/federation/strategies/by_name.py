"""From a policy's words to the arithmetic."""

from collections.abc import Iterable
from pathlib import Path

from fedliver.federation.strategies.aggregate import Aggregation
from fedliver.federation.strategies.robust import MultiKrum, TrimmedMean
from fedliver.federation.strategies.server_step import AdamStep, MomentumStep, ServerStep, WholeStep
from fedliver.federation.strategies.weighted_mean import WeightedMean
from fedliver.site import strategy as named


def aggregation_of(choice: named.Strategy, shapes: Iterable[tuple[str, tuple[int, ...]]], scratch: Path) -> Aggregation:
    """What takes a round's updates. ``scratch`` is a folder for the strategies that need all of them at once."""
    if isinstance(choice, named.TrimmedMean):
        return TrimmedMean(shapes, choice.hostile_sites, scratch)
    if isinstance(choice, named.MultiKrum):
        return MultiKrum(shapes, choice.hostile_sites, scratch)
    return WeightedMean(shapes)


def server_step_of(choice: named.Strategy) -> ServerStep:
    """What the coordinator does with the aggregate."""
    if isinstance(choice, named.FedAvgM):
        return MomentumStep(choice.momentum, choice.learning_rate)
    if isinstance(choice, named.FedAdam):
        return AdamStep(choice.learning_rate, choice.beta_1, choice.beta_2, choice.tau)
    return WholeStep()
