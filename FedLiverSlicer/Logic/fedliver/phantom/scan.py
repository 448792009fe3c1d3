"""The scanner: where its grid lies, how sharp it sees, how it is noisy."""

import numpy as np

from fedliver.image import AIR_HU, Geometry, Volume
from fedliver.phantom.canvas import Canvas
from fedliver.phantom.liver import Liver
from fedliver.phantom.organs import paint_bowel, paint_great_vessels, paint_kidneys, paint_mesentery, paint_pancreas, paint_spleen, paint_stomach
from fedliver.phantom.patient import Patient
from fedliver.phantom.settings import FieldOfView, PhantomSettings
from fedliver.phantom.trunk import paint_back_muscles, paint_body, paint_lungs, paint_pelvis, paint_ribs, paint_spine, paint_table

# Lowest and highest level that each field of view covers, in patient coordinates. The liver lies between -125 and 85.
_LEVELS: dict[FieldOfView, tuple[float, float]] = {"abdomen": (-145, 100), "chest": (100, 300), "pelvis": (-400, -140), "torso": (-400, 300)}
_HALF_WIDTH, _FRONT = 165.0, 112.0
_SHARPNESS_MM = 0.75


def _rotation(degrees: float) -> np.ndarray:
    """A turn about an axis that is none of the patient's own (Rodrigues' formula)."""
    axis = np.array([0.62, 0.35, 0.70])
    axis /= np.linalg.norm(axis)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = np.deg2rad(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _grid(settings: PhantomSettings, offset: np.ndarray) -> Geometry:
    """The scan's grid: square slices that hold the trunk, the field of view's levels; turned, it still holds or avoids the liver."""
    size, turn = settings.patient_size, _rotation(settings.oblique_degrees)
    low, high = (level * size for level in _LEVELS[settings.field_of_view])
    rise = np.abs(turn[2, :2]) @ np.array([_HALF_WIDTH, _FRONT]) * size  # how far the slices' edges tip over the patient's level
    if settings.field_of_view == "chest":
        low += rise
    elif settings.field_of_view == "pelvis":
        high -= rise
    else:
        low, high = low - rise, high + rise
    half = np.array([_HALF_WIDTH * size + settings.fat_mm + 6, 0, (high - low) / 2])
    half[1] = half[0]
    middle = np.array([0, 14 * size, (low + high) / 2])
    spacing = np.asarray(settings.spacing_mm, dtype=float)
    count = np.maximum(np.rint(2 * half / spacing).astype(int), 1)
    origin = middle + offset - turn @ ((count - 1) / 2 * spacing)
    return Geometry(
        size=(int(count[0]), int(count[1]), int(count[2])),
        spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=tuple(float(v) for v in turn.ravel()),
    )


def _smooth(array: np.ndarray, axis: int, weight: float) -> np.ndarray:
    """Convolve one axis of (k, j, i) with (weight, 1 - 2 weight, weight); the ends keep their value."""
    moved = np.moveaxis(array, axis, 0)
    out = moved * np.float32(1 - 2 * weight)
    out[1:] += np.float32(weight) * moved[:-1]
    out[:-1] += np.float32(weight) * moved[1:]
    out[0] += np.float32(weight) * moved[0]
    out[-1] += np.float32(weight) * moved[-1]
    return np.moveaxis(out, 0, axis)


def _develop(canvas: Canvas, settings: PhantomSettings, rng: np.random.Generator) -> np.ndarray:
    """Blur by the scanner's point spread, add correlated noise, clip as a 12-bit scanner does; int16."""
    image = canvas.hu
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    for axis, spacing in ((1, settings.spacing_mm[1]), (2, settings.spacing_mm[0])):
        image = _smooth(image, axis, min(0.32, _SHARPNESS_MM**2 / (2 * spacing**2)))
        noise = _smooth(noise, axis, 0.25)
    noise *= np.float32(settings.noise_hu / max(float(noise[:, ::4, ::4].std()), 1e-6))
    image += noise
    return np.clip(np.rint(image, out=image), AIR_HU, 3071, out=image).astype(np.int16)


def generate(settings: PhantomSettings) -> tuple[Volume, Volume]:
    """Generate one CT and its true labels on the same grid.

    Returns
    -------
    tuple[Volume, Volume]
        The CT, int16 Hounsfield units; the labels, uint8: 0 background, 1 liver, 2 tumour. LPS, the patient's right at -x.
    """
    rng = np.random.default_rng(settings.seed)
    offset = np.array([rng.uniform(-8, 8), rng.uniform(-160, -120), rng.uniform(-700, 200)])
    patient = Patient.draw(settings, rng)
    liver = Liver.draw(settings, patient, rng)
    canvas = Canvas(_grid(settings, offset), offset, settings.patient_size)
    paint_body(canvas, patient, rng)
    paint_lungs(canvas, patient, rng)
    paint_pelvis(canvas, patient)
    paint_back_muscles(canvas, patient)
    paint_spine(canvas, patient, rng)
    paint_ribs(canvas, patient)
    paint_bowel(canvas, patient, rng)
    paint_mesentery(canvas, patient, rng)
    paint_stomach(canvas, patient, rng)
    paint_pancreas(canvas, patient)
    paint_kidneys(canvas, patient, rng)
    paint_spleen(canvas, patient, rng)
    paint_great_vessels(canvas, patient)
    liver.paint(canvas, rng)
    paint_table(canvas, patient)
    return Volume(_develop(canvas, settings, rng), canvas.geometry), Volume(canvas.labels, canvas.geometry)
