"""The effort of a correction, on small pictures whose contours can be counted by hand."""

import numpy as np
import pytest

from fedliver.cases.effort import effort
from fedliver.image import Geometry, Volume

GRID = Geometry((12, 12, 4), (2.0, 2.0, 5.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def square(value: int, slices: slice, rows: slice, columns: slice, onto: np.ndarray | None = None) -> Volume:
    array = np.zeros(GRID.shape, np.uint8) if onto is None else onto.copy()
    array[slices, rows, columns] = value
    return Volume(array, GRID)


def test_nothing_changed_costs_nothing():
    labels = square(1, slice(1, 3), slice(2, 8), slice(2, 8))
    done = effort(labels, labels)
    assert (done.ml_changed, done.slices_touched, done.slices, done.added_path_length_mm) == (0, 0, 2, 0)


def test_from_nothing_every_contour_is_drawn():
    done = effort(Volume(np.zeros(GRID.shape, np.uint8), GRID), square(1, slice(1, 3), slice(2, 8), slice(2, 8)))
    assert done.ml_changed == pytest.approx(2 * 36 * 0.02)
    assert (done.slices_touched, done.slices) == (2, 2)
    assert done.added_path_length_mm == 2 * 20 * 2.0  # the border of 6 x 6 pixels has 20; two slices; 2 mm each


def test_moving_one_side_costs_that_side_only():
    before, after = square(1, slice(1, 2), slice(2, 8), slice(2, 8)), square(1, slice(1, 2), slice(2, 8), slice(2, 9))
    done = effort(before, after)
    # The new side has 6 pixels; of the old top and bottom all pixels but the new corner's own column were contour before.
    assert done.added_path_length_mm == 6 * 2.0
    assert done.ml_changed == pytest.approx(6 * 0.02)
    assert (done.slices_touched, done.slices) == (1, 1)


def test_erasing_a_whole_slice_changes_millilitres_but_draws_nothing():
    before, after = square(1, slice(1, 3), slice(2, 8), slice(2, 8)), square(1, slice(1, 2), slice(2, 8), slice(2, 8))
    done = effort(before, after)
    assert (done.slices_touched, done.slices, done.added_path_length_mm) == (1, 2, 0)
    assert done.ml_changed == pytest.approx(36 * 0.02)


def test_a_tumour_drawn_into_the_liver_costs_its_own_contour_and_leaves_the_livers():
    before = square(1, slice(1, 2), slice(1, 10), slice(1, 10))
    done = effort(before, square(2, slice(1, 2), slice(4, 7), slice(4, 7), before.array))
    assert done.added_path_length_mm == 8 * 2.0
    assert done.ml_changed == pytest.approx(9 * 0.02)


def test_a_liver_at_the_pictures_edge_has_its_contour_there():
    done = effort(Volume(np.zeros(GRID.shape, np.uint8), GRID), square(1, slice(0, 1), slice(0, 12), slice(0, 12)))
    assert done.added_path_length_mm == 44 * 2.0


def test_two_grids_cannot_be_compared():
    other = Volume(np.zeros((4, 12, 11), np.uint8), Geometry((11, 12, 4), GRID.spacing, GRID.origin, GRID.direction))
    with pytest.raises(ValueError, match="different grids"):
        effort(other, square(1, slice(0, 1), slice(0, 2), slice(0, 2)))
