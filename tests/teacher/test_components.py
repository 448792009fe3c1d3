"""What anatomy knows of masks, against ITK's own filters."""

import numpy as np
import pytest
import SimpleITK as sitk

from fedliver.teacher.components import filled, largest_component, specks


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.8, 0.99])
def test_holes_are_those_of_itk(share: float) -> None:
    for seed in range(6):
        mask = np.zeros((9, 14, 17), bool)
        mask[1:, 2:11, 3:15] = np.random.default_rng(seed).random((8, 9, 12)) < share
        expected = sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(mask.astype(np.uint8)))).astype(bool)
        np.testing.assert_array_equal(filled(mask), expected)


def test_a_hole_at_the_edge_of_the_scan_is_open() -> None:
    mask = np.ones((5, 5, 5), bool)
    mask[0, 2, 2] = mask[2, 2, 2] = False
    assert not filled(mask)[0, 2, 2]
    assert filled(mask)[2, 2, 2]
    assert not mask[2, 2, 2], "the mask that was given stays as it is"


def test_an_empty_mask_stays_empty() -> None:
    empty = np.zeros((3, 4, 5), bool)
    assert not filled(empty).any()
    assert not largest_component(empty).any()


def test_the_largest_part_is_kept_and_small_parts_are_specks() -> None:
    mask = np.zeros((6, 6, 20), bool)
    mask[1:4, 1:4, 1:4] = mask[2, 2, 10:12] = mask[5, 5, 19] = True
    assert largest_component(mask).sum() == 27
    assert specks(mask, 2).sum() == 1
    assert specks(mask, 2.5).sum() == 3
