"""How updates become one. Every update is a change: by how much a site moved the weights that it was sent."""

from fedliver.federation.strategies.aggregate import UNREADABLE, Aggregate, Aggregation, UpdateRefusedError
from fedliver.federation.strategies.by_name import aggregation_of, server_step_of
from fedliver.federation.strategies.intake import Intake
from fedliver.federation.strategies.robust import remove_leftovers
from fedliver.federation.strategies.server_step import ServerStep

__all__ = [
    "UNREADABLE",
    "Aggregate",
    "Aggregation",
    "Intake",
    "ServerStep",
    "UpdateRefusedError",
    "aggregation_of",
    "remove_leftovers",
    "server_step_of",
]
