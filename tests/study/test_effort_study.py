"""The simulated clinician: does what is needed and no more, and counts it."""

from pathlib import Path

import numpy as np
import pytest

from fedliver.cases.case import Effort
from fedliver.cases.effort import effort
from fedliver.evaluation.metrics import liver_dice
from fedliver.image import Geometry, Volume
from fedliver.study.effort import NOTHING, EffortRow, correct, summarise_effort
from fedliver.study.tables import write_effort

GEOMETRY = Geometry((40, 40, 30), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))


@pytest.fixture
def reference() -> Volume:
    k, j, i = np.indices(GEOMETRY.shape)
    liver = (k - 15) ** 2 / 100 + (j - 20) ** 2 / 150 + (i - 20) ** 2 / 150 < 1
    tumour = (k - 15) ** 2 + (j - 20) ** 2 + (i - 20) ** 2 < 16
    return Volume((liver.astype(np.uint8) + (liver & tumour)).astype(np.uint8), GEOMETRY)


def _with_wrong_slices(reference: Volume, slices: dict[int, int]) -> Volume:
    """``slices``: how many columns of the liver are lost in each."""
    array = reference.array.copy()
    for k, columns in slices.items():
        array[k, :, : 20 - 12 + columns] = 0
    return reference.with_array(array)


def test_a_good_segmentation_is_left_alone(reference: Volume) -> None:
    start = _with_wrong_slices(reference, {15: 2})
    assert liver_dice(start.array, reference.array) > 0.97
    assert np.array_equal(correct(start, reference).array, start.array)


def test_the_worst_slices_are_corrected_first_and_no_more_than_needed(reference: Volume) -> None:
    start = _with_wrong_slices(reference, {10: 8, 13: 20, 16: 6, 18: 14})
    corrected = correct(start, reference, goal=0.97)
    touched = np.flatnonzero((corrected.array != start.array).any(axis=(1, 2)))
    assert liver_dice(corrected.array, reference.array) >= 0.97
    assert 13 in touched
    worst_first = sorted((10, 13, 16, 18), key=lambda k: -np.count_nonzero(start.array[k] != reference.array[k]))
    assert set(touched) == set(worst_first[: len(touched)])
    one_less = corrected.array.copy()
    one_less[worst_first[len(touched) - 1]] = start.array[worst_first[len(touched) - 1]]
    assert liver_dice(one_less, reference.array) < 0.97


def test_from_nothing_the_counts_are_those_of_drawing_it_all(reference: Volume) -> None:
    nothing = reference.with_array(np.zeros_like(reference.array))
    everything = effort(nothing, correct(nothing, reference, goal=1.0))
    assert everything.slices_touched == np.count_nonzero((reference.array > 0).any(axis=(1, 2)))
    assert everything.ml_changed == pytest.approx(np.count_nonzero(reference.array) * GEOMETRY.voxel_ml)


def test_what_is_saved_is_against_nothing_and_of_the_sums(reference: Volume) -> None:
    nothing = reference.with_array(np.zeros_like(reference.array))
    rows = []
    for name in ("a", "b"):
        for start, volume in ((NOTHING, nothing), ("teacher", _with_wrong_slices(reference, {13: 20, 18: 14, 10: 8}))):
            rows.append(EffortRow(image=name, start=start, dice=liver_dice(volume.array, reference.array), effort=effort(volume, correct(volume, reference))))
    summary = {one.start: one for one in summarise_effort(rows)}
    assert list(summary) == [NOTHING, "teacher"]
    assert summary[NOTHING].slices_saved is None
    assert summary["teacher"].slices_saved == pytest.approx(1 - summary["teacher"].slices / summary[NOTHING].slices)
    assert 0.5 < (summary["teacher"].ml_saved or 0) < 1


def test_the_page_says_of_every_count_whether_the_target_is_met(tmp_path: Path) -> None:
    def spent(slices: int, ml: float, path: float) -> Effort:
        return Effort(slices_touched=slices, slices=100, ml_changed=ml, added_path_length_mm=path)

    rows = [EffortRow(image="a", start=start, dice=0.9, effort=one) for start, one in ((NOTHING, spent(100, 100, 100)), ("teacher", spent(20, 10, 21)))]
    assert "teacher: the target of 80 % saved is met for slices and ml, missed for contour." in write_effort(rows, tmp_path, "")
