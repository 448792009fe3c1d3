import numpy as np
import pytest

from fedliver.cases.correction import correction
from fedliver.image import Geometry, Volume

GRID = Geometry((10, 10, 10), (10.0, 10.0, 10.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))  # a voxel is 1 ml


def labels(liver: slice, tumour: slice) -> Volume:
    array = np.zeros((10, 10, 10), np.uint8)
    array[liver, 0, 0] = 1
    array[tumour, 0, 0] = 2
    return Volume(array, GRID)


def test_added_and_removed_millilitres_and_dice_are_counted_by_hand():
    found = correction(labels(slice(0, 6), slice(0, 2)), labels(slice(2, 9), slice(2, 3)))
    assert (found.liver.ml_added, found.liver.ml_removed) == (pytest.approx(3), pytest.approx(2))
    assert found.liver.dice == pytest.approx(2 * 4 / (6 + 7))
    assert (found.tumour.ml_added, found.tumour.ml_removed, found.tumour.dice) == (pytest.approx(1), pytest.approx(2), 0)


def test_turning_tumour_into_liver_changes_the_tumour_only():
    found = correction(labels(slice(0, 6), slice(0, 2)), labels(slice(0, 6), slice(0, 0)))
    assert (found.liver.dice, found.liver.ml_added, found.liver.ml_removed) == (1, 0, 0)
    assert found.tumour.ml_removed == pytest.approx(2)


def test_no_tumour_before_and_after_is_agreement():
    assert correction(labels(slice(0, 6), slice(0, 0)), labels(slice(0, 6), slice(0, 0))).tumour.dice == 1


def test_two_grids_cannot_be_compared():
    other = Volume(np.zeros((10, 10, 10), np.uint8), Geometry(GRID.size, (1.0, 1.0, 1.0), GRID.origin, GRID.direction))
    with pytest.raises(ValueError, match="different grids"):
        correction(other, labels(slice(0, 1), slice(0, 0)))
