"""What every way of aggregating has in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

Change = Mapping[str, np.ndarray]
"""By tensor name, how far the weights moved; floating point."""


UNREADABLE = "sent something unreadable"
"""Why an answer is refused over which a library has tripped."""


class UpdateRefusedError(Exception):
    """An update that must not be used; its text says why, in our own words, and holds nothing that the site sent."""


@dataclass(frozen=True)
class Aggregate:
    """What was made of a round's updates.

    ``shares`` are parts of 1 by site, as far as a site has one number that says how much it counted. ``left_out`` says of a site why it did not count.
    """

    change: dict[str, np.ndarray]
    """float64."""
    shares: dict[str, float]
    left_out: dict[str, str] = field(default_factory=dict)


class Aggregation(Protocol):
    """One round's updates, taken as they come."""

    def add(self, site: str, change: Change, weight: float) -> None:
        """Take one site's change; it can be thrown away afterwards. Tensors and finiteness have been checked; ``weight`` is above 0.

        Raises FedLiverError ``disk-full`` where updates are kept on disk.
        """

    def result(self) -> Aggregate:
        """What they make together. At least the strategy's ``fewest_updates`` must have been added (``ValueError``)."""

    def close(self) -> None:
        """Remove what was kept on disk."""
