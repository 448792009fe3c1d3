"""Scores: right on shapes whose answer is known, defined where a mask is empty, loud where the grids differ."""

from dataclasses import replace

import numpy as np
import pytest

from fedliver.errors import FedLiverError
from fedliver.evaluation.metrics import compare, liver_dice
from fedliver.image import Geometry, Volume

GRID = Geometry(size=(40, 36, 30), spacing=(1.0, 2.0, 3.0), origin=(-20.0, 5.0, 100.0), direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
OBLIQUE = replace(GRID, direction=(0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0))
EMPTY = Volume(np.zeros(GRID.shape, np.uint8), GRID)


def _box(i: slice, j: slice, k: slice, value: int = 1, grid: Geometry = GRID) -> Volume:
    array = np.zeros(grid.shape, np.uint8)
    array[k, j, i] = value
    return Volume(array, grid)


BOX = _box(slice(10, 30), slice(10, 20), slice(10, 20))


def test_a_segmentation_compared_with_itself_is_perfect():
    scores = compare(BOX, BOX)
    assert (scores.liver.dice, scores.liver.hd95_mm, scores.liver.nsd) == (1, 0, 1)
    assert (scores.liver.sensitivity, scores.liver.specificity, scores.liver.precision, scores.liver.f1) == (1, 1, 1, 1)
    assert scores.liver.volume_error_percent == 0


@pytest.mark.parametrize("grid", [GRID, OBLIQUE])
def test_a_shifted_box_scores_what_can_be_computed_by_hand(grid: Geometry):
    reference = _box(slice(10, 30), slice(10, 20), slice(10, 20), grid=grid)
    shifted = _box(slice(15, 35), slice(10, 20), slice(10, 20), grid=grid)
    scores = compare(shifted, reference).liver
    assert scores.dice == pytest.approx(0.75)
    assert scores.hd95_mm == pytest.approx(5.0)  # five voxels of 1 mm along i
    assert scores.sensitivity == pytest.approx(0.75)
    assert scores.precision == pytest.approx(0.75)
    assert scores.specificity == pytest.approx(1 - 500 / (grid.size[0] * grid.size[1] * grid.size[2] - 2000))
    assert scores.reference_ml == pytest.approx(12.0)
    assert 0.3 < scores.nsd < 0.9


def test_distances_are_in_millimetres_along_every_axis():
    for axis, expected in (("i", 4.0), ("j", 8.0), ("k", 12.0)):
        where = {"i": slice(10, 30), "j": slice(10, 20), "k": slice(10, 20)}
        where[axis] = slice(where[axis].start + 4, where[axis].stop + 4)
        assert compare(_box(**where), BOX).liver.hd95_mm == pytest.approx(expected)


def test_nsd_forgives_what_lies_within_two_millimetres():
    within = compare(_box(slice(12, 32), slice(10, 20), slice(10, 20)), BOX).liver
    beyond = compare(_box(slice(13, 33), slice(10, 20), slice(10, 20)), BOX).liver
    assert within.nsd == 1
    assert beyond.nsd < 1


def test_tumour_counts_as_liver():
    reference = BOX.with_array(BOX.array.copy())
    reference.array[12:16, 12:16, 12:20] = 2
    scores = compare(BOX, reference)
    assert scores.liver.dice == 1
    assert scores.tumour.dice == 0
    assert scores.tumour.sensitivity == 0


def test_two_empty_masks_agree():
    scores = compare(EMPTY, EMPTY).tumour
    assert (scores.dice, scores.nsd, scores.f1, scores.hd95_mm, scores.specificity, scores.volume_error_percent) == (1, 1, 1, 0, 1, 0)
    assert scores.sensitivity is None
    assert scores.precision is None


def test_a_false_alarm_in_an_empty_reference_scores_nought_and_has_no_distance():
    scores = compare(BOX, EMPTY).liver
    assert (scores.dice, scores.nsd, scores.precision) == (0, 0, 0)
    assert scores.hd95_mm is None
    assert scores.sensitivity is None
    assert scores.volume_error_percent is None
    assert scores.specificity is not None
    assert scores.specificity < 1


def test_a_missed_structure_scores_nought_and_has_no_distance():
    scores = compare(EMPTY, BOX).liver
    assert (scores.dice, scores.nsd, scores.sensitivity, scores.specificity, scores.volume_error_percent) == (0, 0, 0, 1, -100)
    assert scores.hd95_mm is None
    assert scores.precision is None


def test_the_scores_survive_json_without_nan():
    scores = compare(BOX, EMPTY)
    text = scores.model_dump_json()
    assert "NaN" not in text
    assert type(scores).model_validate_json(text) == scores


def test_lesions_of_fifteen_millimetres_are_counted_one_by_one():
    reference = EMPTY.with_array(np.zeros(GRID.shape, np.uint8))
    reference.array[2:8, 2:12, 2:20] = 2  # 18 x 20 x 18 mm, touched by the prediction
    reference.array[20:26, 2:12, 2:20] = 2  # as large, missed
    reference.array[14, 20, 20] = 2  # a speck, not counted
    prediction = EMPTY.with_array(np.zeros(GRID.shape, np.uint8))
    prediction.array[7:9, 11:13, 19:21] = 2  # touches the first at its corner; too small to be counted itself
    prediction.array[12:18, 22:32, 20:38] = 2  # a false alarm as large
    lesions = compare(prediction, reference).lesions
    assert (lesions.reference, lesions.reference_found, lesions.recall) == (2, 1, 0.5)
    assert (lesions.prediction, lesions.prediction_true, lesions.precision) == (1, 0, 0)


def test_other_grids_are_refused_with_a_sentence():
    elsewhere = Volume(BOX.array, replace(GRID, origin=(-20.0, 5.0, 103.0)))
    with pytest.raises(FedLiverError) as caught:
        compare(elsewhere, BOX)
    assert caught.value.code == "different-grid"


def test_labels_that_mean_nothing_are_refused():
    with pytest.raises(FedLiverError) as caught:
        compare(_box(slice(1, 4), slice(1, 4), slice(1, 4), value=7), BOX)
    assert caught.value.code == "illegal-labels"


def test_the_fast_liver_dice_is_the_same_dice():
    rng = np.random.default_rng(1)
    prediction, reference = (Volume(rng.integers(0, 3, GRID.shape).astype(np.uint8), GRID) for _ in range(2))
    assert liver_dice(prediction.array, reference.array) == pytest.approx(compare(prediction, reference).liver.dice)
    assert liver_dice(EMPTY.array, EMPTY.array) == 1


def test_the_scores_are_those_of_monai():
    """Dice, HD95 and NSD of two bumpy eggs as MONAI 1.6.1 (with SciPy 1.17.1) computes them; SciPy is no dependency of ours."""
    k, j, i = np.indices(GRID.shape)

    def egg(centre: tuple[int, int, int], radii: tuple[int, int, int], bump: float) -> Volume:
        square = sum(((a - c) / r) ** 2 for a, c, r in zip((i, j, k), centre, radii, strict=True))
        return Volume((square + bump * np.sin(i / 3.0) * np.cos(j / 4.0) < 1).astype(np.uint8), GRID)

    scores = compare(egg((20, 18, 15), (13, 10, 9), 0.12), egg((22, 17, 14), (12, 11, 8), 0.2)).liver
    assert scores.dice == pytest.approx(0.8214983940)
    assert scores.hd95_mm == pytest.approx(5.0)
    assert scores.nsd == pytest.approx(0.6171983480)


def test_hd95_passes_over_a_stray_speck():
    speck = BOX.with_array(BOX.array.copy())
    speck.array[0, 0, 0] = 1
    assert compare(speck, BOX).liver.hd95_mm == 0
    assert compare(speck, BOX).liver.dice < 1


def test_parts_that_touch_at_a_corner_are_one_lesion():
    reference = EMPTY.with_array(np.zeros(GRID.shape, np.uint8))
    reference.array[2:8, 2:12, 2:20] = 2
    reference.array[8:14, 12:22, 20:38] = 2
    assert compare(reference, reference).lesions.reference == 1
