"""What the coordinator does with the sites' aggregated change: takes it as it is, or as an optimiser's gradient (Reddi et al. 2021).

An optimiser's state is single precision, as it lies in the checkpoint, so that a run that goes on from one takes the same steps as a run that never stopped.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

Tensors = dict[str, np.ndarray]
_COUNT = "steps"


class ServerStep(Protocol):
    """From a round's aggregated change to the step that the global weights take."""

    def take(self, change: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> tuple[Tensors, Tensors]:
        """The step, float64, and the state for the next round. A ``state`` without this optimiser's tensors, or with others' shapes, begins anew."""


class WholeStep:
    """The change itself: FedAvg, and everything else that keeps no state."""

    def take(self, change: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> tuple[Tensors, Tensors]:
        return dict(change), {}


class MomentumStep:
    """FedAvgM (Hsu et al. 2019): v ← momentum · v + change; the step is learning_rate · v."""

    def __init__(self, momentum: float, learning_rate: float) -> None:
        self._momentum = momentum
        self._learning_rate = learning_rate

    def take(self, change: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> tuple[Tensors, Tensors]:
        before = _moments(state, "fedavgm.momentum", change)
        after = {name: (self._momentum * before[name] + moved).astype(np.float32) for name, moved in change.items()}
        return {name: self._learning_rate * value.astype(np.float64) for name, value in after.items()}, _named("fedavgm.momentum", after)


class AdamStep:
    """FedAdam (Reddi et al. 2021, algorithm 2), with Adam's correction of the first rounds (Kingma and Ba 2015)."""

    def __init__(self, learning_rate: float, beta_1: float, beta_2: float, tau: float) -> None:
        self._learning_rate = learning_rate
        self._betas = (beta_1, beta_2)
        self._tau = tau

    def take(self, change: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> tuple[Tensors, Tensors]:
        first, second = _moments(state, "fedadam.first", change), _moments(state, "fedadam.second", change)
        counted = state.get(f"fedadam/{_COUNT}", np.array(0))
        steps = 1 + (int(counted) if any(moment.any() for moment in second.values()) else 0)
        one, two = self._betas
        first = {name: (one * first[name] + (1 - one) * moved).astype(np.float32) for name, moved in change.items()}
        second = {name: (two * second[name] + (1 - two) * np.square(moved)).astype(np.float32) for name, moved in change.items()}
        rate = self._learning_rate * np.sqrt(1 - two**steps) / (1 - one**steps)
        step = {name: rate * first[name].astype(np.float64) / (np.sqrt(second[name].astype(np.float64)) + self._tau) for name in change}
        return step, {**_named("fedadam.first", first), **_named("fedadam.second", second), f"fedadam/{_COUNT}": np.array(steps, np.int64)}


def _moments(state: Mapping[str, np.ndarray], prefix: str, like: Mapping[str, np.ndarray]) -> Tensors:
    """The moments in ``state``, or zeros where there are none for exactly these tensors."""
    found = {name: state.get(f"{prefix}/{name}") for name in like}
    if all(value is not None and value.shape == like[name].shape for name, value in found.items()):
        return {name: value.astype(np.float64) for name, value in found.items() if value is not None}
    return {name: np.zeros(array.shape, np.float64) for name, array in like.items()}


def _named(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}/{name}": array for name, array in tensors.items()}
