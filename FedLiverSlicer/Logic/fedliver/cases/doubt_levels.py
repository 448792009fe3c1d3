"""What a case or a scene keeps of a teacher's doubt: eight levels. Little doubt is never shown, and most voxels have less: without it they pack well."""

import numpy as np

_LEVELS = 8
_SURE_BELOW = 0.2


def in_levels(doubt: np.ndarray) -> np.ndarray:
    """Doubt, 0 (sure) to 1 (undecided), as uint8 from 0 to 8; what is below 0.2 is 0."""
    levels = np.rint(np.clip(doubt, 0.0, 1.0) * _LEVELS).astype(np.uint8)
    levels[doubt < _SURE_BELOW] = 0
    return levels


def from_levels(levels: np.ndarray) -> np.ndarray:
    """The doubt again, float32 from 0 to 1, of whatever was read."""
    return np.clip(levels, 0, _LEVELS).astype(np.float32) / _LEVELS
