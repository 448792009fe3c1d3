"""Lesions grown inside livers: in made-up CTs, and in real ones whose tumours are annotated (Hu et al. 2023, Label-Free Liver Tumor Segmentation).

Few annotated patients show few lesions, and hardly ever a liver half replaced by them: a network that never saw one cuts it short.
"""

import numpy as np

from fedliver.labels import LIVER, TUMOUR

_CLEAN, _MASSIVE = 0.3, 0.15
_EDGE_MM = 2.0


def grow_lesions(hu: np.ndarray, labels: np.ndarray, wobble: np.ndarray, spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> None:
    """Grow lesions in place, or in some images none.

    Parameters
    ----------
    hu:
        (i, j, k) float32, Hounsfield units.
    labels:
        (i, j, k) uint8 with liver somewhere; lesions become :data:`~fedliver.labels.TUMOUR`.
    wobble:
        (i, j, k) smooth noise of unit variance: what makes the lesions other than round, and mottled.
    """
    places = np.argwhere(labels == LIVER)
    kind = rng.uniform()
    if kind < _CLEAN or not len(places):
        return
    liver_hu = float(np.median(hu[labels == LIVER]))
    massive = kind < _CLEAN + _MASSIVE
    smallest, largest, most = (22.0, 65.0, 5) if massive else (4.0, 32.0, 8)
    darker = massive or rng.uniform() < 0.85
    necrotic = rng.uniform() < (0.7 if massive else 0.25)
    for _ in range(int(rng.integers(1, most + 1))):
        radius_mm = float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
        centre = places[int(rng.integers(len(places)))]
        contrast = -rng.uniform(18, 75) if darker else rng.uniform(18, 60)
        core_hu = float(rng.uniform(0, 45)) if necrotic else None
        _grow(hu, labels, wobble, np.asarray(spacing_mm), centre, radius_mm, liver_hu, contrast, core_hu, rng)


def _grow(
    hu: np.ndarray,
    labels: np.ndarray,
    wobble: np.ndarray,
    spacing: np.ndarray,
    centre: np.ndarray,
    radius_mm: float,
    liver_hu: float,
    contrast: float,
    core_hu: float | None,
    rng: np.random.Generator,
) -> None:
    reach = np.ceil(radius_mm * 1.6 / spacing).astype(int)
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, labels.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    axes = [((np.arange(a, b) - c) * s / rng.uniform(0.8, 1.2)) ** 2 for a, b, c, s in zip(low, high, centre, spacing, strict=True)]
    distance = np.sqrt(axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :])
    inwards = radius_mm * (1 + 0.18 * wobble[box]) - distance
    in_liver = labels[box] > 0
    soft = np.clip(inwards / _EDGE_MM + 0.5, 0, 1) * in_liver
    # Half of what is there stays: noise and the vessels that run through, as the scanner made them.
    lesion = liver_hu + contrast + 0.5 * (hu[box] - liver_hu) + rng.uniform(3, 12) * wobble[box]
    if core_hu is not None:
        core = np.clip((radius_mm * rng.uniform(0.3, 0.85) * (1 + 0.25 * wobble[box]) - distance) / (2 * _EDGE_MM) + 0.5, 0, 1)
        lesion = lesion + core * (core_hu - liver_hu - contrast)
    hu[box] += (soft * (lesion - hu[box])).astype(np.float32)
    labels[box][soft > 0.5] = TUMOUR
