"""One gradient step: what the student's training and a study's have in common, whatever they learn and from what."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedliver.errors import FedLiverError
from fedliver.training.proximal import Proximal

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class DescentSettings:
    """How steps are taken. ``proximal`` is FedProx's mu (Li et al. 2020): the network is held near the weights it has now by mu/2 |w - now|²."""

    learning_rate: float
    weight_decay: float
    gradient_clip: float
    proximal: float = 0.0


class Descent:
    """AdamW on ``network``, in place."""

    def __init__(self, network: "torch.nn.Module", settings: DescentSettings) -> None:
        import torch

        self._network = network
        self._settings = settings
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        self._proximal = Proximal(network, settings.proximal) if settings.proximal else None

    def step(self, rate: float, losses: "Iterable[Callable[[], torch.Tensor | None]]") -> float:
        """Take one step, with ``rate`` of the learning rate, on the sum of what ``losses`` compute, and return that sum. None: nothing to learn from.

        One backward pass after the other, so that the activations of only one batch are in memory.

        Raises
        ------
        FedLiverError
            ``training-diverged`` when a loss is no longer a number.
        """
        import torch

        for group in self.optimiser.param_groups:
            group["lr"] = self._settings.learning_rate * rate
        self.optimiser.zero_grad(set_to_none=True)
        total = sum(self._backward(loss) for loss in losses)
        if self._proximal is not None:
            self._proximal.loss().backward()  # no part of the loss that is told: that says how well the network fits its cases
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._settings.gradient_clip)
        self.optimiser.step()
        return total

    @staticmethod
    def _backward(loss_of: "Callable[[], torch.Tensor | None]") -> float:
        import torch

        loss = loss_of()
        if loss is None:
            return 0.0
        if not torch.isfinite(loss):
            raise FedLiverError(
                "training-diverged", "The training diverged (the loss is not a number), so its result was thrown away: lower the learning rate and try again."
            )
        loss.backward()
        return float(loss.detach())


def cosine(progress: float, floor: float) -> float:
    """The part of the learning rate after ``progress`` (0 to 1) of the training: from 1 down to ``floor`` as half a cosine (Loshchilov and Hutter 2017)."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
