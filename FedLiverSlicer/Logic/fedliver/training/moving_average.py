"""The exponential moving average of a network's weights: what is handed back, and the teacher of a Mean Teacher."""

from copy import deepcopy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class MovingAverage:
    """Tarvainen and Valpola 2017, warmed up so that early steps do not linger. With a decay of 0 it is the network itself."""

    def __init__(self, network: "torch.nn.Module", decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self.network = deepcopy(network).requires_grad_(False).eval() if decay else network

    def update(self, network: "torch.nn.Module") -> None:
        """Move towards ``network`` after one of its steps."""
        if not self._decay:
            return
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        average = self.network.state_dict()
        for key, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                average[key].lerp_(value, 1 - decay)
            else:
                average[key].copy_(value)

    def copy_to(self, network: "torch.nn.Module") -> None:
        """Give ``network`` the averaged weights."""
        if self._decay:
            network.load_state_dict(self.network.state_dict())

    def copy_of(self, network: "torch.nn.Module") -> "torch.nn.Module":
        """A copy of ``network`` with the averaged weights, not in training."""
        copy = deepcopy(network)
        self.copy_to(copy)
        return copy.eval()
