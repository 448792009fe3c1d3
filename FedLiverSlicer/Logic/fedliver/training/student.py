"""The student: the teacher's network, trained further on what clinicians approved."""

import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedliver.errors import Cancelled, FedLiverError
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.plan import StagePlan
from fedliver.teacher.precision import inference_precision
from fedliver.training.examples import Example
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import Patch, PatchSource, PatientPatches, augmentation
from fedliver.watch import Silent, Watcher

if TYPE_CHECKING:
    import torch


CHECKPOINT_STEPS = 250


class TrainingWatcher(Watcher, Protocol):
    """A watcher that is also told every training step."""

    def step(self, n: int, total: int, loss: float) -> None:
        """Step ``n`` of ``total`` is done (1-based), with this loss."""


class SilentTraining(Silent):
    """Shows nothing and never cancels."""

    def step(self, n: int, total: int, loss: float) -> None:
        pass


@dataclass(frozen=True)
class TrainingOutcome:
    """A trained network; ``loss`` is the mean over the last tenth of the steps."""

    network: "torch.nn.Module"
    steps: int
    loss: float
    seconds: float


def train(teacher: Teacher, examples: Sequence[Example], settings: TrainingSettings, watcher: TrainingWatcher | None = None) -> TrainingOutcome:
    """Train a copy of the teacher's network on the annotated examples. The teacher itself is not touched.

    Raises
    ------
    FedLiverError
        ``no-approved-case`` when no example has labels, ``training-diverged`` when the loss is no longer a number.
    Cancelled
        Within one step of the watcher's wish.
    """
    watcher = watcher or SilentTraining()
    source = PatientPatches.of(examples, teacher.plan, watcher)
    return train_on_patches(deepcopy(teacher.network), teacher.plan, source, settings, watcher)


def train_on_patches(
    network: "torch.nn.Module",
    plan: StagePlan,
    source: PatchSource,
    settings: TrainingSettings,
    watcher: TrainingWatcher | None = None,
    checkpoint: Callable[[int, "torch.nn.Module"], None] | None = None,
) -> TrainingOutcome:
    """Train ``network`` in place on patches drawn from ``source``: AdamW, cosine decay after a warm-up, gradients clipped.

    ``checkpoint`` is called every :data:`CHECKPOINT_STEPS` steps with the network that would be handed back now.
    """
    import torch

    watcher = watcher or SilentTraining()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    started = time.monotonic()
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    average = _MovingAverage(network, settings.average_decay)
    batches = _Batches(source, plan, settings)
    losses: list[float] = []
    network.train()
    progress = 0.0
    while progress < 1:
        if watcher.cancelled():
            raise Cancelled("training")
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _learning_rate_fraction(len(losses), progress, settings)
        losses.append(_step(network, optimiser, batches.next(), settings))
        average.update(network)
        watcher.step(len(losses), settings.steps, losses[-1])
        if checkpoint and len(losses) % CHECKPOINT_STEPS == 0:
            checkpoint(len(losses), average.of(network))
        progress = max(len(losses) / settings.steps, (time.monotonic() - started) / (60 * settings.minutes) if settings.minutes else 0.0)
    average.copy_to(network)
    last = losses[-max(1, len(losses) // 10) :]
    return TrainingOutcome(network.eval(), len(losses), float(np.mean(last)), time.monotonic() - started)


def _step(network: "torch.nn.Module", optimiser: "torch.optim.Optimizer", batch: "tuple[torch.Tensor, ...]", settings: TrainingSettings) -> float:
    import torch

    from fedliver.training.loss import segmentation_loss

    images, labels, tumour_labelled = batch
    with inference_precision():
        logits = network(images)
    loss = segmentation_loss(logits.float(), labels, tumour_labelled)
    if not torch.isfinite(loss):
        raise FedLiverError(
            "training-diverged", "The training diverged (the loss is not a number), so its result was thrown away: lower the learning rate and try again."
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
    optimiser.step()
    return float(loss.detach())


def _learning_rate_fraction(step: int, progress: float, settings: TrainingSettings) -> float:
    if step < settings.warm_up_steps:
        return (step + 1) / settings.warm_up_steps
    floor = settings.final_learning_rate_fraction
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


class _Batches:
    """Batches of augmented patches, the same for the same seed."""

    def __init__(self, source: PatchSource, plan: StagePlan, settings: TrainingSettings) -> None:
        self._source = source
        self._rng = np.random.default_rng(settings.seed)
        self._augment = augmentation(plan, settings.seed) if settings.augment else None
        self._size = settings.batch_size

    def next(self) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        import torch

        patches = [self._augmented(self._source.draw(self._rng)) for _ in range(self._size)]
        images = torch.stack([torch.as_tensor(np.asarray(patch.image), dtype=torch.float32) for patch in patches])
        labels = torch.stack([torch.as_tensor(np.asarray(patch.labels[0]), dtype=torch.int64) for patch in patches])
        return images, labels, torch.tensor([patch.tumour_labelled for patch in patches])

    def _augmented(self, patch: Patch) -> Patch:
        if self._augment is None:
            return patch
        out = self._augment({"image": patch.image, "labels": patch.labels})
        return Patch(np.asarray(out["image"]), np.asarray(out["labels"]).round(), patch.tumour_labelled)


class _MovingAverage:
    """The exponential moving average of the weights (Tarvainen and Valpola 2017), warmed up so that early steps do not linger."""

    def __init__(self, network: "torch.nn.Module", decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._average = deepcopy(network.state_dict()) if decay else {}

    def update(self, network: "torch.nn.Module") -> None:
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for key, value in network.state_dict().items() if self._average else ():
            if value.dtype.is_floating_point:
                self._average[key].lerp_(value, 1 - decay)
            else:
                self._average[key].copy_(value)

    def of(self, network: "torch.nn.Module") -> "torch.nn.Module":
        copy = deepcopy(network)
        self.copy_to(copy)
        return copy.eval()

    def copy_to(self, network: "torch.nn.Module") -> None:
        if self._average:
            network.load_state_dict(self._average)
