from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from fedliver.cases.checks import KnownScan, check, check_duplicate
from fedliver.cases.fingerprint import ct_sha256, fingerprint
from fedliver.image import Volume, from_sitk, to_sitk

ALL = ["same-grid", "legal-labels", "liver-present", "liver-volume", "image-varies", "soft-tissue", "tumour-in-liver"]


@pytest.fixture
def scan(patient):
    ct, labels = patient(5)
    return ct.volume, labels


def failed(ct: Volume, labels: Volume) -> list[str]:
    return [result.name for result in check(ct, labels).results if not result.passed]


def test_a_good_case_passes_every_check_with_a_sentence_each(scan):
    results = check(*scan).results
    assert [result.name for result in results] == ALL
    assert all(result.passed and result.sentence.endswith(".") for result in results)


def test_a_mask_on_another_grid_fails(scan):
    ct, labels = scan
    shifted = Volume(labels.array, replace(labels.geometry, spacing=(5.0, 5.5, 7.1)))
    assert failed(ct, shifted) == ["same-grid"]
    assert failed(ct, Volume(labels.array[:-1], replace(labels.geometry, size=(40, 36, 29)))) == ["same-grid"]


@pytest.mark.parametrize("value", [3, 255, -1, 0.5, np.nan])
def test_a_value_without_a_meaning_fails(scan, value):
    ct, labels = scan
    array = labels.array.astype(np.float32)
    array[3, 3, 3] = value
    assert failed(ct, labels.with_array(array)) == ["legal-labels"]


@pytest.mark.parametrize("left", [0, 2])
def test_labels_without_liver_fail(scan, left):
    ct, labels = scan
    assert failed(ct, labels.with_array(np.where(labels.array == 2, left, 0).astype(np.uint8))) == ["liver-present"]


@pytest.mark.parametrize(("scale", "passes"), [(0.5, False), (0.65, True), (1.0, True), (1.5, True), (1.8, False)])
def test_a_liver_outside_200_to_6000_ml_fails_but_can_be_overridden(scan, scale, passes):
    ct, labels = scan
    grid = replace(ct.geometry, spacing=tuple(scale * s for s in ct.geometry.spacing))
    [result] = [r for r in check(Volume(ct.array, grid), Volume(labels.array, grid)).results if r.name == "liver-volume"]
    assert result.passed is passes
    assert result.overridable


@pytest.mark.parametrize(("hu", "passes"), [(-150.0, False), (-30.0, False), (20.0, True), (200.0, True), (400.0, False)])
def test_a_liver_that_is_no_soft_tissue_fails_but_can_be_overridden(patient, hu, passes):
    ct, labels = patient(5, liver_hu=hu)
    assert failed(ct.volume, labels) == ([] if passes else ["soft-tissue"])


def test_a_blank_ct_fails_and_cannot_be_overridden(scan):
    ct, labels = scan
    [result] = [r for r in check(ct.with_array(np.full_like(ct.array, 60)), labels).results if not r.passed]
    assert (result.name, result.overridable) == ("image-varies", False)


def test_a_ct_with_nan_in_the_liver_fails_and_cannot_be_overridden(scan):
    ct, labels = scan
    broken = ct.array.astype(np.float32)
    broken[labels.array == 1] = np.nan
    results = {r.name: r for r in check(ct.with_array(broken), labels).results}
    assert not results["image-varies"].passed
    assert not results["image-varies"].overridable
    assert not results["soft-tissue"].passed


def test_a_tumour_away_from_the_liver_fails_with_its_volume(scan):
    ct, labels = scan
    stray = labels.array.copy()
    stray[1:3, 1:3, 1:3] = 2
    [result] = [r for r in check(ct, labels.with_array(stray)).results if not r.passed]
    assert result.name == "tumour-in-liver"
    assert "1 tumour part (1.5 ml)" in result.sentence  # 8 voxels of 0.1925 ml
    assert result.overridable


def test_a_tumour_that_hangs_from_the_liver_by_a_corner_passes(scan):
    ct, labels = scan
    array = np.zeros_like(labels.array)
    array[5:20, 5:25, 5:25] = 1
    array[20:23, 25:28, 25:28] = 2
    assert failed(ct.with_array(np.where(array > 0, 90, ct.array).astype(np.int16) + np.arange(40, dtype=np.int16)), labels.with_array(array)) == []


