"""Everything that holds the organs: skin, fat, muscle, spine, ribs, pelvis, lungs, heart, and the table under the patient."""

import numpy as np

from fedliver.phantom.canvas import Canvas, Waves, ellipsoid
from fedliver.phantom.patient import Patient
from fedliver.phantom.vessels import grow_tree

CAVITY = -17.0  # from the trunk's outline to the inside of its wall
_RIB = -8.5  # and to the ribs' centre line
_SPINE_Y = 40.0
_VERTEBRA = 34.0
_RIB_STEP, _RIB_FIRST, _RIB_LAST = 26.0, -15.0, 271.0


def paint_body(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Skin, subcutaneous fat, the muscle wall and the fat inside the cavity."""
    region = canvas.everything
    xyz = region.xyz
    tissue = patient.tissues
    skin, beneath, wall, cavity, seam_outside, seam_inside = patient.radius(xyz, patient.fat, patient.fat - 2.0, 0.0, CAVITY, -5.0, -7.0)
    canvas.paint(region, skin < 1, tissue.skin)
    canvas.paint(region, beneath < 1, tissue.fat)
    canvas.paint(region, wall < 1, tissue.muscle)
    # Between the sheets of the wall's muscles lie thin, broken layers of fat.
    seam = (seam_outside < 1) & (seam_inside > 1)
    canvas.paint(region, seam & (Waves.draw(rng, (40, 120)).on(region) > 0.1), tissue.fat * 0.6)
    canvas.paint(region, cavity < 1, tissue.fat)


def paint_back_muscles(canvas: Canvas, patient: Patient) -> None:
    region = canvas.box((-90, 0, -480), (90, 110, 420))
    if region is None:
        return
    x, y, z = region.xyz
    side = np.abs(x)
    erector = ((side - 33) / 31) ** 2 + ((y - 80) / 22) ** 2 < 1
    psoas_size = np.clip((-30 - z) / 90, 0, 1) * 22 + 1e-3
    psoas = ((side - 36 - np.clip(-z - 150, 0, 150) * 0.25) / psoas_size) ** 2 + ((y - 38 + np.clip(-z - 150, 0, 150) * 0.2) / psoas_size) ** 2 < 1
    canvas.paint(region, erector | (psoas & (z < -30) & (z > -330)), patient.tissues.muscle)


def paint_spine(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Vertebral bodies with discs, pedicles, arch, transverse and spinous processes, and the canal."""
    region = canvas.box((-60, 0, -212), (60, 112, 420))
    if region is None:
        return
    x, y, z = region.xyz
    y = y - 5 * np.sin((z + 60) / 90)
    level = np.mod(z + 8, _VERTEBRA) - _VERTEBRA / 2
    body = np.sqrt((x / (23 + np.abs(level) * 0.18)) ** 2 + ((y - _SPINE_Y) / (17.5 + np.abs(level) * 0.12)) ** 2) - 1
    bone = np.abs(level) < 13.5
    spongy = 190 + 25 * Waves.draw(rng, (6, 18), 16).on(region)
    shell = (body > -0.1) | (np.abs(level) > 11.5)
    canvas.paint(region, (body < 0) & ~bone, 85)
    canvas.paint(region, (body < 0) & bone, spongy)
    canvas.paint(region, (body < 0) & bone & shell, 430)
    canal_y = _SPINE_Y + 27
    ring = np.sqrt((x / 1.15) ** 2 + (y - canal_y) ** 2)
    mid = np.abs(level) < 10
    canvas.paint(region, (ring < 15) & mid & (body > 0), 420)
    transverse = (np.abs(x) < 40) & (((y - canal_y - 4 - np.abs(x) * 0.12) / 4.5) ** 2 + (level / 6) ** 2 < 1)
    spinous_back = patient.outline(z)[1] - 6
    spinous = ((x / 3.6) ** 2 < 1) & (y > canal_y) & (y < np.minimum(canal_y + 34, spinous_back)) & (np.abs(level + 6) < 9)
    canvas.paint(region, (transverse | spinous) & (body > 0), 360)
    canvas.paint(region, (ring < 10.5) & (body > 0), -20)
    canvas.paint(region, (ring < 8) & (body > 0), 28)


def paint_ribs(canvas: Canvas, patient: Patient) -> None:
    """Twelve pairs of ribs along the wall, falling from the spine to the front; cartilage and sternum."""
    region = canvas.box((-175, -125, -110), (175, 125, 330))
    if region is None:
        return
    x, y, z = np.broadcast_arrays(*region.xyz)
    radius = patient.radius(region.xyz, _RIB)[0]
    near = np.abs(radius - 1) < 0.14
    x, y, z, radius = x[near], y[near], z[near], radius[near]
    angle = np.abs(np.arctan2(x, y * 1.45))
    rise = np.where(angle < 2.2, 0, (angle - 2.2) * 34)
    height = z + 46 * (1 - np.cos(np.minimum(angle, 2.2))) - rise
    number = np.clip(np.rint((height - _RIB_FIRST) / _RIB_STEP), 0, (_RIB_LAST - _RIB_FIRST) / _RIB_STEP)
    above = height - _RIB_FIRST - number * _RIB_STEP
    outward = (np.sqrt(radius) - 1) * 118
    distance = np.sqrt((outward / 4.6) ** 2 + (above / 6.6) ** 2)
    reach = np.select([number == 0, number == 1], [1.0, 1.5], 2.25)
    bone = (distance < 1) & (angle < reach) & (angle > 0.28)
    cartilage = (distance < 1) & (number > 1) & (angle >= reach) & (angle < 2.25 + np.clip(number, 2, 6) * 0.14)
    hu = canvas.hu[region.slices]
    values = hu[near]
    values[cartilage] = 105
    values[bone] = np.where(distance[bone] > 0.62, 620, 240)
    sternum = (np.abs(x) < 17) & (y < 0) & (np.abs(outward) < 5.5) & (z > 65) & (z < 265)
    values[sternum] = np.where(np.abs(outward[sternum]) > 3.4, 420, 170)
    hu[near] = values


def paint_lungs(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Both lungs above the diaphragm, the mediastinum between them, the heart, and the lungs' vessels."""
    region = canvas.box((-150, -105, -75), (150, 105, 345))
    if region is None:
        return
    xyz = region.xyz
    x, y, z = xyz
    cavity = patient.radius(xyz, CAVITY)[0]
    inside = cavity < 1 - np.clip((z - 230) / 110, 0, 1) ** 2
    over = z - patient.diaphragm(xyz)
    canvas.paint(region, ((cavity < 1) & (z > 225)) | (inside & (over > -2.5)), patient.tissues.muscle)
    middle = 24 + 9 * np.cos(y / 28) + np.clip((z - 240) / 3, 0, 30)
    mediastinum = np.abs(x - 4) < middle
    back = ((np.abs(x) - 30) / 36) ** 2 + ((y - 84) / 25) ** 2 < 1
    vertebra = (x / 30) ** 2 + ((y - _SPINE_Y - 5) / 27) ** 2 < 1
    mediastinum = mediastinum & (y < _SPINE_Y)
    heart = ellipsoid(xyz, (24, -32, 104), (62, 48, 58))
    lung = inside & (over > 0) & ~mediastinum & ~back & ~vertebra & (heart > 3)
    canvas.paint(region, inside & (over > 0), patient.tissues.fat * 0.55)
    canvas.paint(region, back & inside & (over > 0), patient.tissues.muscle)
    canvas.paint(region, lung, patient.tissues.lung + 0.55 * y + 22 * Waves.draw(rng, (25, 90)).on(region))
    above = over > 0
    canvas.paint(region, (heart < 0) & above & inside, patient.tissues.heart * 0.82)
    for centre, radii in (((44, -30, 92), (29, 25, 38)), ((2, -44, 100), (26, 20, 38)), ((16, -2, 130), (36, 17, 24))):
        canvas.paint(region, (ellipsoid(xyz, centre, radii) < 0) & above & (heart < 0), patient.tissues.aorta)
    trachea = ((x - 1) / 9) ** 2 + ((y - 8) / 9) ** 2 < 1
    canvas.paint(region, trachea & (z > 195), -990)
    _paint_lung_vessels(canvas, patient, rng)


def _paint_lung_vessels(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    flat = canvas.hu.reshape(-1)
    for side in (-1.0, 1.0):
        for height, direction in ((165, (side, -0.4, 0.6)), (155, (side, 0.5, -0.8)), (160, (side, 0.1, 0.0)), (150, (side * 0.6, 0.9, -1.1))):
            points, radii = grow_tree(rng, np.array([side * 32, 5, height]), np.array(direction), length=48, radius=5.0, depth=5, spread=0.75)
            index = canvas.tube(points, radii)
            flat[index[flat[index] < -600]] = patient.tissues.vein * 0.6


def paint_pelvis(canvas: Canvas, patient: Patient) -> None:
    """Iliac wings, sacrum, hip sockets and femoral heads, gluteal muscles, bladder."""
    region = canvas.box((-185, -125, -480), (185, 130, -130))
    if region is None:
        return
    xyz = region.xyz
    x, y, z = xyz
    tissue = patient.tissues
    inside = patient.radius(xyz, 0.0)[0] < 1
    side = np.abs(x)
    deep = np.clip((-175 - z) / 110, 0, 1)
    gluteal = (((side - 92) / 70) ** 2 + ((y - 62) / 48) ** 2 < 1) & (z < -190)
    canvas.paint(region, gluteal & inside, tissue.muscle)
    seam = np.abs(np.sqrt(((side - 92) / 70) ** 2 + ((y - 62) / 48) ** 2) - 0.62) < 0.025
    canvas.paint(region, seam & gluteal & inside, tissue.fat)
    legs = (((side - 96) / 74) ** 2 + ((y - 4) / 88) ** 2 < 1) & (z < -318 - np.clip(y, -60, 60) * 0.5)
    floor = (np.abs(x) < 46) & (np.abs(y - 20) < 62) & (z < -352)
    canvas.paint(region, (legs | floor) & inside, tissue.muscle)
    sheath = np.abs(np.sqrt(((side - 96) / 74) ** 2 + ((y + 14) / 60) ** 2) - 0.7) < 0.03
    canvas.paint(region, sheath & legs & inside, tissue.fat)
    # The wing is a curved sheet from the sacrum forwards and outwards, lower down closer to the middle.
    sheet = side - (118 - 34 * deep - np.clip(y + 45, 0, 140) * (0.42 + 0.1 * deep))
    crest = -172 - ((y - 5) / 62) ** 2 * 34
    wing = (np.abs(sheet) < 6.5) & (y > -62 + 20 * deep) & (y < 84) & (z < crest) & (z > -300)
    canvas.paint(region, wing & inside, 260)
    canvas.paint(region, wing & (np.abs(sheet) > 4) & inside, 640)
    sacrum = (np.abs(x) < 48 + (z + 240) * 0.28) & (np.abs(y - 62 - (-230 - z) * 0.22) < 19) & (z < -196) & (z > -330)
    canvas.paint(region, sacrum, 230)
    canvas.paint(region, sacrum & (np.abs(np.abs(y - 62 - (-230 - z) * 0.22) - 17) < 2), 430)
    socket = ellipsoid((side, y, z), (90, -2, -318), (36, 34, 36))
    canvas.paint(region, socket < 0, 420)
    canvas.paint(region, np.abs(ellipsoid((side, y, z), (90, -2, -318), (28, 28, 28))) < 2, 30)
    canvas.paint(region, ellipsoid((side, y, z), (90, -2, -318), (24, 24, 24)) < 0, 330)
    ramus = (np.sqrt((y + 28 - (side - 60) * 0.3) ** 2 + (z + 345) ** 2) < 9) & (side < 84)
    canvas.paint(region, ramus, 420)
    femur = (np.sqrt((side - 128) ** 2 + (y - 8) ** 2) < 17) & (z < -330)
    canvas.paint(region, femur, 700)
    canvas.paint(region, (np.sqrt((side - 128) ** 2 + (y - 8) ** 2) < 9) & (z < -345), 40)
    canvas.paint(region, ellipsoid(xyz, (0, -22, -305), (42, 34, 34)) < 0, 45)
    canvas.paint(region, ellipsoid(xyz, (0, -22, -305), (39, 31, 31)) < 0, 4)
    rectum = ellipsoid(xyz, (2, 38, -320), (20, 17, 50))
    canvas.paint(region, rectum < 0, 48)
    canvas.paint(region, rectum < -4, 10)
    canvas.paint(region, (rectum < -4) & (y < 34), -850)


def paint_table(canvas: Canvas, patient: Patient) -> None:
    """A curved carbon shell with a foam core and a thin mattress, posterior to the patient."""
    region = canvas.everything
    x, y, _ = region.xyz
    deepest = float(patient.outline(np.array([-20.0]))[1][0]) + patient.fat + 4
    top = deepest + 12 - (x / 210) ** 2 * 26
    air = canvas.hu[region.slices] < -900
    air &= (np.abs(x) < 205) & (y > 20)
    canvas.paint(region, air & (y > top - 9) & (y < top), -935)
    canvas.paint(region, air & (y > top) & (y < top + 26), -880)
    canvas.paint(region, air & ((np.abs(y - top - 1) < 1.9) | (np.abs(y - top - 25) < 1.9)), 60)
