"""Generated cardiac CTs with their true left ventricle and myocardium: hearts that never beat.

The left ventricle is a cut-off prolate spheroid in a wall that is thickest at the septum and thinnest at the apex; around it lie what a network must tell
from it: right ventricle, atria, aorta, pericardial fat, lungs, liver. Size, tilt, wall, contraction and local bulges vary from patient to patient; contrast,
noise and sharpness from scanner to scanner. Coordinates are LPS millimetres from the middle of the ventricle; arrays are (k, j, i).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from fedliver.image import AIR_HU, Geometry, Volume, from_sitk, to_sitk
from fedliver.phantom.canvas import Region, Waves, ellipsoid

MYOCARDIUM, LEFT_VENTRICLE = 1, 2

HeartPhase = Literal["arterial", "venous", "late"]
PHASES: tuple[HeartPhase, ...] = ("arterial", "venous", "late")
Coordinates = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class HeartSettings:
    """One scan of one patient. ``seed`` draws the anatomy; the rest is how it was scanned."""

    seed: int = 0
    size: int = 56
    """Voxels a side."""
    spacing_mm: float = 2.5
    phase: HeartPhase = "arterial"
    noise_hu: float = 20.0
    blur_mm: float = 1.2
    """Standard deviation of the scanner's point spread."""


@dataclass(frozen=True)
class _Tissues:
    """Mean Hounsfield units of blood left and right, heart muscle and liver."""

    left: float
    right: float
    muscle: float
    liver: float


_TISSUES: dict[HeartPhase, _Tissues] = {
    "arterial": _Tissues(330, 210, 110, 75),
    "venous": _Tissues(190, 180, 105, 105),
    "late": _Tissues(135, 132, 92, 95),
}
_FAT, _LUNG = -95.0, -840.0


@dataclass(frozen=True)
class _Heart:
    """The drawn anatomy. ``turn`` has the ventricle's axes as rows: two across, the last from apex to base."""

    radii: tuple[float, float, float]
    wall: float
    septum: float
    apex: float
    base: float
    turn: np.ndarray
    centre: np.ndarray
    bulges: Waves
    wall_bulges: Waves
    papillary: tuple[tuple[float, float], ...]
    right_width: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Heart":
        contraction = rng.uniform(0, 1)  # 0 at the end of diastole, 1 at the end of systole
        across = rng.uniform(21.5, 26.5) * (1 - 0.27 * contraction)
        tilt = np.array([0.62, -0.52, -0.58]) + rng.normal(0, 0.1, 3)  # the apex points to the left, the front and the feet
        up = -tilt / np.linalg.norm(tilt)
        side = np.cross(up, [0.0, 0.0, 1.0])
        side /= np.linalg.norm(side)
        return cls(
            radii=(across * rng.uniform(0.92, 1.08), across * rng.uniform(0.92, 1.08), rng.uniform(40, 50) * (1 - 0.14 * contraction)),
            wall=rng.uniform(7.0, 9.5) * (1 + 0.42 * contraction),
            septum=rng.uniform(0.0, 3.0),
            apex=rng.uniform(0.25, 0.5),
            base=rng.uniform(0.48, 0.62),
            turn=np.stack([side, np.cross(up, side), up]),
            centre=rng.uniform(-6, 6, 3),
            bulges=Waves.draw(rng, (28, 70)),
            wall_bulges=Waves.draw(rng, (22, 55)),
            papillary=tuple((float(angle), float(rng.uniform(0.5, 0.7))) for angle in rng.uniform(-0.5, 0.5, 2) + np.array([0.8, 2.6])),
            right_width=rng.uniform(24, 33),
        )


def generate_heart(settings: HeartSettings) -> tuple[Volume, Volume]:
    """A cardiac CT in HU (int16) and its labels (uint8): 0 background, 1 myocardium, 2 left ventricle. The same settings give the same voxels."""
    rng = np.random.default_rng(settings.seed)
    heart = _Heart.draw(rng)
    geometry = _geometry(settings)
    region = _region(geometry)
    ct, labels = _paint(heart, region, settings, rng)
    return _scanned(Volume(ct, geometry), settings, rng), Volume(labels, geometry)


