"""Who tests in a study, and in which order the others come; by patient, so that nobody is on two sides."""

from collections.abc import Sequence

import numpy as np

from fedliver.datasets.layouts import DatasetImage
from fedliver.errors import FedLiverError


def drawn_patients(images: Sequence[DatasetImage], test_share: float, seed: int) -> tuple[list[str], set[str]]:
    """The patients that do not test, in a random order, and those that do: for a seed always the same.

    Raises
    ------
    FedLiverError
        ``too-few-patients`` where fewer than two are left to learn from.
    """
    patients = sorted({image.patient for image in images})
    order = [patients[int(index)] for index in np.random.default_rng(seed).permutation(len(patients))]
    test = max(1, round(test_share * len(order)))
    if len(order) - test < 2:
        raise FedLiverError("too-few-patients", f"The study needs at least 3 patients with labels, here are {len(order)}: give it more.")
    return order[test:], set(order[:test])
