"""How updates become one: federated averaging (McMahan et al. 2017), with updates checked one by one and summed in double precision as they arrive."""

from collections.abc import Mapping

import numpy as np

from fedliver.coordinator.checkpoints import Weights, same_tensors
from fedliver.site.policy import Policy


class UpdateRefusedError(Exception):
    """An update that must not enter the mean; its text says why, in our own words, and holds nothing that the site sent."""


class WeightedMean:
    """The mean of the sites' weights, each by its number of cases, capped by the policy; a scan without labels counts as a part of a case.

    Keeps one sum, whatever the number of sites: an update can be thrown away once it is added.

    Parameters
    ----------
    reference:
        The global weights that the sites started from; updates must have the same names, shapes and types, and tensors that are not floating point
        (counters) keep its values.
    """

    def __init__(self, reference: Mapping[str, np.ndarray], policy: Policy) -> None:
        self._reference = reference
        self._policy = policy
        self._sum = {name: np.zeros(array.shape, np.float64) for name, array in reference.items() if _is_float(array)}
        self.weight = 0.0

    def add(self, weights: Mapping[str, np.ndarray], cases: int, unlabelled: int = 0) -> float:
        """Add one update and return the weight it got. Raises :class:`UpdateRefusedError`; the mean is then as before."""
        if min(cases, unlabelled) < 0 or not 1 <= cases + unlabelled <= self._policy.plausible_cases:
            raise UpdateRefusedError("claims an impossible number of cases")
        if not same_tensors(weights, self._reference):
            raise UpdateRefusedError("sent tensors of another network")
        if not all(np.isfinite(weights[name]).all() for name in self._sum):
            raise UpdateRefusedError("sent numbers that are not finite")
        weight = min(cases + self._policy.unlabelled_share * unlabelled, float(self._policy.weight_cap_cases))
        if not weight:
            raise UpdateRefusedError("trained on nothing that counts by the policy")
        for name, total in self._sum.items():
            total += weight * weights[name].astype(np.float64)
        self.weight += weight
        return weight

    def mean(self) -> Weights:
        """The mean of what was added, in the reference's types. At least one update must have been added."""
        if not self.weight:
            raise ValueError("no update was added")
        return {name: (self._sum[name] / self.weight).astype(array.dtype) if name in self._sum else array.copy() for name, array in self._reference.items()}


def _is_float(array: np.ndarray) -> bool:
    return np.issubdtype(array.dtype, np.floating)
