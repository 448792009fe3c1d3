"""The student: the teacher's network, trained further on what clinicians approved, and on the scans that nobody annotated."""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedliver.cases.examples import Example
from fedliver.errors import Cancelled
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.device import PROCESSOR, Device, choose_device, network_on, release_memory, repeatable
from fedliver.teacher.precision import inference_precision
from fedliver.training.consistency import unlabelled_loss
from fedliver.training.descent import Descent, DescentSettings, cosine
from fedliver.training.early_stopping import EarlyStopping
from fedliver.training.moving_average import MovingAverage
from fedliver.training.savepoint import Savepoint, Standing
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import Patch, PatchSource, PatientPatches, UnlabelledPatches, augmentation
from fedliver.watch import Silent, Watcher

if TYPE_CHECKING:
    import torch


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
    """A trained network; ``loss`` is the mean over the last tenth of the steps. ``standing`` is for the next training at the same site to go on from."""

    network: "torch.nn.Module"
    steps: int
    loss: float
    seconds: float
    standing: Standing | None = None
    ran_on: Device = PROCESSOR
    """Where it was trained, in the end."""


def train(
    teacher: Teacher,
    examples: Sequence[Example],
    settings: TrainingSettings,
    watcher: TrainingWatcher | None = None,
    savepoint: Savepoint | None = None,
    before: Standing | None = None,
    device: Device | None = None,
) -> TrainingOutcome:
    """Train a copy of the teacher's network on the annotated examples, and with ``settings.consistency`` on the others too. The teacher itself is not touched.

    Parameters
    ----------
    savepoint, before, device:
        As for :func:`train_on_patches`.

    Raises
    ------
    FedLiverError
        ``no-approved-case`` when there is nothing to learn from, ``training-diverged`` when the loss is no longer a number.
    Cancelled
        Within one step of the watcher's wish.
    """
    watcher = watcher or SilentTraining()
    rng = np.random.default_rng(settings.seed)
    device = device or choose_device()
    unlabelled = UnlabelledPatches.of(examples, teacher, watcher, rng, device) if settings.consistency else None
    annotated = any(example.labels for example in examples)
    labelled = PatientPatches.of(examples, teacher.plan, watcher, rng) if annotated or unlabelled is None else None
    return train_on_patches(deepcopy(teacher.network), labelled, settings, watcher, unlabelled=unlabelled, savepoint=savepoint, before=before, device=device)


def train_on_patches(
    network: "torch.nn.Module",
    source: PatchSource | None,
    settings: TrainingSettings,
    watcher: TrainingWatcher | None = None,
    *,
    unlabelled: PatchSource | None = None,
    savepoint: Savepoint | None = None,
    before: Standing | None = None,
    stopping: EarlyStopping | None = None,
    device: Device | None = None,
) -> TrainingOutcome:
    """Train ``network`` in place on patches drawn from ``source``, and from ``unlabelled`` by consistency: AdamW, cosine decay after a warm-up.

    Every step draws from a seed of its own, so a training that was interrupted ends as it would have ended, if it is bounded by steps and not by minutes.

    Parameters
    ----------
    savepoint:
        Where this training's standing is kept from time to time, and taken up from if it is there. The caller removes it once the result is safe.
    before:
        How the training before this one, of another start but the same network, ended here (a site's last round): its optimiser's moments and its Mean
        Teacher are taken over. The weights are not.
    stopping:
        Ends the training before its steps are done where nothing improves any more; the weights handed back are then the best ones it saw.
    device:
        Where to train; chosen here and now if not given (:func:`~fedliver.teacher.device.choose_device`). A card that fails is given up for the processor,
        from the savepoint on or from the beginning, unless it was asked for by name (FedLiverError ``graphics-card-failed``).
    """
    device = device or choose_device()
    regime = _Regime(source, unlabelled, settings, stopping)

    def on(device: Device) -> TrainingOutcome:
        there = network_on(network, device.name)
        with repeatable(device.name):
            outcome = _train(there, regime, watcher or SilentTraining(), savepoint, before, device)
        if there is not network:
            network.load_state_dict(there.state_dict())
        return replace(outcome, network=network.eval())

    if device.is_card:
        try:
            return on(device)
        except RuntimeError as failure:  # what torch raises for a card without memory, and for one that breaks: a mistake of ours comes again below
            device = device.after(failure)
        release_memory()
    return on(device)


