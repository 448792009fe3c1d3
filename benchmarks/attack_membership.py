"""Membership inference: a curious coordinator asks whether a patient was among those who trained an update (Shokri et al. 2017; Yeom et al. 2018).

The attacker is given more than a coordinator has: the patient's scan with its outlines. It says "was there" where the update made the loss on that patient
fall more. Judged by the area under the ROC curve: 0.5 is a coin, 1 is certainty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from attack_inversion import Victim
from scipy.stats import mannwhitneyu

from fedliver.federation.networks import load_weights
from fedliver.training.loss import segmentation_loss

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Patient:
    """Some patches of one patient; ``member`` if it trained the update."""

    patches: tuple[Victim, ...]
    member: bool


@dataclass(frozen=True)
class Seen:
    """What the attacker measures of one patient: by how much the loss fell; and what the update is worth to it: the liver's Dice after."""

    member: bool
    fell: float
    dice: float


def look(network: torch.nn.Module, received: Weights, sent: Weights, patients: Sequence[Patient]) -> list[Seen]:
    """Every patient, before and after the update."""
    before, after = ([_measure(network, weights, patient) for patient in patients] for weights in (received, sent))
    return [Seen(patient.member, b[0] - a[0], a[1]) for patient, b, a in zip(patients, before, after, strict=True)]


def area_under_curve(seen: Sequence[Seen]) -> float:
    """The chance that a member's loss fell more than another patient's."""
    members, others = ([one.fell for one in seen if one.member is member] for member in (True, False))
    return float(mannwhitneyu(members, others).statistic) / (len(members) * len(others))


def interval(trials: Sequence[Sequence[Seen]], resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % of the area under the curve over trials, resampled whole, since patients of one trial share one update."""
    rng = np.random.default_rng(seed)
    areas = np.array([area_under_curve(trial) for trial in trials])
    means = areas[rng.integers(len(areas), size=(resamples, len(areas)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _measure(network: torch.nn.Module, weights: Weights, patient: Patient) -> tuple[float, float]:
    load_weights(network, weights)
    network.eval()
    losses, overlap, size = [], 0, 0
    with torch.inference_mode():
        for patch in patient.patches:
            logits = network(patch.image).float()
            losses.append(float(segmentation_loss(logits, patch.labels, torch.tensor([True]))))
            found, truth = logits.argmax(dim=1) > 0, patch.labels > 0
            overlap += int((found & truth).sum())
            size += int(found.sum()) + int(truth.sum())
    return float(np.mean(losses)), 2 * overlap / size if size else 1.0
