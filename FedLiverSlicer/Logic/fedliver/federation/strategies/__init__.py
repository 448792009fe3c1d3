"""How updates become one. Every update is a change: by how much a site moved the weights that it was sent."""

from fedliver.federation.strategies.aggregate import Aggregate, Aggregation, UpdateRefusedError
from fedliver.federation.strategies.by_name import aggregation_of, server_step_of
from fedliver.federation.strategies.server_step import ServerStep

__all__ = ["Aggregate", "Aggregation", "ServerStep", "UpdateRefusedError", "aggregation_of", "server_step_of"]