@dataclass(frozen=True)
class _Regime:
    """What a network learns from, how, and until when."""

    source: PatchSource | None
    unlabelled: PatchSource | None
    settings: TrainingSettings
    stopping: EarlyStopping | None


def _train(
    network: "torch.nn.Module", regime: _Regime, watcher: TrainingWatcher, savepoint: Savepoint | None, before: Standing | None, device: Device
) -> TrainingOutcome:
    """Train ``network``, which is on ``device``, in place."""
    import torch

    settings, stopping = regime.settings, regime.stopping
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    steps = _Steps(network, regime, device.name)
    kept = savepoint.read() if savepoint else None
    if kept is not None:
        steps.resume(kept)
    elif before is not None:
        steps.take_over(before)
    losses = list(kept.losses) if kept else []
    saved = time.monotonic()
    started = saved - (kept.seconds if kept else 0.0)

    def done() -> float:
        return max(len(losses) / settings.steps, (time.monotonic() - started) / (60 * settings.minutes) if settings.minutes else 0.0)

    progress = done()
    while progress < 1:
        if watcher.cancelled():
            if savepoint:
                savepoint.write(steps.standing(losses, time.monotonic() - started))
            raise Cancelled("training")
        losses.append(steps.take(len(losses), progress))
        watcher.step(len(losses), settings.steps, losses[-1])
        enough = stopping is not None and stopping.look(len(losses), steps.average.network)
        if savepoint and time.monotonic() - saved >= savepoint.every_seconds:
            savepoint.write(steps.standing(losses, time.monotonic() - started))
            saved = time.monotonic()
        progress = 1.0 if enough else done()
    seconds = time.monotonic() - started
    standing = steps.standing(losses, seconds)
    steps.average.copy_to(network)
    if stopping is not None:
        stopping.hand_back(network)
    last = losses[-max(1, len(losses) // 10) :]
    return TrainingOutcome(network.eval(), len(losses), float(np.mean(last)), seconds, standing, device)


class _Steps:
    """One training step after the other: the annotated batch, the batch nobody annotated, the optimiser, the moving averages.

    There are two averages where there is a Mean Teacher. ``average`` begins with this training and is handed back; ``tutor`` teaches, and may have begun
    rounds ago: handed back, it would pull the federation's mean towards where this site once was.
    """

    def __init__(self, network: "torch.nn.Module", regime: _Regime, device: str) -> None:
        settings = regime.settings
        self._network = network.train()
        self._device = device
        self._stopping = regime.stopping
        self._settings = settings
        self._descent = Descent(network, DescentSettings(settings.learning_rate, settings.weight_decay, settings.gradient_clip, settings.proximal))
        self._annotated = _Batches(regime.source, settings, device) if regime.source else None
        self._unlabelled = _Batches(regime.unlabelled, settings, device) if regime.unlabelled and settings.consistency else None
        self.average = MovingAverage(network, settings.average_decay)
        self._tutor = MovingAverage(network, settings.average_decay) if self._unlabelled else None
        self._drawn: tuple[torch.Tensor, torch.Tensor] | None = None
        """The annotated patches of this step."""

    def standing(self, losses: list[float], seconds: float) -> Standing:
        """Where the training stands. The tensors are the living ones: write them before the next step."""
        tutor, steps = (self._tutor.state, self._tutor.steps) if self._tutor else (None, 0)
        stopping = self._stopping.state if self._stopping else None
        moments = self._descent.optimiser.state_dict()
        return Standing(len(losses), seconds, losses, self._network.state_dict(), moments, self.average.state, tutor, steps, stopping)

    def resume(self, kept: Standing) -> None:
        """Go on with this very training."""
        self._network.load_state_dict(kept.network)
        self._descent.optimiser.load_state_dict(kept.optimiser)
        for average, state, steps in ((self.average, kept.average, kept.step), (self._tutor, kept.tutor, kept.tutor_steps)):
            if average is not None and state is not None:
                average.resume(state, steps)
        if self._stopping is not None and kept.stopping is not None:
            self._stopping.resume(kept.stopping)

    def take_over(self, before: Standing) -> None:
        """Begin with the moments and the Mean Teacher of the training before."""
        moments = {**before.optimiser, "param_groups": self._descent.optimiser.state_dict()["param_groups"]}
        self._descent.optimiser.load_state_dict(moments)
        if self._tutor is not None and before.tutor is not None:
            self._tutor.take_over(before.tutor, before.tutor_steps, before.step)

    def take(self, step: int, progress: float) -> float:
        """Do one step and return its loss."""
        import torch

        seed = int(np.random.SeedSequence([self._settings.seed, step]).generate_state(1)[0])
        torch.manual_seed(seed)
        for number, batches in enumerate((self._annotated, self._unlabelled)):
            if batches is not None:
                batches.seed(seed + number)
        rate = _learning_rate_fraction(step, progress, self._settings)
        total = self._descent.step(rate, (self._supervised, lambda: self._consistency(progress)))
        for average in (self.average, self._tutor):
            if average is not None:
                average.update(self._network)
        return total

    def _supervised(self) -> "torch.Tensor | None":
        from fedliver.training.loss import segmentation_loss

        if self._annotated is None:
            return None
        images, labels, tumour_labelled = self._annotated.next()
        self._drawn = images, labels
        with inference_precision(self._device):
            logits = self._network(images)
        return segmentation_loss(logits.float(), labels, tumour_labelled)

    def _consistency(self, progress: float) -> "torch.Tensor | None":
        settings = self._settings.consistency
        if self._unlabelled is None or self._tutor is None or settings is None:
            return None
        images = self._unlabelled.next()[0]
        return unlabelled_loss(self._network, self._tutor.network, images, self._drawn, progress, settings)


def _learning_rate_fraction(step: int, progress: float, settings: TrainingSettings) -> float:
    if step < settings.warm_up_steps:
        return (step + 1) / settings.warm_up_steps
    return cosine(progress, settings.final_learning_rate_fraction)


class _Batches:
    """Batches of augmented patches, the same for the same seed, on ``device``. They are made on the processor."""

    def __init__(self, source: PatchSource, settings: TrainingSettings, device: str) -> None:
        self._source = source
        self._device = device
        self._rng = np.random.default_rng()
        self._augment = augmentation(settings.seed) if settings.augment else None
        self._size = settings.batch_size

    def seed(self, seed: int) -> None:
        """What is drawn next depends on ``seed`` alone."""
        self._rng = np.random.default_rng(seed)
        if self._augment is not None:
            self._augment.set_random_state(seed=seed)

    def next(self) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        import torch

        patches = [self._augmented(self._source.draw(self._rng)) for _ in range(self._size)]
        images = torch.stack([torch.as_tensor(np.asarray(patch.image), dtype=torch.float32) for patch in patches])
        labels = torch.stack([torch.as_tensor(np.asarray(patch.labels[0]), dtype=torch.int64) for patch in patches])
        return images.to(self._device), labels.to(self._device), torch.tensor([patch.tumour_labelled for patch in patches])

    def _augmented(self, patch: Patch) -> Patch:
        if self._augment is None:
            return patch
        out = self._augment({"image": patch.image, "labels": patch.labels})
        return Patch(np.asarray(out["image"]), np.asarray(out["labels"]).round(), patch.tumour_labelled)
