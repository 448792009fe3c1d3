"""The consistency loss: a student should answer on a strongly disturbed scan what its teacher answers on the scan itself, where the teacher is sure.

Mean Teacher (Tarvainen and Valpola 2017), uncertainty-aware (UA-MT, Yu et al. 2019). UA-MT asks the teacher several times with dropout and noise;
these networks have no dropout, so noise alone varies the passes.
"""

import math
from typing import TYPE_CHECKING

from fedliver.teacher.precision import inference_precision
from fedliver.training.settings import ConsistencySettings

if TYPE_CHECKING:
    import torch


def ramped(progress: float, settings: ConsistencySettings) -> float:
    """How far the loss is ramped up, 0.0067 to 1, after ``progress`` (0 to 1) of the training."""
    return math.exp(-5 * (1 - min(progress / settings.ramp, 1.0)) ** 2)


def teacher_answer(teacher: "torch.nn.Module", images: "torch.Tensor", settings: ConsistencySettings) -> "tuple[torch.Tensor, torch.Tensor]":
    """The teacher's probabilities (batch, 3, i, j, k), the mean of its passes, and their entropy as a part of the highest possible, (batch, i, j, k)."""
    import torch

    with torch.no_grad(), inference_precision():
        passes = [torch.softmax(teacher(_noisy(images, settings.noise)).float(), dim=1) for _ in range(settings.passes)]
    mean = torch.stack(passes).mean(dim=0)
    entropy = -(mean * mean.clamp_min(1e-6).log()).sum(dim=1) / math.log(mean.shape[1])
    return mean, entropy


def consistency_loss(logits: "torch.Tensor", answer: "torch.Tensor", entropy: "torch.Tensor", sure: float, loss: str = "squared-error") -> "torch.Tensor":
    """How far the student's probabilities are from the teacher's, mean over the voxels where ``entropy`` is below ``sure``; 0 where there is none.

    Parameters
    ----------
    logits, answer:
        (batch, 3, i, j, k): the student's logits, the teacher's probabilities.
    entropy:
        (batch, i, j, k), 0 to 1.
    loss:
        As :attr:`ConsistencySettings.loss`.
    """
    import torch

    trusted = (entropy < sure).to(logits.dtype)
    if loss == "cross-entropy":
        difference = -(answer * torch.log_softmax(logits, dim=1)).sum(dim=1)
    else:
        difference = (torch.softmax(logits, dim=1) - answer).square().mean(dim=1)
    return (difference * trusted).sum() / trusted.sum().clamp_min(1.0)


def disturbed(images: "torch.Tensor") -> "torch.Tensor":
    """A strongly disturbed copy of patches in 0..1: contrast, brightness, noise, and a block without information. The anatomy stays where it is."""
    import torch

    batch = images.shape[0]
    shape = (batch, 1, 1, 1, 1)
    out = images * torch.empty(shape).uniform_(0.7, 1.3) + torch.empty(shape).uniform_(-0.1, 0.1)
    out = out + torch.randn_like(images) * torch.empty(shape).uniform_(0.0, 0.12)
    out = torch.where(images > 0, out, images).clamp(0, 1)  # air stays air
    for one in out:
        sides = [max(1, n // 4) for n in one.shape[1:]]
        corner = [int(torch.randint(n - side + 1, (1,))) for n, side in zip(one.shape[1:], sides, strict=True)]
        one[(slice(None), *(slice(c, c + s) for c, s in zip(corner, sides, strict=True)))] = float(torch.rand(1))
    return out


def _noisy(images: "torch.Tensor", noise: float) -> "torch.Tensor":
    import torch

    return (images + noise * torch.randn_like(images)).clamp(0, 1) if noise else images
