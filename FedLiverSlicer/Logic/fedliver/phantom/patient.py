"""The patient that a seed stands for: outline, cavity, diaphragm, and what each tissue measures in Hounsfield units."""

from dataclasses import dataclass, replace

import numpy as np

from fedliver.phantom.settings import PhantomSettings, Phase

# Half width and half depth of the trunk without its subcutaneous fat, from the hips (z = -420) to the shoulders.
_PROFILE = np.array(
    [
        (-460, 172, 108), (-400, 176, 110), (-330, 174, 108), (-250, 164, 104), (-170, 150, 99), (-90, 150, 100), (0, 155, 104),
        (80, 158, 107), (160, 158, 105), (240, 150, 97), (290, 136, 86), (340, 116, 72), (400, 80, 60),
    ],
    dtype=float,
)  # fmt: skip
_WIDTH, _DEPTH = (np.interp(np.arange(-460, 401), _PROFILE[:, 0], column).astype(np.float32) for column in (_PROFILE[:, 1], _PROFILE[:, 2]))
_SQUARENESS = 0.35


@dataclass(frozen=True)
class Tissues:
    """Mean Hounsfield units per tissue. Sources: textbook ranges for 120 kV, soft-tissue kernel."""

    liver: float
    spleen: float
    cortex: float
    medulla: float
    aorta: float
    vein: float
    portal: float
    hepatic: float
    lesion: float
    heart: float
    fat: float = -102.0
    muscle: float = 56.0
    skin: float = 25.0
    lung: float = -855.0


_PHASES: dict[Phase, Tissues] = {
    "portal": Tissues(110, 122, 190, 165, 155, 140, 168, 160, 62, 120),
    "arterial": Tissues(68, 112, 195, 85, 310, 75, 105, 62, 48, 190),
    "plain": Tissues(57, 48, 33, 31, 41, 40, 40, 40, 36, 42),
}


@dataclass(frozen=True)
class Patient:
    """One drawn patient. Lengths are in patient coordinates (see :mod:`fedliver.phantom.canvas`)."""

    tissues: Tissues
    fat: float
    right_dome: float
    left_dome: float
    organ_shift: np.ndarray
    width: float = 1.0
    depth: float = 1.0

    @classmethod
    def draw(cls, settings: PhantomSettings, rng: np.random.Generator) -> "Patient":
        tissues = _PHASES[settings.phase]
        steatosis = rng.uniform(-12, 14)
        tissues = replace(
            tissues,
            liver=tissues.liver + steatosis,
            spleen=tissues.spleen + rng.uniform(-6, 6),
            cortex=tissues.cortex + rng.uniform(-12, 12) * (settings.phase != "plain"),
            muscle=tissues.muscle + rng.uniform(-4, 4),
            portal=tissues.portal + steatosis,
            hepatic=tissues.hepatic + steatosis,
        )
        return cls(
            tissues=tissues,
            fat=settings.fat_mm / settings.patient_size,
            right_dome=rng.uniform(70, 82),
            left_dome=rng.uniform(56, 68),
            organ_shift=rng.uniform(-5, 5, size=(12, 3)),
            width=rng.uniform(0.96, 1.05),
            depth=rng.uniform(0.96, 1.05),
        )

    def outline(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Half width and half depth of the trunk without its subcutaneous fat at height ``z``."""
        step = np.clip(np.rint(z), -460, 400).astype(np.int16) + 460
        return _WIDTH[step] * np.float32(self.width), _DEPTH[step] * np.float32(self.depth)

    def radius(self, xyz: tuple[np.ndarray, np.ndarray, np.ndarray], *grow: float) -> list[np.ndarray]:
        """The squared, relative radius for each of ``grow``: below 1 inside the trunk's outline moved outwards by that much."""
        a, b = self.outline(xyz[2])
        found = []
        for much in grow:
            u, v = (xyz[0] / (a + np.float32(much))) ** 2, (xyz[1] / (b + np.float32(much))) ** 2
            found.append(u + v - np.float32(_SQUARENESS) * np.minimum(u, 1.5) * np.minimum(v, 1.5))
        return found

    def diaphragm(self, xyz: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Height of the diaphragm's upper surface over (x, y): two domes, lowest at the back."""
        x, y = xyz[0], xyz[1]
        side = 1 / (1 + np.exp(x / 14.0))
        height = self.left_dome + (self.right_dome - self.left_dome) * side - 19 * np.exp(-((x - 16) ** 2) / 1500)
        ring = (x / 140) ** 2 + (y / 90) ** 2
        drop = (66 + 44 * np.clip(y / 90, -0.8, 1)) * ring**1.5
        return (height - drop).astype(np.float32)
