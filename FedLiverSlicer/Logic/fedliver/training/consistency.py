"""The consistency loss: a student should answer on a strongly disturbed scan what its teacher answers on the scan itself, where the teacher is sure.

Mean Teacher (Tarvainen and Valpola 2017), uncertainty-aware (UA-MT, Yu et al. 2019). UA-MT asks the teacher several times with dropout and noise;
these networks have no dropout, so noise alone varies the passes.

The teacher's answer can be a goal for the student's probabilities, or pseudo-labels under the loss that annotated patches have. A squared error of
probabilities hardly moves a student that learns from a Dice loss beside it. Pseudo-labels do, and a box of an annotated patch is pasted into each
(copy-paste between annotated and other scans: Bai et al. 2023), so that what is true stands beside what is believed.
"""

import math
from typing import TYPE_CHECKING

from fedliver.teacher.precision import inference_precision
from fedliver.training.settings import ConsistencySettings

if TYPE_CHECKING:
    import torch


def unlabelled_loss(
    student: "torch.nn.Module",
    teacher: "torch.nn.Module",
    images: "torch.Tensor",
    annotated: "tuple[torch.Tensor, torch.Tensor] | None",
    progress: float,
    settings: ConsistencySettings,
) -> "torch.Tensor":
    """What ``student`` has to learn from patches that nobody annotated, (batch, 1, i, j, k) in 0..1, ramped up and weighed.

    Parameters
    ----------
    annotated:
        Images and labels, (batch, i, j, k), to paste from. None: nobody has annotated anything here, and there are no pseudo-labels either but the squared
        error. Alone they confirm themselves: a teacher is sooner sure of background than of liver, and a student of what is sure forgets the liver (a
        site without any approved case lost all of its Dice in 40 steps).
    progress:
        How much of the training is done, 0 to 1.
    """
    answer, entropy = teacher_answer(teacher, images, settings)
    ramp = ramped(progress, settings)
    images = disturbed(images)
    if settings.loss == "pseudo-labels" and annotated is not None:
        loss = _on_pseudo_labels(student, images, pseudo_labels(answer, entropy, settings.sure), annotated)
    else:
        sure = settings.sure + (1 - settings.sure) * ramp
        kind = "cross-entropy" if settings.loss == "cross-entropy" else "squared-error"
        loss = consistency_loss(_logits(student, images), answer, entropy, sure, kind)
    return settings.weight * ramp * loss


def _on_pseudo_labels(
    student: "torch.nn.Module", images: "torch.Tensor", labels: "torch.Tensor", annotated: "tuple[torch.Tensor, torch.Tensor]"
) -> "torch.Tensor":
    import torch

    from fedliver.training.loss import segmentation_loss

    images, labels = pasted(*annotated, images, labels)
    # A pseudo-label says where the liver is, and nothing about tumours: the teacher's are few, and more often wrong.
    return segmentation_loss(_logits(student, images), labels, torch.zeros(len(labels), dtype=torch.bool))


def _logits(network: "torch.nn.Module", images: "torch.Tensor") -> "torch.Tensor":
    with inference_precision(str(images.device)):
        return network(images).float()


def pseudo_labels(answer: "torch.Tensor", entropy: "torch.Tensor", sure: float) -> "torch.Tensor":
    """The most probable label of each voxel, (batch, i, j, k) int64; :data:`~fedliver.training.loss.IGNORE` where ``entropy`` is ``sure`` or more."""
    from fedliver.training.loss import IGNORE

    return answer.argmax(dim=1).masked_fill(entropy >= sure, IGNORE)


def pasted(images: "torch.Tensor", labels: "torch.Tensor", onto: "torch.Tensor", onto_labels: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """``onto`` and its labels, into each of which a random box of a patch of ``images`` and of its labels is set, in the same place; copies.

    A box's sides are 0.4 to 0.75 of the patch's. Patches without a partner stay as they are.
    """
    import torch

    onto, onto_labels = onto.clone(), onto_labels.clone()
    for n in range(min(len(images), len(onto))):
        box = []
        for length in onto.shape[2:]:
            side = max(1, int(length * float(torch.empty(()).uniform_(0.4, 0.75))))
            corner = int(torch.randint(length - side + 1, ()))
            box.append(slice(corner, corner + side))
        i, j, k = box
        onto[n, :, i, j, k] = images[n, :, i, j, k]
        onto_labels[n, i, j, k] = labels[n, i, j, k]
    return onto, onto_labels


def ramped(progress: float, settings: ConsistencySettings) -> float:
    """How far the loss is ramped up, 0.0067 to 1, after ``progress`` (0 to 1) of the training."""
    return math.exp(-5 * (1 - min(progress / settings.ramp, 1.0)) ** 2)


def teacher_answer(teacher: "torch.nn.Module", images: "torch.Tensor", settings: ConsistencySettings) -> "tuple[torch.Tensor, torch.Tensor]":
    """The teacher's probabilities (batch, 3, i, j, k), the mean of its passes, and their entropy as a part of the highest possible, (batch, i, j, k)."""
    import torch

    with torch.no_grad(), inference_precision(str(images.device)):
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

    def factors(low: float, high: float) -> "torch.Tensor":
        return torch.empty(shape, device=images.device).uniform_(low, high)

    out = images * factors(0.7, 1.3) + factors(-0.1, 0.1)
    out = out + torch.randn_like(images) * factors(0.0, 0.12)
    out = torch.where(images > 0, out, images).clamp(0, 1)  # air stays air
    for one in out:
        sides = [max(1, n // 4) for n in one.shape[1:]]
        corner = [int(torch.randint(n - side + 1, (1,))) for n, side in zip(one.shape[1:], sides, strict=True)]
        one[(slice(None), *(slice(c, c + s) for c, s in zip(corner, sides, strict=True)))] = float(torch.rand(1))
    return out


def _noisy(images: "torch.Tensor", noise: float) -> "torch.Tensor":
    import torch

    return (images + noise * torch.randn_like(images)).clamp(0, 1) if noise else images
