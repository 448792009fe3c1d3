"""Smooth noise with grains of a given size: what makes tissue mottled and lesions other than round."""

import numpy as np


class Grains:
    """Noise on one grid, its grains given in mm: tissue looks the same at every spacing."""

    def __init__(self, shape: tuple[int, ...], spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> None:
        self._shape = shape
        self._voxel_mm = float(np.mean(spacing_mm))
        self._rng = rng

    def noise(self, grain_mm: float) -> np.ndarray:
        return smooth_noise(self._shape, max(2, round(grain_mm / self._voxel_mm)), self._rng)


def smooth_noise(shape: tuple[int, ...], cell: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of about unit variance whose grains are ``cell`` voxels wide, float32."""
    import torch

    small = torch.from_numpy(rng.standard_normal([1, 1] + [n // cell + 3 for n in shape], dtype=np.float32))
    large = torch.nn.functional.interpolate(small, size=list(shape), mode="trilinear", align_corners=False)[0, 0].numpy()
    return large * np.float32(1.7)
