"""The task's network, untrained."""

from typing import TYPE_CHECKING

from fedliver.study.federated.task import ResNetSettings, Task

if TYPE_CHECKING:
    import torch

_RESNET_CHANNELS = (64, 128, 256, 512)
_GROUPS = 8


def untrained(task: Task, classes: int, seed: int) -> "torch.nn.Module":
    """The same seed gives the same weights, in every arm: (batch, 1, ...) float to (batch, classes, ...) or (batch, classes) logits."""
    import torch
    from monai.networks.nets import ResNet, UNet

    torch.manual_seed(seed)
    network = task.network
    if isinstance(network, ResNetSettings):
        channels = [max(1, round(network.width * number)) for number in _RESNET_CHANNELS]
        return ResNet(
            "basic",
            [2, 2, 2, 2],
            channels,
            spatial_dims=len(task.data.size),
            n_input_channels=1,
            num_classes=classes,
            conv1_t_stride=2,
            norm="batch" if network.norm == "batch" else ("group", {"num_groups": min(_GROUPS, *channels)}),
        )
    return UNet(3, 1, classes, network.channels, network.strides, num_res_units=network.residual_units)


def output_classes(task: Task, classes: tuple[str, ...]) -> int:
    """How many classes the network tells apart."""
    return len(classes) if task.kind == "classification" else task.label_count
