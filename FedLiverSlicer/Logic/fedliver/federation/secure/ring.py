"""Updates as integers modulo 2^32, so that they can be masked and summed exactly: fixed point, with a step that both sides know.

A site's contribution is weight times change, number by number; then a few numbers about it. The sum of the weights comes out of the same sum, so nobody learns
one site's. Half of the ring, divided by the number of sites, is what one site may use: the sum cannot run over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan, prod, sqrt

import numpy as np

from fedliver.coordinator.records import MaskedSum
from fedliver.federation.secure.words import Masking
from fedliver.site.egress import AgreedNumbers, TensorKind, averaged, cases_in_words

WEIGHT_PARTS = 2**20
"""A weight is so many parts of the largest weight that the policy allows."""
_HALF = 2**31 - 1
_DIGITS = 10_000
_LARGEST_LOSS = 100.0
_TAIL = ("sites", "weight", "cases", "unlabelled", "loss", "loss_sites", "dice", "dice_sites")


@dataclass(frozen=True)
class Summed:
    """What a masked sum says."""

    change: dict[str, np.ndarray]
    """The mean change by weight; float64."""
    told: MaskedSum

    @property
    def sentence(self) -> str:
        """What a person who watches the run is told."""
        told = self.told
        loss = f", mean loss {told.loss:.4f}" if told.loss is not None else ""
        dice = f", mean Dice {told.dice:.4f}" if told.dice is not None else ""
        return f"opened the sum of {told.sites} sites' masked updates, of {cases_in_words(told.cases, told.unlabelled)} together{loss}{dice}"


def numbers_in(kinds: Mapping[str, TensorKind]) -> int:
    """How many numbers a contribution has."""
    return sum(prod(kind.shape) for kind in averaged(kinds).values()) + len(_TAIL)


def contribution(
    change: Mapping[str, np.ndarray], numbers: AgreedNumbers, masking: Masking, kinds: Mapping[str, TensorKind], bound: float | None
) -> np.ndarray:
    """One site's contribution, uint32.

    Parameters
    ----------
    bound:
        The change, as it can be read from the sum, is not longer than this (Euclidean norm): rounding must not lengthen what was shortened. None with noise on.

    Raises
    ------
    ValueError
        The site has no weight.
    """
    weight = _weight_of(numbers, masking)
    levels = _HALF // masking.capacity
    scale = weight / WEIGHT_PARTS / masking.largest * levels
    parts = [np.asarray(change[name], np.float64).ravel() * scale for name in averaged(kinds)]
    rounded = [np.rint(part) for part in parts]
    if bound is not None and sqrt(sum(float(part @ part) for part in rounded)) > bound * scale:
        rounded = [np.trunc(part) for part in parts]
    whole = np.empty(numbers_in(kinds), np.uint32)
    np.concatenate([np.clip(part, -levels, levels).astype(np.int64).astype(np.uint32) for part in rounded], out=whole[: -len(_TAIL)])
    whole[-len(_TAIL) :] = _tail(numbers, weight)
    return whole


def read_sum(total: np.ndarray, masking: Masking, kinds: Mapping[str, TensorKind], sites: int) -> Summed:
    """What the unmasked sum of that many contributions says (``ValueError`` if it cannot be one)."""
    told = dict(zip(_TAIL, map(int, total[-len(_TAIL) :]), strict=True))
    within = 0 < told["weight"] <= sites * WEIGHT_PARTS and told["loss_sites"] <= sites and told["dice_sites"] <= sites
    possible = told["loss"] <= told["loss_sites"] * _LARGEST_LOSS * _DIGITS and told["dice"] <= told["dice_sites"] * _DIGITS
    if told["sites"] != sites or not within or not possible:
        raise ValueError("not a sum of that many contributions")
    body = total[: -len(_TAIL)].view(np.int32)
    scale = masking.largest / (_HALF // masking.capacity) * WEIGHT_PARTS / told["weight"]
    change, start = {}, 0
    for name, kind in averaged(kinds).items():
        count = prod(kind.shape)
        change[name] = (body[start : start + count] * scale).reshape(kind.shape)
        start += count
    loss = told["loss"] / _DIGITS / told["loss_sites"] if told["loss_sites"] else None
    dice = told["dice"] / _DIGITS / told["dice_sites"] if told["dice_sites"] else None
    return Summed(change, MaskedSum(sites=sites, cases=told["cases"], unlabelled=told["unlabelled"], loss=loss, dice=dice))


def _weight_of(numbers: AgreedNumbers, masking: Masking) -> int:
    weight = min(numbers.cases + masking.unlabelled_share * numbers.unlabelled, float(masking.weight_cap_cases))
    if weight <= 0:
        raise ValueError("no weight")
    return max(1, round(weight / masking.weight_cap_cases * WEIGHT_PARTS))


def _tail(numbers: AgreedNumbers, weight: int) -> list[int]:
    tells_loss, tells_dice = not isnan(numbers.loss), numbers.dice_cases > 0
    loss = round(min(max(numbers.loss, 0.0), _LARGEST_LOSS) * _DIGITS) if tells_loss else 0
    return [1, weight, numbers.cases, numbers.unlabelled, loss, int(tells_loss), round(numbers.dice * _DIGITS) if tells_dice else 0, int(tells_dice)]
