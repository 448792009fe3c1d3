"""The networks of a plan."""

from typing import TYPE_CHECKING, Any

from fedliver.labels import LEGAL_VALUES
from fedliver.teacher.plan import NetworkPlan, TeacherPlan

if TYPE_CHECKING:
    import torch


def unet_arguments(plan: NetworkPlan) -> dict[str, Any]:
    """The arguments of ``monai.networks.nets.UNet`` for ``plan``; the bundle's ``inference.json`` carries the same."""
    return {
        "spatial_dims": 3,
        "in_channels": plan.fold**3,
        "out_channels": len(LEGAL_VALUES) * plan.fold**3,
        "channels": list(plan.channels),
        "strides": list(plan.strides),
        "num_res_units": plan.residual_units,
        "norm": plan.norm,
        "act": plan.activation,
    }


def build_stage(plan: NetworkPlan) -> "torch.nn.Module":
    """One untrained network: (batch, 1, i, j, k) float to (batch, 3, i, j, k) logits."""
    import torch
    from monai.networks.blocks import SubpixelDownsample, SubpixelUpsample
    from monai.networks.nets import UNet

    unet = UNet(**unet_arguments(plan))
    if plan.fold == 1:
        return unet
    stage = torch.nn.Sequential(
        SubpixelDownsample(3, 1, scale_factor=plan.fold, conv_block=None),
        unet,
        SubpixelUpsample(3, len(LEGAL_VALUES), scale_factor=plan.fold, conv_block=None, apply_pad_pool=False),
    )
    # Channels last: a training step on a CPU takes three quarters of the time.
    return stage.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def build_network(plan: TeacherPlan) -> "torch.nn.Module":
    """An untrained network: (batch, 1, i, j, k) float to (batch, 3, i, j, k) logits.

    With a finder in the plan it is a :class:`~fedliver.teacher.coarse_to_fine.CoarseToFine`.
    """
    fine = build_stage(plan.network)
    if plan.finder is None:
        return fine
    from fedliver.teacher.coarse_to_fine import CoarseToFine

    return CoarseToFine(fine, build_stage(plan.finder.network))
