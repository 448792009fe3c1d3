"""Ends a training when a score on images that do not train stops rising, and hands back the best weights it had."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch

Judge = Callable[["torch.nn.Module"], float]
"""Seam: scores a network in evaluation mode; higher is better."""


class Patience(BaseModel):
    """How often to look, and how long to hope."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every_steps: int = Field(500, ge=1)
    looks: int = Field(6, ge=1)
    """The training ends when so many looks in a row found nothing better."""


class EarlyStopping:
    """Parameters
    ----------
    judge:
        What the network is worth.
    """

    def __init__(self, judge: Judge, patience: Patience) -> None:
        self._judge = judge
        self._patience = patience
        self._best: dict[str, torch.Tensor] | None = None
        self.best_score: float | None = None
        self._in_vain = 0

    def look(self, step: int, network: "torch.nn.Module") -> bool:
        """Judge ``network`` if it is time, and say whether the training should end."""
        if step % self._patience.every_steps:
            return False
        training = network.training
        score = self._judge(network.eval())
        network.train(training)
        if self.best_score is None or score > self.best_score:
            self.best_score, self._in_vain = score, 0
            self._best = {name: value.clone() for name, value in network.state_dict().items()}
        else:
            self._in_vain += 1
        return self._in_vain >= self._patience.looks

    def hand_back(self, network: "torch.nn.Module") -> None:
        """Give ``network`` the best weights; nothing happens if nobody ever looked."""
        if self._best is not None:
            network.load_state_dict(self._best)

    @property
    def state(self) -> dict[str, object]:
        """For a savepoint."""
        return {"best": self._best, "best_score": self.best_score, "in_vain": self._in_vain}

    def resume(self, state: dict[str, object]) -> None:
        """Go on where a savepoint was made."""
        self._best, self.best_score, self._in_vain = state["best"], state["best_score"], state["in_vain"]  # type: ignore[assignment]
