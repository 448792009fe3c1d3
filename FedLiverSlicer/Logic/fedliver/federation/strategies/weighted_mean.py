"""Federated averaging (McMahan et al. 2017): one sum in double precision, whatever the number of sites."""

from collections.abc import Iterable

import numpy as np

from fedliver.federation.strategies.aggregate import Aggregate, Change


class WeightedMean:
    """The mean of the sites' changes by their weights, summed as they arrive.

    Parameters
    ----------
    shapes:
        Name and shape of every tensor of a change.
    """

    def __init__(self, shapes: Iterable[tuple[str, tuple[int, ...]]]) -> None:
        self._sum = {name: np.zeros(shape, np.float64) for name, shape in shapes}
        self._weights: dict[str, float] = {}

    def add(self, site: str, change: Change, weight: float) -> None:
        for name, total in self._sum.items():
            total += weight * change[name].astype(np.float64)
        self._weights[site] = weight

    def result(self) -> Aggregate:
        if not self._weights:
            raise ValueError("no update was added")
        whole = sum(self._weights.values())
        return Aggregate({name: total / whole for name, total in self._sum.items()}, {site: weight / whole for site, weight in self._weights.items()})

    def close(self) -> None:
        pass
