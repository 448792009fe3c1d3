"""The organs around the liver: spleen, kidneys, stomach, bowel, great vessels."""

import numpy as np

from fedliver.phantom.canvas import Canvas, Region, Waves, ellipsoid
from fedliver.phantom.patient import Patient
from fedliver.phantom.trunk import CAVITY
from fedliver.phantom.vessels import grow_tree, path

Point = tuple[float, float, float]
RIGHT_KIDNEY: Point = (-60.0, 42.0, -74.0)
LEFT_KIDNEY: Point = (62.0, 44.0, -48.0)
KIDNEY_RADII: Point = (29.0, 27.0, 54.0)
SPLEEN: Point = (94.0, 40.0, 8.0)
STOMACH = (((66.0, 8.0, 26.0), (44.0, 44.0, 36.0)), ((58.0, -34.0, -12.0), (38.0, 30.0, 50.0)), ((22.0, -46.0, -48.0), (44.0, 22.0, 22.0)))


def _shifted(point: Point, shift: np.ndarray) -> Point:
    return (point[0] + float(shift[0]), point[1] + float(shift[1]), point[2] + float(shift[2]))


def kidney(xyz: tuple[np.ndarray, np.ndarray, np.ndarray], patient: Patient, right: bool) -> np.ndarray:
    """About the signed distance to a kidney: upper pole towards the spine."""
    centre = _shifted(RIGHT_KIDNEY if right else LEFT_KIDNEY, patient.organ_shift[0 if right else 1])
    lean = 0.24 if right else -0.24
    x, y, z = xyz
    return ellipsoid((x - lean * (z - centre[2]), y + 0.2 * (z - centre[2]), z), centre, KIDNEY_RADII)


def _cavity(patient: Patient, region: Region) -> np.ndarray:
    xyz = region.xyz
    return (patient.radius(xyz, CAVITY - 2)[0] < 1) & (xyz[2] < patient.diaphragm(xyz) - 5)


