"""A network over a volume, window by window."""

from typing import TYPE_CHECKING

import numpy as np

from fedliver.image import Volume, from_monai
from fedliver.labels import BACKGROUND, LIVER, TUMOUR
from fedliver.teacher.device import Device, network_on, release_memory
from fedliver.teacher.plan import StagePlan
from fedliver.teacher.precision import inference_precision
from fedliver.teacher.preparation import to_tensor
from fedliver.watch import Watcher, report

if TYPE_CHECKING:
    import torch


class Phase:
    """A part of a watcher's bar: ``name`` runs from one fraction to another."""

    def __init__(self, watcher: Watcher, name: str, begin: float, end: float) -> None:
        self._watcher, self._name, self._begin, self._end = watcher, name, begin, end
        self._furthest = 0.0

    def report(self, fraction: float) -> None:
        """A phase that begins anew does not go back. Raises :class:`~fedliver.errors.Cancelled` when the watcher wishes so."""
        self._furthest = max(self._furthest, min(fraction, 1.0))
        report(self._watcher, self._name, self._begin + (self._end - self._begin) * self._furthest)


class Runner:
    """Runs networks on a device, and on the processor from the moment that a graphics card fails.

    Parameters
    ----------
    device:
        Where to begin. :attr:`device` is where the last network ran.
    """

    def __init__(self, device: Device) -> None:
        self.device = device

    def probabilities(self, network: "torch.nn.Module", plan: StagePlan, prepared: Volume, phase: Phase) -> tuple[np.ndarray, np.ndarray]:
        """The probability of liver (tumour included) and of tumour on the grid of ``prepared``, (k, j, i) float32.

        Raises
        ------
        FedLiverError
            ``graphics-card-failed`` where the card was asked for by name; any other one is given up for the processor.
        """
        if self.device.is_card:
            try:
                return _probabilities(network, plan, prepared, phase, self.device.name)
            except RuntimeError as error:  # what torch raises for a card without memory, and for one that breaks: a mistake of ours comes again below
                self.device = self.device.after(error)
            release_memory()  # only now: the error held on to the tensors
        return _probabilities(network, plan, prepared, phase, self.device.name)


def _probabilities(network: "torch.nn.Module", plan: StagePlan, prepared: Volume, phase: Phase, device: str) -> tuple[np.ndarray, np.ndarray]:
    import torch
    from monai.inferers import SlidingWindowInferer

    inferer = SlidingWindowInferer(plan.patch_size, overlap=plan.overlap, mode="gaussian", padding_mode="constant", cval=plan.padding_value)
    windows = _Windows(network_on(network, device), plan, _window_count(prepared.geometry.size, plan), phase, device)
    with torch.inference_mode():
        logits = inferer(to_tensor(prepared)[None].to(device), windows)
        answer = torch.softmax(logits[0].float(), dim=0).cpu().numpy()
    return from_monai(answer[LIVER] + answer[TUMOUR]), from_monai(answer[TUMOUR])


class _Windows:
    """The network as the inferer calls it: skips air, counts, and stops when asked to."""

    def __init__(self, network: "torch.nn.Module", plan: StagePlan, total: int, phase: Phase, device: str) -> None:
        self._network = network
        self._device = device
        self._air = plan.padding_value
        self._total = total
        self._phase = phase
        self._done = 0

    def __call__(self, window: "torch.Tensor") -> "torch.Tensor":
        self._phase.report(self._done / self._total)
        self._done += 1
        if bool((window == self._air).all()):
            logits = window.new_zeros((window.shape[0], 3, *window.shape[2:]))
            logits[:, BACKGROUND] = 20.0
            return logits
        with inference_precision(self._device):
            return self._network(window).float()


def _window_count(size: tuple[int, int, int], plan: StagePlan) -> int:
    from monai.data.utils import dense_patch_slices

    padded = [max(n, p) for n, p in zip(size, plan.patch_size, strict=True)]
    interval = [max(1, int(p * (1 - plan.overlap))) if n > p else p for n, p in zip(padded, plan.patch_size, strict=True)]
    return len(dense_patch_slices(padded, list(plan.patch_size), interval))
