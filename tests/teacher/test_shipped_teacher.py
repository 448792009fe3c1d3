"""The shipped teacher on scans as hospitals have them: any orientation, spacing, padding and crop; and scans without a liver."""

from dataclasses import replace

import numpy as np
import pytest

from fedliver.evaluation.metrics import liver_dice
from fedliver.image import AIR_HU, Geometry, Volume, axis_aligned_grid, resample
from fedliver.phantom import PhantomSettings, generate
from fedliver.teacher.bundle import STARTER, Teacher, load_bundle
from fedliver.teacher.inference import segment
from fedliver.training.corruption import noisy

GOOD = 0.93


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return load_bundle(STARTER)


@pytest.fixture(scope="module")
def patient() -> tuple[Volume, Volume]:
    return generate(PhantomSettings(seed=11, spacing_mm=(1.6, 1.6, 3.0), lesions=2))


def _dice(teacher: Teacher, ct: Volume, truth: Volume) -> float:
    return liver_dice(segment(teacher, ct).labels.array, truth.array)


def test_a_portal_venous_abdomen(teacher: Teacher, patient: tuple[Volume, Volume]) -> None:
    result = segment(teacher, patient[0])
    assert liver_dice(result.labels.array, patient[1].array) > GOOD
    assert result.expected_dice is not None


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1, 2)], ids=["feet first", "prone rows", "mirrored columns", "all three"])
def test_the_order_of_the_voxels_does_not_matter(teacher: Teacher, patient: tuple[Volume, Volume], axes: tuple[int, ...]) -> None:
    ct, truth = (_flipped(volume, axes) for volume in patient)
    assert _dice(teacher, ct, truth) > GOOD


def _flipped(volume: Volume, axes: tuple[int, ...]) -> Volume:
    """The same patient, its voxels stored the other way round along array axes (k, j, i)."""
    geometry = volume.geometry
    direction = np.reshape(geometry.direction, (3, 3)).copy()
    corner = np.zeros(3)
    for axis in axes:
        column = 2 - axis
        corner[column] = geometry.size[column] - 1
        direction[:, column] *= -1
    origin = (geometry.affine_lps @ [*corner, 1.0])[:3]
    flipped = Geometry(geometry.size, geometry.spacing, tuple(float(x) for x in origin), tuple(float(x) for x in direction.ravel()))  # type: ignore[arg-type]
    return Volume(np.ascontiguousarray(np.flip(volume.array, axes)), flipped)


@pytest.mark.parametrize("spacing", [(0.8, 0.8, 1.5), (1.2, 1.2, 8.0), (3.0, 3.0, 3.0)], ids=str)
def test_the_spacing_does_not_matter(teacher: Teacher, patient: tuple[Volume, Volume], spacing: tuple[float, float, float]) -> None:
    grid = axis_aligned_grid(patient[0].geometry, spacing)
    ct = resample(patient[0], grid, order=1, outside=AIR_HU, extend_edges=True)
    truth = resample(patient[1], grid, order=0, outside=0, extend_edges=True)
    assert _dice(teacher, ct, truth) > GOOD - 0.02


def test_a_scanner_that_pads_with_minus_3024_does_not_matter(teacher: Teacher, patient: tuple[Volume, Volume]) -> None:
    ct, truth = patient
    _k, j, i = np.indices(ct.array.shape)
    outside = (j - ct.array.shape[1] / 2) ** 2 + (i - ct.array.shape[2] / 2) ** 2 > (ct.array.shape[2] / 2) ** 2
    assert _dice(teacher, ct.with_array(np.where(outside, -3024, ct.array).astype(np.int16)), truth) > GOOD


@pytest.mark.parametrize("part", ["upper", "lower"])
def test_a_liver_that_is_cut_off_is_segmented_up_to_the_cut(teacher: Teacher, patient: tuple[Volume, Volume], part: str) -> None:
    slices = np.flatnonzero((patient[1].array > 0).any(axis=(1, 2)))
    middle = int((slices[0] + slices[-1]) / 2)
    rest = slice(middle, None) if part == "upper" else slice(0, middle)
    box = (slice(*rest.indices(patient[0].array.shape[0])[:2]), slice(0, patient[0].array.shape[1]), slice(0, patient[0].array.shape[2]))
    ct, truth = (volume.crop(box) for volume in patient)
    assert _dice(teacher, ct, truth) > GOOD - 0.05