def paint_kidneys(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    tissue = patient.tissues
    for right in (True, False):
        centre = _shifted(RIGHT_KIDNEY if right else LEFT_KIDNEY, patient.organ_shift[0 if right else 1])
        region = canvas.around(centre, KIDNEY_RADII, 18)
        if region is None:
            continue
        xyz = region.xyz
        inner = 1.0 if right else -1.0
        field = kidney(xyz, patient, right) + 1.2 * Waves.draw(rng, (18, 40)).on(region)
        x, y, z = xyz
        canvas.paint(region, field < 7, tissue.fat)
        canvas.paint(region, field < 0, tissue.cortex)
        pyramids = Waves.draw(rng, (17, 24), 10).on(region)
        canvas.paint(region, (field < -6) & (pyramids > -0.55), tissue.medulla)
        sinus = ellipsoid((x, y, z), (centre[0] + inner * 13, centre[1] - 4, centre[2]), (20, 11, 27))
        canvas.paint(region, (sinus + 2 * pyramids < 0) & (field < 3), tissue.fat * 0.8)
        canvas.paint(region, (ellipsoid((x, y, z), (centre[0] + inner * 12, centre[1] - 4, centre[2]), (13, 5, 12)) < 0) & (field < 3), 30)


def paint_spleen(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    centre = _shifted(SPLEEN, patient.organ_shift[2])
    region = canvas.around(centre, (50, 60, 62))
    if region is None:
        return
    xyz = region.xyz
    shape = ellipsoid(xyz, centre, (40, 50, 52)) + 1.5 * Waves.draw(rng, (30, 70)).on(region)
    hollow = ellipsoid(xyz, (centre[0] - 42, centre[1] - 24, centre[2] - 4), (36, 40, 60))
    organ = (shape < 0) & (hollow > 0) & _cavity(patient, region) & (kidney(xyz, patient, False) > 5)
    canvas.paint(region, organ, patient.tissues.spleen)


def paint_stomach(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """A J of three merged ellipsoids: wall with folds, fluid below, gas above the fluid level (the patient lies on the back)."""
    region = canvas.box((-45, -95, -85), (130, 70, 75))
    if region is None:
        return
    xyz = region.xyz
    fill = rng.uniform(0.82, 1.02)
    nearest: np.ndarray = np.full(region.shape, np.inf, np.float32)
    for number, (centre, radii) in enumerate(STOMACH):
        part = ellipsoid(xyz, _shifted(centre, patient.organ_shift[3 + number]), (radii[0] * fill, radii[1] * fill, radii[2] * fill))
        blend = np.maximum(14 - np.abs(nearest - part), 0) / 14 if number else np.float32(0)
        nearest = np.minimum(nearest, part) - blend * blend * 3.5
    nearest = nearest + 1.5 * Waves.draw(rng, (25, 60)).on(region)
    inside = _cavity(patient, region)
    level = rng.uniform(-48, -28)
    folds = -5 - 1.6 * Waves.draw(rng, (9, 16)).on(region)
    canvas.paint(region, (nearest < 0) & inside, 82 if patient.tissues.aorta > 100 else 42)
    canvas.paint(region, (nearest < folds) & inside, 18 + 14 * Waves.draw(rng, (10, 30)).on(region))
    canvas.paint(region, (nearest < -4) & inside & (xyz[1] < level), -960)


def paint_great_vessels(canvas: Canvas, patient: Patient) -> None:
    """Aorta with its arch and iliac arteries, vena cava, renal vessels."""
    flat = canvas.hu.reshape(-1)
    tissue = patient.tissues
    aorta = np.array([[10, 26, 240], [22, 8, 232], [24, 20, 205], [22, 24, 150], [14, 18, 60], [10, 10, 0], [8, 9, -90], [4, 10, -158]])
    ascending = np.array([[12, -26, 150], [-12, -26, 185], [-4, -18, 228], [14, 6, 236], [22, 14, 222]])
    cava = np.array([[-16, -12, 96], [-20, -2, 62], [-22, 6, 30], [-20, 8, -30], [-18, 10, -100], [-16, 12, -165]])
    upper_cava = np.array([[-22, -12, 130], [-26, -14, 180], [-24, -8, 250]])
    for line, radii, hu in (
        (cava, [13, 12, 10.5], tissue.vein),
        (upper_cava, [10, 10, 9], tissue.vein),
        (aorta, [13, 12.5, 11.5, 9.5], tissue.aorta),
        (ascending, [15, 14.5, 14], tissue.aorta),
    ):
        flat[canvas.tube(*path(line, np.array(radii), 2.0))] = hu
    for side in (-1.0, 1.0):
        centre = RIGHT_KIDNEY if side < 0 else LEFT_KIDNEY
        artery = np.array([[7, 10, centre[2] + 6], [side * 30, 18, centre[2] + 5], [centre[0] - side * 14, 38, centre[2] + 2]])
        vein = np.array([[-18, 8, centre[2]], [side * 34, 8, centre[2]], [centre[0] - side * 12, 36, centre[2] - 4]])
        flat[canvas.tube(*path(vein, np.array([5.0, 4.5]), 1.5))] = tissue.vein
        flat[canvas.tube(*path(artery, np.array([3.4, 2.8]), 1.2))] = tissue.aorta
        iliac = np.array([[4, 10, -155], [side * 26, 18, -200], [side * 48, 20, -240], [side * 62, -30, -290], [side * 72, -62, -330], [side * 74, -66, -440]])
        beside = iliac + np.array([side * 3, 11, 0])
        flat[canvas.tube(*path(beside, np.array([7.0, 6.0]), 2.0))] = tissue.vein
        flat[canvas.tube(*path(iliac, np.array([6.0, 5.0]), 2.0))] = tissue.aorta


def paint_pancreas(canvas: Canvas, patient: Patient) -> None:
    line = np.array([[-26, -16, -52], [-8, -22, -42], [14, -14, -34], [40, 6, -22], [72, 30, -4]])
    index = canvas.tube(*path(line, np.array([15.0, 12, 10, 10, 9]), 2.5))
    canvas.hu.reshape(-1)[index] = patient.tissues.liver * 0.86


def _loops(
    canvas: Canvas, patient: Patient, rng: np.random.Generator, belly: np.ndarray, line: np.ndarray, *, radius: float, content: float, gas: float
) -> None:
    """A piece of bowel along a line: wall, contents, and gas in the upper part of some stretches."""
    points, radii = path(line, np.array([radius, radius]), radius * 0.32)
    along = np.arange(len(points))
    radii = radii * (1 + 0.13 * np.sin(along * 1.05) + 0.1 * np.sin(along * 0.23 + rng.uniform(0, 6)))
    flat = canvas.hu.reshape(-1)
    layers: list[tuple[np.ndarray, np.ndarray, float]] = [
        (points, radii, 75 if patient.tissues.aorta > 100 else 40),
        (points, np.maximum(radii - 2.4, 1.5), content),
    ]
    gassy = np.sin(along * 0.09 + rng.uniform(0, 6)) > 1 - 2 * gas
    up = points[gassy] - np.array([0, 1, 0]) * (radii[gassy, None] * 0.35)
    layers.append((up, np.maximum(radii[gassy] * 0.6, 1.5), -930))
    for centres, thickness, hu in layers:
        index = canvas.tube(centres, thickness)
        flat[index[belly[index]]] = hu


def paint_bowel(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Loops of small bowel in the middle of the belly, the colon as a frame around them."""
    whole = canvas.everything
    belly = (patient.radius(whole.xyz, CAVITY - 1)[0] < 1).reshape(-1)
    colon = np.array([
        [-104, 8, -215], [-112, 14, -160], [-106, 4, -118], [-92, -34, -108], [-40, -66, -125], [10, -72, -120], [60, -62, -90],
        [100, -6, -48], [118, 22, -62], [116, 26, -130], [108, 18, -200], [70, 0, -250], [30, 20, -270], [5, 38, -285],
    ], dtype=float)  # fmt: skip
    colon = colon + rng.normal(scale=5, size=colon.shape)
    for _ in range(int(rng.integers(36, 44))):
        start = np.array([rng.uniform(-80, 85), rng.uniform(-70, 14), rng.uniform(-240, -25)])
        steps = rng.normal(size=(7, 3)) * np.array([30, 22, 20])
        line = np.clip(start + np.cumsum(steps, axis=0), [-94, -76, -265], [98, 10, -22])
        _loops(canvas, patient, rng, belly, line, radius=rng.uniform(8, 12), content=rng.uniform(12, 70), gas=0.1)
    _loops(canvas, patient, rng, belly, colon, radius=19.0, content=28.0, gas=0.45)
    _paint_stool(canvas, rng, colon)


def _paint_stool(canvas: Canvas, rng: np.random.Generator, colon: np.ndarray) -> None:
    """Crumbs of gas and of denser matter inside the colon."""
    flat = canvas.hu.reshape(-1)
    middle, _ = path(colon, np.array([1.0, 1.0]), 2.0)
    for share, hu in ((0.9, -700.0), (0.5, 75.0), (0.5, -900.0)):
        chosen = middle[rng.uniform(size=len(middle)) < share]
        index = canvas.tube(chosen + rng.uniform(-11, 11, size=chosen.shape), rng.uniform(1.2, 3.2, size=len(chosen)))
        flat[index[(flat[index] > 0) & (flat[index] < 40)]] = hu


def paint_mesentery(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Vessels that fan out through the fat between the loops of bowel."""
    flat = canvas.hu.reshape(-1)
    for start, direction in (
        ((12, -4, -50), (-0.5, -0.7, -0.9)),
        ((14, -4, -60), (0.4, -0.7, -0.9)),
        ((10, 0, -80), (0, -0.5, -1)),
        ((16, -8, -44), (0.8, -0.7, -0.2)),
    ):
        points, radii = grow_tree(rng, np.array(start, dtype=float), np.array(direction), length=42, radius=3.6, depth=6, spread=0.8)
        index = canvas.tube(points, radii)
        flat[index[(flat[index] < -60) & (flat[index] > -200)]] = patient.tissues.vein
