"""Gradient inversion: a curious coordinator tries to see a patient in an update (Zhu et al. 2019; Geiping et al. 2020).

The attacker is given more than a coordinator has: the exact labels of the patch that is looked for, and its place. It looks for the image whose gradient
points where the update points (cosine similarity, total variation as prior).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fedliver.training.loss import segmentation_loss

Gradient = Mapping[str, torch.Tensor]
_FLAT = 1e-6
"""An image with less contrast than this shows nothing: what is left is rounding."""


@dataclass(frozen=True)
class Victim:
    """What is looked for: ``image`` (1, 1, i, j, k) in 0..1 and its ``labels`` (1, i, j, k)."""

    image: torch.Tensor
    labels: torch.Tensor


def gradient_of(network: torch.nn.Module, image: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False) -> dict[str, torch.Tensor]:
    """The gradient of the training loss by parameter name."""
    named = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    loss = segmentation_loss(network(image).float(), labels, torch.ones(len(labels), dtype=torch.bool))
    found = torch.autograd.grad(loss, list(named.values()), create_graph=differentiable, allow_unused=True)
    return {name: gradient for name, gradient in zip(named, found, strict=True) if gradient is not None}


def invert(network: torch.nn.Module, gradient: Gradient, labels: torch.Tensor, *, steps: int, seed: int, smoothness: float = 1e-4) -> torch.Tensor:
    """The image (1, 1, i, j, k) in 0..1 that the attack ends with."""
    torch.manual_seed(seed)
    image = torch.rand(1, 1, *labels.shape[1:], requires_grad=True)
    optimiser = torch.optim.Adam([image], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=0.005)
    for _ in range(steps):
        optimiser.zero_grad()
        own = gradient_of(network, image, labels, differentiable=True)
        loss = 1 - _cosine(own, gradient) + smoothness * _total_variation(image)
        (image.grad,) = torch.autograd.grad(loss, [image])
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    return image.detach()


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    """Pearson's correlation of two images: 1 is the same picture but for brightness and contrast, 0 is noise."""
    a, b = (np.asarray(image, dtype=np.float64).ravel() for image in (one, other))
    if min(a.std(), b.std()) < _FLAT:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def likeness_beyond_anatomy(found: torch.Tensor, victim: Victim, others: Sequence[Victim]) -> float:
    """The same of what is the victim's own: the mean of other patients at that place is regressed out of both images (partial correlation).

    Anatomy alone makes patients alike; who has seen no update, but knows anatomy, reaches 0 here.
    """
    anatomy = np.mean([np.asarray(other.image, np.float64).ravel() for other in others], axis=0)
    known = np.stack([np.ones_like(anatomy), anatomy], axis=1)

    def own(image: torch.Tensor) -> torch.Tensor:
        values = np.asarray(image, np.float64).ravel()
        return torch.from_numpy(values - known @ np.linalg.lstsq(known, values, rcond=None)[0])

    return likeness(own(found), own(victim.image))


def _cosine(one: Gradient, other: Gradient) -> torch.Tensor:
    both = [name for name in one if name in other]
    product = sum((one[name] * other[name]).sum() for name in both)
    lengths = [sum(each[name].square().sum() for name in both) for each in (one, other)]
    return torch.as_tensor(product) / (torch.as_tensor(lengths[0]).sqrt() * torch.as_tensor(lengths[1]).sqrt() + 1e-12)


def _total_variation(image: torch.Tensor) -> torch.Tensor:
    return sum((image.diff(dim=axis).abs().mean() for axis in (2, 3, 4)), start=torch.zeros(()))


class OpenBook(torch.nn.Module):
    """A network that gradient inversion is known to break: one smooth layer without normalisation. It shows that the attack works."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv3d(1, 32, 3, padding=1), torch.nn.Sigmoid(), torch.nn.Conv3d(32, 3, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)