def _geometry(settings: HeartSettings) -> Geometry:
    n, step = settings.size, settings.spacing_mm
    first = -(n - 1) / 2 * step
    return Geometry((n, n, n), (step, step, step), (first, first, first), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def _region(geometry: Geometry) -> Region:
    axes = []
    for axis in range(3):
        line = np.zeros((3, geometry.size[axis]))
        line[axis] = geometry.origin[axis] + geometry.spacing[axis] * np.arange(geometry.size[axis])
        axes.append(line)
    whole = slice(None)
    return Region((whole, whole, whole), (axes[0], axes[1], axes[2]))


def _paint(heart: _Heart, region: Region, settings: HeartSettings, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    means = _TISSUES[settings.phase]
    left, right, muscle, liver = (value * rng.uniform(0.86, 1.14) for value in (means.left, means.right, means.muscle, means.liver))
    xyz = region.xyz
    own = _own_axes(heart, xyz)
    cavity, wall = _ventricle(heart, own, region)
    hu = np.full(region.shape, _LUNG, np.float32)
    pericardium = ellipsoid(own, (-9.0, 4.0, 8.0), (58.0, 54.0, 66.0)) + 3 * heart.wall_bulges.on(region)
    hu[pericardium < 0] = _FAT
    hu[np.broadcast_to(xyz[2] < -44 + 0.0015 * (xyz[0] ** 2 + xyz[1] ** 2), hu.shape)] = liver
    hu[np.broadcast_to(np.hypot(xyz[0] + 38, xyz[1] - 62) < 20, hu.shape)] = 210  # the spine
    _paint_chambers(hu, heart, own, (left, right, muscle))
    hu[wall] = muscle
    hu[cavity] = left
    _paint_papillary(hu, heart, own, cavity, muscle)
    labels = np.zeros(region.shape, np.uint8)
    labels[wall], labels[cavity] = MYOCARDIUM, LEFT_VENTRICLE
    return hu, labels


def _own_axes(heart: _Heart, xyz: Coordinates) -> Coordinates:
    """Coordinates along the ventricle's own axes, mm, each broadcast to the whole grid."""
    x, y, z = np.broadcast_arrays(*(line - heart.centre[axis] for axis, line in enumerate(xyz)))
    u, v, w = ((row[0] * x + row[1] * y + row[2] * z).astype(np.float32) for row in heart.turn)
    return u, v, w


def _ventricle(heart: _Heart, own: Coordinates, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """The masks of the cavity and of its wall, both cut off at the base."""
    u, v, w = own
    inner = ellipsoid(own, (0.0, 0.0, 0.0), heart.radii) + 1.3 * heart.bulges.on(region)
    along = np.clip(-w / heart.radii[2], 0, 1)
    towards_septum = np.clip(-u / np.maximum(np.hypot(u, v), 1e-3), 0, 1)
    thickness = heart.wall * (1 - heart.apex * along**2) + heart.septum * towards_septum + 0.7 * heart.wall_bulges.on(region)
    below_base = w < heart.base * heart.radii[2]
    cavity = (inner < 0) & below_base
    return cavity, (inner >= 0) & (inner < thickness) & below_base


def _paint_chambers(hu: np.ndarray, heart: _Heart, own: Coordinates, blood: tuple[float, float, float]) -> None:
    left, right, muscle = blood
    a, b, c = heart.radii
    edge = a + heart.wall
    right_ventricle = ellipsoid(own, (-edge * 0.62, 2.0, 0.1 * c), (heart.right_width + 8, b + 14, c * 0.86))
    hu[right_ventricle < 3] = muscle
    hu[right_ventricle < 0] = right
    base = heart.base * c
    for centre, radii, value in (
        ((4.0, 4.0, base + 19), (25.0, 27.0, 19.0), left),  # left atrium
        ((-edge - 6, 2.0, base + 15), (21.0, 24.0, 21.0), right),  # right atrium
        ((-13.0, -12.0, base + 18), (11.0, 11.0, 30.0), left),  # aorta
    ):
        shape = ellipsoid(own, centre, radii)
        hu[shape < 2] = muscle
        hu[shape < 0] = value


def _paint_papillary(hu: np.ndarray, heart: _Heart, own: Coordinates, cavity: np.ndarray, muscle: float) -> None:
    """Two muscles in the cavity. As readers draw it, they belong to the cavity: they have the wall's HU and the ventricle's label."""
    u, v, w = own
    for angle, out in heart.papillary:
        at = (np.cos(angle) * out * heart.radii[0], np.sin(angle) * out * heart.radii[1])
        hu[cavity & (np.hypot(u - at[0], v - at[1]) < 3.2) & (np.abs(w + 0.15 * heart.radii[2]) < 13)] = muscle


def _scanned(ct: Volume, settings: HeartSettings, rng: np.random.Generator) -> Volume:
    """What a scanner makes of it: blurred by the point spread, with noise that neighbours share."""
    sharp = sitk.SmoothingRecursiveGaussian(to_sitk(ct), settings.blur_mm)
    noise = sitk.SmoothingRecursiveGaussian(to_sitk(ct.with_array(rng.normal(size=ct.array.shape).astype(np.float32))), settings.spacing_mm * 0.6)
    grain = sitk.GetArrayFromImage(noise)
    array = from_sitk(sharp).array + grain * np.float32(settings.noise_hu / grain.std())
    return ct.with_array(np.rint(array).clip(AIR_HU, 3000).astype(np.int16))