def test_an_oblique_scan_does_not_matter(teacher: Teacher) -> None:
    ct, truth = generate(PhantomSettings(seed=11, spacing_mm=(2.0, 2.0, 4.0), lesions=1, oblique_degrees=15))
    assert _dice(teacher, ct, truth) > GOOD


def test_the_noise_of_a_low_dose_does_not_matter(teacher: Teacher, patient: tuple[Volume, Volume]) -> None:
    ct, truth = patient
    assert _dice(teacher, noisy(ct, 80), truth) > GOOD - 0.02


def test_metal_in_the_spine_and_its_streaks_cost_little(teacher: Teacher, patient: tuple[Volume, Volume]) -> None:
    ct, truth = patient
    assert _dice(teacher, _with_metal(ct, truth), truth) > GOOD - 0.03


def _with_metal(ct: Volume, truth: Volume) -> Volume:
    """Two rods of 3071 HU beside the spine, along the liver's lower half, with streaks that fade over 10 cm."""
    hu = ct.array.astype(np.float32)
    ks, js, _ = np.nonzero(truth.array)
    _, j, i = np.indices((1, *ct.array.shape[1:]))
    middle, back = ct.array.shape[2] / 2, js.max()
    for side in (-12.0, 12.0):
        x, y = (i[0] - middle) * ct.geometry.spacing[0] - side, (j[0] - back) * ct.geometry.spacing[1]
        radius, angle = np.hypot(x, y), np.arctan2(y, x)
        streaks = 150 * np.cos(9 * angle) * np.exp(-radius / 100) * (np.hypot(x, y) > 4)
        for k in range(ks.min(), (ks.min() + ks.max()) // 2):
            hu[k] += np.where(hu[k] > -700, streaks, 0)
            hu[k][radius <= 4] = 3071
    return ct.with_array(hu.clip(-1024, 3071).astype(np.int16))


def test_arms_beside_the_body_do_not_matter(teacher: Teacher, patient: tuple[Volume, Volume]) -> None:
    ct, truth = (_with_room(volume, air) for volume, air in zip(patient, (AIR_HU, 0), strict=True))
    assert _dice(teacher, _with_arms(ct), truth) > GOOD


def _with_room(volume: Volume, outside: float, mm: float = 110.0) -> Volume:
    """The same scan with a wider field of view."""
    more = round(mm / volume.geometry.spacing[0])
    size = (volume.geometry.size[0] + 2 * more, *volume.geometry.size[1:])
    origin = tuple(float(x) for x in (volume.geometry.affine_lps @ [-more, 0, 0, 1])[:3])
    array = np.pad(volume.array, ((0, 0), (0, 0), (more, more)), constant_values=outside)
    return Volume(array, replace(volume.geometry, size=size, origin=origin))


def _with_arms(ct: Volume) -> Volume:
    """An arm of fat, muscle and bone on each side, with the dark band between them that two thick bones make."""
    hu = ct.array.astype(np.float32)
    _, j, i = np.indices((1, *ct.array.shape[1:]))
    body = np.flatnonzero((ct.array > -300).any(axis=(0, 1)))
    middle = np.flatnonzero((ct.array > -300).any(axis=(0, 2))).mean()
    hu[:, np.abs(j[0] - middle) * ct.geometry.spacing[1] < 12] -= 30
    for centre in (body[0] - 46 / ct.geometry.spacing[0], body[-1] + 46 / ct.geometry.spacing[0]):
        radius = np.hypot((i[0] - centre) * ct.geometry.spacing[0], (j[0] - middle) * ct.geometry.spacing[1])
        for mm, value in ((46, -100), (38, 60), (12, 700)):
            hu[:, radius < mm] = value
    return ct.with_array(hu.clip(-1024, 3071).astype(np.int16))


@pytest.mark.parametrize("where", ["chest", "pelvis"])
def test_a_scan_without_a_liver_is_answered_with_no_liver(teacher: Teacher, where: str) -> None:
    ct, truth = generate(PhantomSettings(seed=5, spacing_mm=(2.0, 2.0, 3.0), field_of_view=where))  # type: ignore[arg-type]
    assert not truth.array.any()
    assert segment(teacher, ct).liver_ml < 1.0
