"""Local training, the same in every arm: AdamW on the task's loss, the learning rate falling as a cosine over the whole study.

A federation's site starts each round with a fresh learner, as federated averaging was published; the centralised and the lone site keep theirs from
beginning to end.
"""

import math
from typing import TYPE_CHECKING

from fedliver.errors import FedLiverError
from fedliver.study.federated.batches import Batches
from fedliver.study.federated.task import Task
from fedliver.teacher.precision import inference_precision
from fedliver.training.proximal import Proximal

if TYPE_CHECKING:
    import torch


class Learner:
    """Trains ``network`` in place.

    Parameters
    ----------
    proximal:
        FedProx's mu (Li et al. 2020): the network is held near the weights it has now by mu/2 |w - now|².
    """

    def __init__(self, task: Task, network: "torch.nn.Module", batches: Batches, proximal: float = 0.0) -> None:
        import torch

        torch.set_num_threads(task.training.threads)
        self._plan = task.training
        self._network = network
        self._batches = batches
        self._loss = _loss_of(task)
        self._optimiser = torch.optim.AdamW(network.parameters(), lr=self._plan.learning_rate, weight_decay=self._plan.weight_decay)
        self._proximal = Proximal(network, proximal) if proximal else None

    def learn(self, first: int, steps: int, total: int) -> float:
        """Steps ``first`` to ``first + steps`` of ``total``; the mean loss.

        Raises
        ------
        FedLiverError
            ``training-diverged`` when the loss is no longer a number.
        """
        import torch

        self._network.train()
        losses = 0.0
        for step in range(first, first + steps):
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate(step / total)
            images, targets = self._batches.next()
            self._optimiser.zero_grad(set_to_none=True)
            with inference_precision():
                logits = self._network(images)
            loss = self._loss(logits.float(), targets)
            if not torch.isfinite(loss):
                raise FedLiverError("training-diverged", "The training diverged (the loss is not a number): lower the task's learning rate.")
            loss.backward()
            if self._proximal is not None:
                self._proximal.loss().backward()
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._plan.gradient_clip)
            self._optimiser.step()
            losses += float(loss.detach())
        self._network.eval()
        return losses / steps

    def _rate(self, progress: float) -> float:
        floor = self._plan.final_learning_rate_fraction
        return self._plan.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def _loss_of(task: Task) -> "torch.nn.Module":
    import torch
    from monai.losses import DiceCELoss

    if task.kind == "classification":
        return torch.nn.CrossEntropyLoss()
    return DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
