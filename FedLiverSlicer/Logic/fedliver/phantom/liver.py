"""The liver, its vessels, its gallbladder and its tumours.

The liver fills what the neighbours leave: the body's wall and the diaphragm shape its convex side, the stomach, the right kidney,
the spine and the bowel its concave one. Its volume is drawn first and the concave side is moved until it fits.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from fedliver.labels import LIVER, TUMOUR
from fedliver.phantom.canvas import Canvas, Region, Waves, ellipsoid, smooth_max
from fedliver.phantom.organs import kidney
from fedliver.phantom.patient import Patient
from fedliver.phantom.settings import PhantomSettings
from fedliver.phantom.trunk import CAVITY
from fedliver.phantom.vessels import grow_tree, path

_LOW, _HIGH = (-150.0, -105.0, -135.0), (125.0, 100.0, 90.0)
_COARSE_MM = 5.0
_GALLBLADDER = (-46.0, -44.0, -46.0)


def _coarse_region() -> Region:
    """The liver's box at 5 mm along the patient's axes: the shape is fitted here, whatever the scan's grid."""
    axes = []
    for axis in range(3):
        line = np.zeros((3, int((_HIGH[axis] - _LOW[axis]) / _COARSE_MM)))
        line[axis] = _LOW[axis] + _COARSE_MM * np.arange(line.shape[1])
        axes.append(line)
    whole = slice(None)
    return Region((whole, whole, whole), (axes[0], axes[1], axes[2]))


@dataclass(frozen=True)
class Lesion:
    """One tumour: centre and half axes in patient coordinates, HU of its body, its core and its rim."""

    centre: np.ndarray
    radii: np.ndarray
    turn: np.ndarray
    hu: float
    core: float
    rim: float
    edge: Waves


