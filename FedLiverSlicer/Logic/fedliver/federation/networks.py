"""Weights as NumPy arrays to a plan's network and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedliver.coordinator.checkpoints import Weights

if TYPE_CHECKING:
    import torch


def weights_of(network: "torch.nn.Module") -> Weights:
    """Every tensor of the network's state, copied."""
    return {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}


def load_weights(network: "torch.nn.Module", weights: Mapping[str, np.ndarray]) -> None:
    """Put ``weights`` into ``network``; names and shapes have been checked."""
    import torch

    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
