"""Segmentation lies exactly on the CT's grid, whatever that grid is."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from stopping_watch import StoppingWatch

from fedliver.errors import Cancelled
from fedliver.image import Geometry, Volume
from fedliver.labels import TUMOUR
from fedliver.teacher.inference import segment
from networks import BandNetwork, band_teacher

CENTRE = np.array([10.0, -20.0, 35.0])
LIVER_MM, TUMOUR_MM = 50.0, 20.0


def _rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _grid(spacing: tuple[float, float, float], direction: np.ndarray, extent_mm: float = 180.0) -> Geometry:
    size = tuple(round(extent_mm / s) for s in spacing)
    corner = direction @ (np.array(spacing) * (np.array(size) - 1) / 2)
    origin = CENTRE + [12.0, -8.0, 5.0] - corner
    return Geometry(size, spacing, tuple(origin), tuple(direction.ravel()))  # type: ignore[arg-type]


def _distance(geometry: Geometry, centre: np.ndarray = CENTRE) -> np.ndarray:
    k, j, i = np.indices(geometry.shape).reshape(3, -1)
    points = geometry.affine_lps[:3, :3] @ np.stack([i, j, k]) + geometry.affine_lps[:3, 3:]
    return np.linalg.norm(points - centre[:, None], axis=0).reshape(geometry.shape)


def _ball(geometry: Geometry) -> tuple[Volume, np.ndarray]:
    """A ball of liver with a ball of tumour in it, in a body of fat with air around."""
    distance = _distance(geometry)
    truth = np.where(distance < LIVER_MM, 1, 0) + np.where(distance < TUMOUR_MM, 1, 0)
    hu = np.where(distance < 80, -100, -1024)
    hu = np.where(truth == 1, 100, np.where(truth == 2, 170, hu)).astype(np.int16)
    return Volume(hu, geometry), truth


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


FLIPS = [np.diag(signs) for signs in itertools.product((1.0, -1.0), repeat=3)]


@pytest.mark.parametrize(
    ("spacing", "direction"),
    [
        ((1.5, 1.5, 1.5), np.eye(3)),
        ((0.9, 0.9, 5.0), np.eye(3)),
        ((3.0, 3.0, 8.0), np.eye(3)),
        ((1.7, 2.3, 3.1), _rotation(20)),
        ((2.0, 2.0, 4.0), np.eye(3)[[2, 0, 1]]),
        *[((2.0, 2.0, 3.0), flip) for flip in FLIPS[1:]],
    ],
    ids=["isotropic", "anisotropic", "thick slices", "oblique", "sagittal", *[f"flipped {n}" for n in range(1, 8)]],
)
def test_liver_and_tumour_lie_where_they_are_on_any_grid(spacing: tuple[float, float, float], direction: np.ndarray) -> None:
    ct, truth = _ball(_grid(spacing, direction))
    result = segment(band_teacher(), ct)
    assert result.labels.geometry == ct.geometry
    assert result.labels.array.dtype == np.uint8
    assert _dice(result.labels.array > 0, truth > 0) > 0.95
    assert _dice(result.labels.array == TUMOUR, truth == TUMOUR) > 0.85
    assert result.liver_ml == pytest.approx(4 / 3 * np.pi * 5.0**3, rel=0.08)


def test_a_scan_smaller_than_a_patch_is_surrounded_by_air_not_by_tissue() -> None:
    ct, truth = _ball(_grid((2.0, 2.0, 2.0), np.eye(3), extent_mm=110))
    result = segment(band_teacher(), ct)
    assert _dice(result.labels.array > 0, truth > 0) > 0.95


def test_a_scan_cropped_through_the_liver_is_segmented_up_to_its_edge() -> None:
    whole, truth = _ball(_grid((2.0, 2.0, 2.0), np.eye(3)))
    geometry = whole.geometry
    half = Geometry((geometry.size[0], geometry.size[1], 45), geometry.spacing, geometry.origin, geometry.direction)
    result = segment(band_teacher(), Volume(np.ascontiguousarray(whole.array[:45]), half))
    assert _dice(result.labels.array > 0, truth[:45] > 0) > 0.95


def test_padding_of_minus_3024_changes_nothing() -> None:
    ct, _ = _ball(_grid((2.0, 2.0, 3.0), np.eye(3)))
    padded = ct.with_array(np.where(ct.array == -1024, -3024, ct.array).astype(np.int16))
    assert np.array_equal(segment(band_teacher(), ct).labels.array, segment(band_teacher(), padded).labels.array)


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_what_lies_beyond_the_networks_window_changes_nothing(kind: type) -> None:
    """Full HU: contrast medium, bone and metal are as bright as the window's end, lung and air as dark as its beginning."""
    geometry = _grid((2.0, 2.0, 3.0), np.eye(3))
    ct, _ = _ball(geometry)
    metal, lung = _distance(geometry, CENTRE + [60.0, 0.0, 0.0]) < 6, _distance(geometry, CENTRE - [65.0, 0.0, 0.0]) < 8
    clipped = ct.with_array(np.where(metal, 240, np.where(lung, -160, ct.array)).astype(kind))
    full = ct.with_array(np.where(metal, 30_000, np.where(lung, -2000, ct.array)).astype(kind))
    assert np.array_equal(segment(band_teacher(), full).labels.array, segment(band_teacher(), clipped).labels.array)


