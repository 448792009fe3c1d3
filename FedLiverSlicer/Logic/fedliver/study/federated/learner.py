"""Local training, the same in every arm: AdamW on the task's loss, the learning rate falling as a cosine over the whole study.

A federation's site starts each round with a fresh learner, as federated averaging was published; the centralised and the lone site keep theirs from
beginning to end.
"""

from typing import TYPE_CHECKING

from fedliver.study.federated.batches import Batches
from fedliver.study.federated.task import Task
from fedliver.teacher.device import repeatable
from fedliver.teacher.precision import inference_precision
from fedliver.training.descent import Descent, DescentSettings, cosine

if TYPE_CHECKING:
    import torch


class Learner:
    """Trains ``network`` in place and where it is, in the steps of every training here (:class:`~fedliver.training.descent.Descent`).

    ``proximal`` is FedProx's mu.
    """

    def __init__(self, task: Task, network: "torch.nn.Module", batches: Batches, proximal: float = 0.0) -> None:
        import torch

        torch.set_num_threads(task.training.threads)
        plan = task.training
        self._floor = plan.final_learning_rate_fraction
        self._network, self._device = network, next(network.parameters()).device
        self._batches = batches
        self._loss = _loss_of(task)
        self.taken = 0
        """Steps that were taken, counted."""
        self._descent = Descent(network, DescentSettings(plan.learning_rate, plan.weight_decay, plan.gradient_clip, proximal))

    def learn(self, first: int, steps: int, total: int) -> float:
        """Steps ``first`` to ``first + steps`` of ``total``; the mean loss.

        Raises
        ------
        FedLiverError
            ``training-diverged`` when the loss is no longer a number.
        """
        self._network.train()
        with repeatable(str(self._device)):
            losses = sum(self._step(cosine(step / total, self._floor)) for step in range(first, first + steps))
        self._network.eval()
        return losses / steps

    def _step(self, rate: float) -> float:
        self.taken += 1
        return self._descent.step(rate, (self._on_a_batch,))

    def _on_a_batch(self) -> "torch.Tensor":
        images, targets = self._batches.next()
        with inference_precision(str(self._device)):
            logits = self._network(images.to(self._device))
        return self._loss(logits.float(), targets.to(self._device))


def _loss_of(task: Task) -> "torch.nn.Module":
    import torch
    from monai.losses import DiceCELoss

    if task.kind == "classification":
        return torch.nn.CrossEntropyLoss()
    return DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