def test_a_tumour_that_reaches_the_liver_by_the_corners_of_its_voxels_is_one_part(scan):
    ct, labels = scan
    array = labels.array.copy()
    k, j, i = (int(n[0]) for n in np.nonzero(array))  # the first voxel of the liver; from it a diagonal away from it
    for step in range(1, 4):
        array[k - step, j - step, i - step] = 2
    assert failed(ct, labels.with_array(array)) == []


@pytest.mark.parametrize(("gap", "passes"), [(1, True), (2, False)])
def test_a_tumour_counts_as_against_the_liver_across_a_gap_of_one_thin_voxel(scan, gap, passes):
    ct, labels = scan
    array = np.zeros_like(labels.array)
    array[5:20, 5:25, 5:25] = 1
    array[5:20, 5:25, 25 + gap : 28 + gap] = 2
    fine = replace(ct.geometry, spacing=(2.4, 9.0, 9.0))
    results = {r.name: r.passed for r in check(Volume(ct.array, fine), Volume(array, fine)).results}
    assert results["tumour-in-liver"] is passes


def test_a_liver_at_the_very_edge_of_the_scan_is_checked_too(scan):
    ct, labels = scan
    array = np.zeros_like(labels.array)
    array[:12, :20, :20] = 1
    array[0, 0, 0] = 2
    hu = (80 + np.arange(ct.array.size) % 9).reshape(ct.array.shape).astype(np.int16)
    assert failed(ct.with_array(hu), labels.with_array(array)) == []


def _known(ct: Volume, labels: Volume) -> list[KnownScan]:
    return [KnownScan("C-AAAAAAAAAAAAAAAA", ct_sha256(ct), fingerprint(ct, labels))]


def test_the_same_voxels_are_a_duplicate_whatever_their_type(scan):
    ct, labels = scan
    as_float = ct.with_array(ct.array.astype(np.float32))
    result = check_duplicate(ct_sha256(as_float), None, _known(ct, labels))
    assert (result.passed, result.overridable) == (False, False)


def test_a_crop_with_its_axes_in_another_order_is_a_duplicate(scan):
    ct, labels = scan

    def turned(volume: Volume) -> Volume:
        cropped = sitk.RegionOfInterest(to_sitk(volume), [34, 36, 29], [3, 0, 1])
        return from_sitk(sitk.Flip(sitk.PermuteAxes(cropped, [2, 0, 1]), [True, False, True]))

    crop, crop_labels = turned(ct), turned(labels)
    assert ct_sha256(crop) != ct_sha256(ct)
    assert crop_labels.array.sum() == labels.array.sum()
    assert not check_duplicate(ct_sha256(crop), fingerprint(crop, crop_labels), _known(ct, labels)).passed


def test_a_copy_that_another_reader_labelled_is_a_duplicate_that_can_be_overridden(scan):
    ct, labels = scan
    array, hu = labels.array.copy(), ct.array.copy()
    array[np.flatnonzero(array.any(axis=(1, 2)))[-2:]] = 0  # two slices of 7 mm less
    hu[0, 0, 0] += 1
    changed = ct.with_array(hu)
    assert (array > 0).sum() < 0.98 * (labels.array > 0).sum()
    result = check_duplicate(ct_sha256(changed), fingerprint(changed, labels.with_array(array)), _known(ct, labels))
    assert (result.passed, result.overridable) == (False, True)


def test_another_contrast_phase_of_the_same_liver_is_no_duplicate(scan):
    ct, labels = scan
    venous = ct.with_array(np.where(labels.array > 0, ct.array + 35, ct.array).astype(np.int16))
    assert check_duplicate(ct_sha256(venous), fingerprint(venous, labels), _known(ct, labels)).passed


def test_other_patients_are_no_duplicates(patient, scan):
    known = _known(*scan)
    for seed in range(20, 40):
        ct, labels = patient(seed, liver_hu=float(np.median(scan[0].array[scan[1].array == 1])))
        assert check_duplicate(ct_sha256(ct.volume), fingerprint(ct.volume, labels), known).passed
