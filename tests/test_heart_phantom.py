"""The generated heart: what must hold of it for the study that trains on it."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from fedliver.phantom.heart import LEFT_VENTRICLE, MYOCARDIUM, PHASES, HeartSettings, generate_heart

SETTINGS = HeartSettings(seed=1, size=44, spacing_mm=3.2)


def _pieces(mask: np.ndarray) -> int:
    return int(sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)).max())


def test_the_same_seed_gives_the_same_voxels_and_another_seed_another_heart():
    (ct, labels), (again, labels_again) = generate_heart(SETTINGS), generate_heart(SETTINGS)
    assert np.array_equal(ct.array, again.array)
    assert np.array_equal(labels.array, labels_again.array)
    other = generate_heart(replace(SETTINGS, seed=2))[1]
    assert not np.array_equal(labels.array, other.array)


def test_ct_and_labels_lie_on_one_grid_in_the_types_that_the_package_expects():
    ct, labels = generate_heart(SETTINGS)
    assert (ct.array.dtype, labels.array.dtype) == (np.int16, np.uint8)
    assert ct.geometry == labels.geometry
    assert set(np.unique(labels.array)) == {0, MYOCARDIUM, LEFT_VENTRICLE}


@pytest.mark.parametrize("seed", range(6))
def test_the_ventricle_is_one_piece_in_one_wall_of_human_size_and_the_scan_holds_it_whole(seed: int):
    _, labels = generate_heart(replace(SETTINGS, seed=seed))
    ventricle, wall = labels.array == LEFT_VENTRICLE, labels.array == MYOCARDIUM
    assert 25 <= ventricle.sum() * labels.geometry.voxel_ml <= 180
    assert 55 <= wall.sum() * labels.geometry.voxel_ml <= 220
    assert _pieces(ventricle) == 1
    assert _pieces(ventricle | wall) == 1
    for axis in range(3):
        assert not np.take(ventricle | wall, [0, -1], axis=axis).any()


def test_hearts_differ_in_size():
    volumes = [float((generate_heart(replace(SETTINGS, seed=seed))[1].array == LEFT_VENTRICLE).sum()) for seed in range(8)]
    assert np.std(volumes) / np.mean(volumes) > 0.1


def test_blood_is_brighter_than_muscle_and_most_so_in_the_arterial_phase():
    contrast = {}
    for phase in PHASES:
        ct, labels = generate_heart(replace(SETTINGS, phase=phase))
        contrast[phase] = float(np.median(ct.array[labels.array == LEFT_VENTRICLE]) - np.median(ct.array[labels.array == MYOCARDIUM]))
    assert contrast["arterial"] > contrast["venous"] > contrast["late"] > 10


def test_the_apex_points_to_the_left_the_front_and_the_feet():
    _, labels = generate_heart(SETTINGS)
    k, j, i = np.argwhere(labels.array == LEFT_VENTRICLE).T
    points = np.stack([i, j, k], axis=1) - np.array([i.mean(), j.mean(), k.mean()])
    _, _, axes = np.linalg.svd(points, full_matrices=False)
    long_axis = axes[0] * np.sign(axes[0][0])
    assert long_axis[1] < 0  # LPS: to the front is negative
    assert long_axis[2] < 0
