"""Weights as NumPy arrays to a plan's network and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedliver.coordinator.checkpoints import Weights
from fedliver.site.egress import TensorKind
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan

if TYPE_CHECKING:
    import torch


def weights_of(network: "torch.nn.Module") -> Weights:
    """Every tensor of the network's state, copied."""
    return {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}


def agreed_tensors(plan: TeacherPlan) -> dict[str, TensorKind]:
    """What every tensor of a plan's network looks like. No memory is taken for them."""
    import torch

    with torch.device("meta"):
        state = build_network(plan).state_dict()
    return {name: TensorKind(tuple(value.shape), torch.empty(0, dtype=value.dtype, device="cpu").numpy().dtype) for name, value in state.items()}


def load_weights(network: "torch.nn.Module", weights: Mapping[str, np.ndarray]) -> None:
    """Put ``weights`` into ``network``; names and shapes have been checked."""
    import torch

    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