@dataclass(frozen=True)
class Liver:
    """The fitted shape. ``allowance`` is how far the concave side was moved outwards to reach the drawn volume."""

    patient: Patient
    bumps: Waves
    tip: float
    slope: float
    allowance: float
    lesions: tuple[Lesion, ...] = ()

    @classmethod
    def draw(cls, settings: PhantomSettings, patient: Patient, rng: np.random.Generator) -> "Liver":
        shape = cls(patient, Waves.draw(rng, (70, 170)), float(rng.uniform(62, 108)), float(rng.uniform(0.5, 0.68)), 0.0)
        target_ml = float(np.clip(1470 * settings.patient_size**2.2 * rng.uniform(0.84, 1.2), 1030, 1930))
        region = _coarse_region()
        room, underside = shape._room(region), shape._underside(region)
        voxels = int(target_ml * 1000 / (_COARSE_MM * settings.patient_size) ** 3)
        candidates = np.sort(underside[room < 0])
        shape = cls(patient, shape.bumps, shape.tip, shape.slope, float(candidates[min(voxels, len(candidates) - 1)]))
        return cls(patient, shape.bumps, shape.tip, shape.slope, shape.allowance, _place_lesions(shape, settings, region, rng))

    def _room(self, region: Region) -> np.ndarray:
        """Negative where the liver may be: inside the wall, under the diaphragm, in front of the right kidney, beside the vena cava."""
        xyz = region.xyz
        x, y, z = xyz
        wall = (np.sqrt(np.maximum(self.patient.radius(xyz, CAVITY)[0], 0)) - 1) * 105 + 1.5
        dome = (xyz[2] - self.patient.diaphragm(xyz) + 3) * 0.75
        kidney_and_behind = kidney((x, np.minimum(y, 42.0), z), self.patient, True)
        cava = np.sqrt((x + 21) ** 2 + (y - 3 + 0.1 * z) ** 2) - 12.5
        spine = ellipsoid(xyz, (3, 60, 10), (36, 48, 500))
        blocked = np.maximum(np.maximum(4 - kidney_and_behind, -cava), np.maximum(4 - kidney(xyz, self.patient, False), -spine))
        return smooth_max(smooth_max(wall, dome, 8), blocked, 8)

    def _underside(self, region: Region) -> np.ndarray:
        """Negative above the surface that rests on the organs below, behind and to the left."""
        xyz = region.xyz
        x, y, z = xyz
        field = (-90 + self.slope * np.clip(x + 112, -10, 250) + 0.12 * np.abs(y) - z) * 0.86
        field = smooth_max(field, (x - self.tip) * 0.9 + np.abs(y + 30) * 0.2, 22)
        for centre, radii in (((64, 58, -84), (99, 88, 116)), ((82, 30, 36), (62, 56, 62)), ((3, 58, 10), (38, 52, 300))):
            field = smooth_max(field, -ellipsoid(xyz, centre, radii), 16)
        groove = 9 - np.sqrt((x - 8) ** 2 + ((z + 24) * 0.55) ** 2 + ((y + 66) * 0.35) ** 2)
        field = smooth_max(field, groove, 8)
        return field + 5.0 * self.bumps.on(region)

    def field(self, region: Region) -> np.ndarray:
        """Negative inside the liver, about millimetres near its surface."""
        xyz = region.xyz
        field = smooth_max(self._room(region), self._underside(region) - self.allowance, 7)
        return np.maximum(field, 2 - gallbladder(xyz, self.patient))

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> None:
        region = canvas.box(_LOW, _HIGH)
        if region is None:
            return
        tissue = self.patient.tissues
        organ = _largest_piece(self.field(region) < 0)
        bile = gallbladder(region.xyz, self.patient)
        canvas.paint(region, (bile < 0) & ~organ, 60)
        canvas.paint(region, (bile < -1.8) & ~organ, 9)
        canvas.paint(region, organ, tissue.liver + 2.0 * Waves.draw(rng, (30, 110)).on(region))
        canvas.labels[region.slices][organ] = LIVER
        self._paint_vessels(canvas, rng)
        for lesion in self.lesions:
            _paint_lesion(canvas, lesion)

    def _paint_vessels(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Portal tree from the hilum outwards, hepatic veins from the vena cava outwards; drawn only where there is liver."""
        tissue = self.patient.tissues
        hilum = np.array([-30.0, -6.0, -8.0])
        trunk = path(np.array([[14, -8, -36], [-8, -10, -24], hilum]), np.array([7.0, 7.0]))
        flat, labels = canvas.hu.reshape(-1), canvas.labels.reshape(-1)
        flat[canvas.tube(*trunk)] = tissue.portal
        portal = [((-1, 0.35, 0.15), 34), ((-0.9, -0.6, 0.2), 34), ((-0.8, 0.3, -0.7), 36), ((0.9, -0.8, 0.5), 32)]
        cava = np.array([-20.0, -2.0, 56.0])
        hepatic = [((-1, 0.25, -0.45), 36), ((-0.55, -0.7, -0.45), 36), ((0.7, -0.7, -0.35), 32), ((-0.9, -0.3, -0.25), 30)]
        for start, forks, hu, width in ((hilum, portal, tissue.portal, 5.2), (cava, hepatic, tissue.hepatic, 5.0)):
            for direction, length in forks:
                tree = grow_tree(rng, start, np.array(direction), length=length, radius=width, depth=5, spread=0.62)
                index = canvas.tube(*tree)
                flat[index[labels[index] > 0]] = hu


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    pieces = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))), sortByObjectSize=True)
    return sitk.GetArrayViewFromImage(pieces) == 1


def gallbladder(xyz: tuple[np.ndarray, np.ndarray, np.ndarray], patient: Patient) -> np.ndarray:
    """About the signed distance to the gallbladder: a pear under the right lobe."""
    shift = patient.organ_shift[6]
    centre = (_GALLBLADDER[0] + float(shift[0]), _GALLBLADDER[1] + float(shift[1]), _GALLBLADDER[2] + float(shift[2]))
    x, y, z = xyz
    return ellipsoid((x, y, z - 0.5 * (y - centre[1])), centre, (15, 30, 15))


def _place_lesions(shape: Liver, settings: PhantomSettings, region: Region, rng: np.random.Generator) -> tuple[Lesion, ...]:
    """Tumours that lie in the liver and do not touch each other; the first is at least 16 mm, so that there is one to find."""
    count = int(rng.integers(0, 6)) if settings.lesions is None else settings.lesions
    depth = -shape.field(region)
    coordinates = np.stack([np.broadcast_to(c, depth.shape) for c in region.xyz], axis=-1)
    lesions: list[Lesion] = []
    for number in range(count):
        diameter = float(np.exp(rng.uniform(np.log(16 if number == 0 else 8), np.log(40)))) / settings.patient_size
        while diameter > 4:
            free = depth > 0.45 * diameter
            for other in lesions:
                free &= np.linalg.norm(coordinates - other.centre, axis=-1) > 0.62 * diameter + 1.24 * float(other.radii.max()) + 6
            places = np.argwhere(free)
            if len(places):
                centre = coordinates[tuple(places[rng.integers(len(places))])] + rng.uniform(-2, 2, size=3)
                lesions.append(_draw_lesion(centre, diameter / 2, shape.patient, settings, rng))
                break
            diameter *= 0.8
    return tuple(lesions)


def _draw_lesion(centre: np.ndarray, radius: float, patient: Patient, settings: PhantomSettings, rng: np.random.Generator) -> Lesion:
    tissue = patient.tissues
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    bright = rng.uniform() < (0.45 if settings.phase == "arterial" else 0.08)
    hu = tissue.liver + rng.uniform(28, 55) if bright else tissue.lesion + rng.uniform(-16, 12)
    core = hu - rng.uniform(12, 30) if radius > 9 and rng.uniform() < 0.5 else hu
    rim = hu + rng.uniform(8, 22) if rng.uniform() < 0.4 and settings.phase != "plain" else hu
    waves = Waves.draw(rng, (max(1.1 * radius, 9), max(2.6 * radius, 18)), 9)
    return Lesion(centre, radius * rng.uniform(0.82, 1.0, size=3), turn, float(hu), float(core), float(rim), waves)


def _paint_lesion(canvas: Canvas, lesion: Lesion) -> None:
    reach = float(lesion.radii.max()) * 1.25
    region = canvas.around((float(lesion.centre[0]), float(lesion.centre[1]), float(lesion.centre[2])), (reach, reach, reach))
    if region is None:
        return
    local = np.stack([np.broadcast_to(c - m, region.shape) for c, m in zip(region.xyz, lesion.centre, strict=True)], axis=-1)
    distance = np.linalg.norm((local @ lesion.turn.astype(np.float32)) / lesion.radii.astype(np.float32), axis=-1) + 0.07 * lesion.edge.on(region)
    labels = canvas.labels[region.slices]
    mask = (distance < 1) & (labels > 0)
    hu = np.where(distance < 0.55, lesion.core, np.where(distance > 0.82, lesion.rim, lesion.hu))
    canvas.paint(region, mask, hu.astype(np.float32))
    labels[mask] = TUMOUR
