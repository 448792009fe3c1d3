"""Confidence intervals over patients: the bootstrap (Efron 1979), percentile method."""

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
_AT_ONCE = 2_000_000


def bootstrap_interval(numerators: np.ndarray, denominators: np.ndarray, *, level: float = LEVEL, resamples: int = RESAMPLES) -> tuple[float, float] | None:
    """The interval of sum(numerators) / sum(denominators) when patients are drawn anew, with replacement.

    With denominators of 1 this is a mean over patients; with counts it is a pooled rate, as for lesions. The draws are seeded: the same
    numbers give the same interval. With few patients it is too narrow, as every percentile bootstrap is: say how many there were.

    Parameters
    ----------
    numerators, denominators:
        One of each per patient, shape (patients,).

    Returns
    -------
    tuple[float, float] | None
        Low and high; None for fewer than two patients, of whom nothing can be told, or where nothing was counted.
    """
    patients = len(numerators)
    if patients < 2 or not np.any(denominators):
        return None
    rng = np.random.default_rng(0)
    values: list[np.ndarray] = []
    chunk = max(1, _AT_ONCE // patients)
    for start in range(0, resamples, chunk):
        drawn = rng.integers(patients, size=(min(chunk, resamples - start), patients))
        below = denominators[drawn].sum(axis=1)
        counted = below > 0
        values.append(numerators[drawn].sum(axis=1)[counted] / below[counted])
    low, high = np.quantile(np.concatenate(values), ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
