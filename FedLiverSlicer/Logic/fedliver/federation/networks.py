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
    return _kinds(_shape_of(plan))


def trained_tensors(plan: TeacherPlan) -> dict[str, TensorKind]:
    """Those of :func:`agreed_tensors` that a round can change, and so the only ones that a site sends.

    A part of the network whose parameters are all frozen (the finder) stays as it is everywhere, its counters and statistics too.
    """
    network = _shape_of(plan)
    frozen = {name for name, part in network.named_children() if not any(parameter.requires_grad for parameter in part.parameters())}
    return {name: kind for name, kind in _kinds(network).items() if name.split(".", 1)[0] not in frozen}


def _shape_of(plan: TeacherPlan) -> "torch.nn.Module":
    import torch

    with torch.device("meta"):
        return build_network(plan)


def _kinds(network: "torch.nn.Module") -> dict[str, TensorKind]:
    import torch

    return {name: TensorKind(tuple(value.shape), torch.empty(0, dtype=value.dtype, device="cpu").numpy().dtype) for name, value in network.state_dict().items()}


def load_weights(network: "torch.nn.Module", weights: Mapping[str, np.ndarray]) -> None:
    """Put ``weights`` into ``network``; names and shapes have been checked."""
    import torch

    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
