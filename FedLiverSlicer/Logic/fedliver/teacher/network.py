"""The network of a plan."""

from typing import TYPE_CHECKING

from fedliver.labels import LEGAL_VALUES
from fedliver.teacher.plan import TeacherPlan

if TYPE_CHECKING:
    import torch


def network_arguments(plan: TeacherPlan) -> dict:
    """The arguments of ``monai.networks.nets.UNet`` for ``plan``; the bundle's ``inference.json`` carries the same."""
    return {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": len(LEGAL_VALUES),
        "channels": list(plan.network.channels),
        "strides": list(plan.network.strides),
        "num_res_units": plan.network.residual_units,
        "norm": plan.network.norm,
    }


def build_network(plan: TeacherPlan) -> "torch.nn.Module":
    """An untrained network: (batch, 1, i, j, k) float to (batch, 3, i, j, k) logits."""
    from monai.networks.nets import UNet

    return UNet(**network_arguments(plan))
