"""A round's updates: each is checked as it comes, weighed by its site's cases, and handed to the strategy."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedliver.federation.strategies.aggregate import Aggregate, Change, UpdateRefusedError
from fedliver.federation.strategies.by_name import aggregation_of
from fedliver.site.egress import TensorKind, averaged
from fedliver.site.policy import Policy
from fedliver.site.rules import PrivacyMinimums

_ROUNDED = 1.001
"""By so much single precision may lengthen an update."""
_NOISE_ROOM, _NOISE_REACHES = 1.1, 5.0


def longest_norm(privacy: PrivacyMinimums, numbers: int) -> float | None:
    """The longest update of so many numbers that a site's filter lets out under the policy; None where it names no bound.

    The norm of noise on n numbers is the square root of n standard deviations, and hardly varies: the room for it is a tenth, and for few numbers some
    deviations more. A site that adds more noise than the policy asks for is told apart from one without a filter by nothing, and is refused too.
    """
    if privacy.norm_bound is None:
        return None
    if not privacy.noise_multiplier:
        return privacy.norm_bound * _ROUNDED
    return privacy.norm_bound * (_ROUNDED + privacy.noise_multiplier * (_NOISE_ROOM * math.sqrt(numbers) + _NOISE_REACHES))


class Intake:
    """Takes the updates of one round.

    Parameters
    ----------
    policy:
        Its strategy, weights and limits.
    kinds:
        The tensors that sites train; those that are not floating point (counters) take no part.
    scratch:
        A folder for the strategies that need all updates at once.
    usual_norm:
        The median length of the round before, for the policy's ``outlier_norm``; None where there is none to compare with.
    """

    def __init__(self, policy: Policy, kinds: Mapping[str, TensorKind], scratch: Path, usual_norm: float | None = None) -> None:
        self._policy = policy
        self._shapes = {name: kind.shape for name, kind in averaged(kinds).items()}
        self._usual_norm = usual_norm
        self._longest = longest_norm(policy.privacy, sum(math.prod(shape) for shape in self._shapes.values()))
        self._aggregation = aggregation_of(policy.strategy, self._shapes.items(), scratch)
        self.norms: dict[str, float] = {}
        """Of every update that was taken, by site."""

    @property
    def enough(self) -> int:
        """So many updates make a round."""
        return max(self._policy.quorum, self._policy.strategy.fewest_updates)

    def add(self, site: str, change: Change, cases: int, unlabelled: int = 0) -> None:
        """Take one site's change. Raises :class:`UpdateRefusedError`, and is then as before; or FedLiverError ``disk-full``."""
        weight = self._weight(cases, unlabelled)
        if {name: array.shape for name, array in change.items()} != self._shapes:
            raise UpdateRefusedError("sent tensors of another network")
        if not all(np.isfinite(array).all() for array in change.values()):
            raise UpdateRefusedError("sent numbers that are not finite")
        norm = math.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in change.values()))
        if self._longest is not None and norm > self._longest:
            raise UpdateRefusedError(f"sent an update {norm / self._longest:.1f} times as long as the policy's norm bound allows")
        limit = self._policy.outlier_norm
        if limit is not None and self._usual_norm and norm > limit * self._usual_norm:
            raise UpdateRefusedError(f"sent an update {norm / self._usual_norm:.0f} times as long as was usual in the round before")
        self._aggregation.add(site, change, weight)
        self.norms[site] = norm

    def result(self) -> Aggregate:
        """The round's aggregate (``ValueError`` if there are fewer updates than :attr:`enough`)."""
        if len(self.norms) < self.enough:
            raise ValueError("too few updates were added")
        return self._aggregation.result()

    def close(self) -> None:
        """Remove what was kept on disk."""
        self._aggregation.close()

    def _weight(self, cases: int, unlabelled: int) -> float:
        if min(cases, unlabelled) < 0 or not 1 <= cases + unlabelled <= self._policy.plausible_cases:
            raise UpdateRefusedError("claims an impossible number of cases")
        weight = min(cases + self._policy.unlabelled_share * unlabelled, float(self._policy.weight_cap_cases))
        if not weight:
            raise UpdateRefusedError("trained on nothing that counts by the policy")
        return weight
