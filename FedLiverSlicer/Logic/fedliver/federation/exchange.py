"""One sending to the sites, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fedliver.coordinator.records import SiteUpdate
from fedliver.federation.secure.words import Masking
from fedliver.federation.shipping import GlobalModel

MEGABYTE = 1e6


@dataclass
class Exchange:
    """Fills while a round is on. ``names``: of the sites that were asked, by node."""

    number: int
    kind: str
    model: GlobalModel
    started: float
    names: dict[int, str]
    pending: dict[str, int] = field(default_factory=dict)
    megabytes_down: dict[str, float] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    """The sites that lacked what the model was built on, and were sent it whole."""
    updates: dict[str, SiteUpdate] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    masking: Masking | None = None
    """Where only the sum of the updates is to be seen."""

    @property
    def reasons(self) -> str:
        """Which sites' updates were not used, and why; empty if all were."""
        return "; ".join(f"{update.site} {update.refused}" for update in self.updates.values() if update.refused)


@dataclass(frozen=True)
class Losses:
    """Writes down what becomes of the sites of a masked sum. ``note`` tells a site's entry to whoever watches."""

    exchange: Exchange
    note: Callable[[Exchange, SiteUpdate], None]

    def lost(self, node: int, why: str) -> None:
        self.note(self.exchange, self.exchange.updates[self.exchange.names[node]].model_copy(update={"refused": why}))

    def arrived(self, node: int, size: int) -> None:
        update = self.exchange.updates[self.exchange.names[node]]
        self.exchange.updates[update.site] = update.model_copy(update={"megabytes_up": update.megabytes_up + size / MEGABYTE})