def test_only_the_largest_part_is_called_liver() -> None:
    geometry = _grid((2.0, 2.0, 2.0), np.eye(3))
    ct, truth = _ball(geometry)
    stray = _distance(geometry, CENTRE + [72.0, 0.0, 0.0]) < 10
    result = segment(band_teacher(), ct.with_array(np.where(stray, 100, ct.array).astype(np.int16)))
    assert not result.labels.array[stray].any()
    assert _dice(result.labels.array > 0, truth > 0) > 0.95


def test_a_hole_inside_the_liver_is_filled() -> None:
    geometry = _grid((2.0, 2.0, 2.0), np.eye(3))
    ct, _ = _ball(geometry)
    hole = _distance(geometry, CENTRE + [35.0, 0.0, 0.0]) < 7
    result = segment(band_teacher(), ct.with_array(np.where(hole, -80, ct.array).astype(np.int16)))
    assert result.labels.array[hole].all()


def test_a_speck_of_tumour_smaller_than_the_plan_allows_is_called_liver() -> None:
    geometry = _grid((2.0, 2.0, 2.0), np.eye(3))
    ct, _ = _ball(geometry)
    teacher = band_teacher(2.0)
    large, speck = TUMOUR_MM, 3.0
    near = _distance(geometry, CENTRE + [35.0, 0.0, 0.0]) < speck
    scan = ct.with_array(np.where(near, 170, ct.array).astype(np.int16))
    kept = segment(replace(teacher, plan=teacher.plan.model_copy(update={"minimum_tumour_ml": 0.0})), scan).labels.array
    dropped = segment(replace(teacher, plan=teacher.plan.model_copy(update={"minimum_tumour_ml": 1.0})), scan).labels.array
    assert (kept[near] == TUMOUR).any()
    assert (dropped[near] > 0).all()
    assert not (dropped[near] == TUMOUR).any()
    assert (dropped == TUMOUR).sum() == pytest.approx(4 / 3 * np.pi * large**3 / 8, rel=0.15)


def test_no_liver_is_said_in_words_and_labels_nothing() -> None:
    geometry = _grid((3.0, 3.0, 3.0), np.eye(3))
    result = segment(band_teacher(), Volume(np.full(geometry.shape, -50, np.int16), geometry))
    assert not result.found
    assert result.sentence == "No liver was found in this scan."
    assert not result.labels.array.any()


def test_air_costs_no_network_call() -> None:
    geometry = _grid((3.0, 3.0, 3.0), np.eye(3))
    teacher = band_teacher()
    segment(teacher, Volume(np.full(geometry.shape, -1000, np.int16), geometry))
    assert isinstance(teacher.network, BandNetwork)
    assert teacher.network.calls == 0


def test_progress_only_grows_and_ends_at_one() -> None:
    watch = StoppingWatch()
    segment(band_teacher(2.0), _ball(_grid((2.0, 2.0, 2.0), np.eye(3)))[0], watch)
    assert watch.fractions == sorted(watch.fractions)
    assert watch.fractions[-1] == 1.0
    assert len(watch.fractions) > 10


@pytest.mark.parametrize("stop_at", [0.0, 0.3, 0.85])
def test_cancel_is_obeyed_within_one_window(stop_at: float) -> None:
    watch = StoppingWatch(stop_at)
    teacher = band_teacher(2.0)
    with pytest.raises(Cancelled):
        segment(teacher, _ball(_grid((2.0, 2.0, 2.0), np.eye(3)))[0], watch)
    assert [fraction >= stop_at for fraction in watch.fractions].count(True) == 1
