"""Scans that end early: a chest without a liver, a pelvis, the lower tip of a liver alone. A finder that saw whole abdomens only makes a liver up in them."""

import numpy as np

from fedliver.labels import LIVER, TUMOUR
from fedliver.training.sources import Patch, PatchSource

_FEWEST_SLICES = 12
"""What is kept of a patch is at least so thick."""


class CroppedScans:
    """Patches of ``source``, of which the share ``cropped`` end at a random slice; half of those, where there is room, just above or below the liver.

    Parameters
    ----------
    padding_value:
        What lies beyond a scan, in the network's units.
    """

    def __init__(self, source: PatchSource, cropped: float, padding_value: float) -> None:
        self._source = source
        self._cropped = cropped
        self._padding_value = padding_value

    def draw(self, rng: np.random.Generator) -> Patch:
        patch = self._source.draw(rng)
        return self._crop(patch, rng) if rng.uniform() < self._cropped else patch

    def _crop(self, patch: Patch, rng: np.random.Generator) -> Patch:
        slices = patch.labels.shape[3]
        if slices <= _FEWEST_SLICES:
            return patch
        choices = self._without_liver(patch, slices) if rng.uniform() < 0.5 else []
        if choices:
            low, high = choices[int(rng.integers(len(choices)))]
        else:
            end = int(rng.integers(_FEWEST_SLICES, slices))
            low, high = (0, end) if rng.uniform() < 0.5 else (slices - end, slices)
        image, labels = np.full_like(patch.image, self._padding_value), np.zeros_like(patch.labels)
        image[..., low:high], labels[..., low:high] = patch.image[..., low:high], patch.labels[..., low:high]
        return Patch(image, labels, patch.tumour_labelled)

    @staticmethod
    def _without_liver(patch: Patch, slices: int) -> list[tuple[int, int]]:
        """What of the patch lies wholly below the liver, and wholly above it (index k rises with it)."""
        liver = np.flatnonzero(((patch.labels == LIVER) | (patch.labels == TUMOUR)).any(axis=(0, 1, 2)))
        if not len(liver):
            return []
        return [(low, high) for low, high in ((0, int(liver[0])), (int(liver[-1]) + 1, slices)) if high - low >= _FEWEST_SLICES]
