"""Millilitres and lesions of label maps whose sizes are known."""

import numpy as np
import pytest

from fedliver.cases.measure import measure
from fedliver.image import Geometry, Volume

TURN = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
GRID = Geometry((60, 50, 20), (1.0, 1.0, 2.5), (-30.0, 12.0, -400.0), TURN)


def test_no_liver_measures_nothing():
    found = measure(Volume(np.zeros(GRID.shape, np.uint8), GRID))
    assert (found.liver_ml, found.tumour_ml, found.lesions) == (0, 0, ())


def test_lesions_are_counted_measured_and_placed_the_largest_first():
    array = np.zeros(GRID.shape, np.uint8)
    array[2:18, 5:45, 5:55] = 1
    array[4:6, 10:13, 10:14] = 2  # 3 x 4 mm in two slices
    array[10:14, 20:32, 20:36] = 2  # 12 x 16 mm in four slices
    array[16, 40, 50] = 2  # a speck, too small to be listed
    found = measure(Volume(array, GRID))
    assert found.liver_ml == pytest.approx(16 * 40 * 50 * 0.0025)
    assert found.tumour_ml == pytest.approx((2 * 12 + 4 * 192 + 1) * 0.0025)
    assert [lesion.ml for lesion in found.lesions] == pytest.approx([4 * 192 * 0.0025, 2 * 12 * 0.0025])
    assert [lesion.diameter_mm for lesion in found.lesions] == pytest.approx([20.0, 5.0])
    index = np.linalg.inv(GRID.affine_lps) @ [*found.lesions[0].centre_lps, 1.0]
    assert array[tuple(np.rint(index[:3]).astype(int)[::-1])] == 2
    assert np.abs(index[:3] - [27.5, 25.5, 11.5]).max() <= 0.5 + 1e-6


def test_the_place_of_a_lesion_that_is_hollow_lies_in_it_and_not_in_the_hole():
    array = np.zeros(GRID.shape, np.uint8)
    array[8:12, 10:40, 10:40] = 2
    array[8:12, 14:36, 14:36] = 1
    (ring,) = measure(Volume(array, GRID)).lesions
    index = np.rint(np.linalg.inv(GRID.affine_lps) @ [*ring.centre_lps, 1.0]).astype(int)
    assert array[tuple(index[:3][::-1])] == 2


def test_the_diameter_is_the_longest_within_a_slice_not_across_slices():
    array = np.zeros(GRID.shape, np.uint8)
    array[0:20, 10:16, 10:18] = 2  # 50 mm tall, 6 x 8 mm in each slice
    assert measure(Volume(array, GRID)).lesions[0].diameter_mm == pytest.approx(10.0)


def test_a_slanting_lesion_is_measured_along_its_slant():
    array = np.zeros(GRID.shape, np.uint8)
    for step in range(20):
        array[5:8, 10 + step, 10 + step : 14 + step] = 2
    expected = np.hypot(20, 23)  # from the first voxel's outer corner to the last's
    assert measure(Volume(array, GRID)).lesions[0].diameter_mm == pytest.approx(expected)
