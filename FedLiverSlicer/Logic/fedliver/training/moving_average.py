"""The exponential moving average of a network's weights: what is handed back, and the teacher of a Mean Teacher."""

from copy import deepcopy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class MovingAverage:
    """Tarvainen and Valpola 2017, warmed up so that early steps do not linger. With a decay of 0 it is the network itself."""

    def __init__(self, network: "torch.nn.Module", decay: float) -> None:
        self._decay = decay
        self.steps = 0
        """How many it is the average of."""
        self.network = deepcopy(network).requires_grad_(False).eval() if decay else network

    @property
    def state(self) -> "dict[str, torch.Tensor] | None":
        """The averaged weights; None where there is no average."""
        return self.network.state_dict() if self._decay else None

    def resume(self, state: "dict[str, torch.Tensor]", steps: int) -> None:
        """Go on from an average of ``steps`` steps."""
        self.steps = steps
        self.network.load_state_dict(state)

    def take_over(self, before: "dict[str, torch.Tensor]", steps: int, stood: int) -> None:
        """Go on from another training's average of ``steps`` steps, as if its student had then stood for ``stood`` steps where this network stands now."""
        now = {key: value.clone() for key, value in self.network.state_dict().items()}
        self.network.load_state_dict(before)
        self._move_towards(now, self._decay**stood)
        self.steps = steps + stood

    def update(self, network: "torch.nn.Module") -> None:
        """Move towards ``network`` after one of its steps."""
        if not self._decay:
            return
        self.steps += 1
        self._move_towards(network.state_dict(), min(self._decay, (1 + self.steps) / (10 + self.steps)))

    def _move_towards(self, state: "dict[str, torch.Tensor]", decay: float) -> None:
        average = self.network.state_dict()
        for key, value in state.items():
            if value.dtype.is_floating_point:
                average[key].lerp_(value, 1 - decay)
            else:
                average[key].copy_(value)

    def copy_to(self, network: "torch.nn.Module") -> None:
        """Give ``network`` the averaged weights."""
        if self._decay:
            network.load_state_dict(self.network.state_dict())
