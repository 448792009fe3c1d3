"""FedProx's term (Li et al. 2020): mu/2 |w - w0|², which holds a site's weights near the global ones that its training began with."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Proximal:
    """Holds the trainable parameters of ``network`` near where they are now. Frozen parts, counters and running statistics are left alone."""

    def __init__(self, network: "torch.nn.Module", mu: float) -> None:
        self._mu = mu
        self._anchors = [(parameter, parameter.detach().clone()) for parameter in network.parameters() if parameter.requires_grad]

    def loss(self) -> "torch.Tensor":
        """The term for the parameters as they are; its gradient is mu (w - w0)."""
        import torch

        return self._mu / 2 * torch.stack([(parameter - anchor).square().sum() for parameter, anchor in self._anchors]).sum()
