"""The generated CT: what must hold of it for the tests, the demo and the training steps that use it."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from fedliver.image import Volume, axis_aligned_grid, resample
from fedliver.labels import LIVER, TUMOUR
from fedliver.phantom import PhantomSettings, generate

COARSE = PhantomSettings(seed=3, spacing_mm=(5.0, 5.0, 5.0), lesions=2, noise_hu=8)
MEDIUM = PhantomSettings(seed=3, spacing_mm=(3.0, 3.0, 4.0), lesions=3, noise_hu=8)


def _pieces(mask: np.ndarray) -> int:
    return int(sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)).max())


def _centre_lps(labels: Volume, mask: np.ndarray) -> np.ndarray:
    k, j, i = np.argwhere(mask).mean(axis=0)
    return (labels.geometry.affine_lps @ [i, j, k, 1])[:3]


def test_the_same_seed_gives_the_same_voxels():
    (first, first_labels), (second, second_labels) = generate(COARSE), generate(COARSE)
    assert np.array_equal(first.array, second.array)
    assert np.array_equal(first_labels.array, second_labels.array)
    assert first.geometry == second.geometry


def test_another_seed_gives_another_liver_and_not_just_other_noise():
    volumes = [float((generate(replace(COARSE, seed=seed))[1].array > 0).sum()) for seed in range(5)]
    assert np.std(volumes) / np.mean(volumes) > 0.02


def test_ct_and_labels_are_what_the_rest_of_the_package_expects():
    ct, labels = generate(COARSE)
    assert ct.array.dtype == np.int16
    assert labels.array.dtype == np.uint8
    assert ct.geometry == labels.geometry
    assert set(np.unique(labels.array)) == {0, LIVER, TUMOUR}
    assert ct.array.min() == -1024


@pytest.mark.parametrize("size", [0.85, 1.0, 1.15])
@pytest.mark.parametrize("oblique", [0.0, 18.0])
def test_the_liver_is_one_whole_piece_of_a_liver_s_size(size: float, oblique: float):
    _, labels = generate(replace(MEDIUM, patient_size=size, oblique_degrees=oblique))
    liver = labels.array > 0
    assert 1000 <= liver.sum() * labels.geometry.voxel_ml <= 2000
    assert _pieces(liver) == 1
    for axis in range(3):
        assert not np.take(liver, [0, -1], axis=axis).any(), "the liver touches the edge of the scan"


@pytest.mark.parametrize("oblique", [0.0, 18.0])
def test_the_liver_lies_on_the_patient_s_right(oblique: float):
    ct, labels = generate(replace(COARSE, oblique_degrees=oblique))
    grid = axis_aligned_grid(ct.geometry, (5, 5, 5))
    body = resample(ct, grid).array > -300
    liver = resample(labels, grid, order=0, outside=0)
    on_grid = Volume(body, grid)
    to_the_right = _centre_lps(on_grid, body)[0] - _centre_lps(liver, liver.array > 0)[0]
    assert to_the_right > 30  # LPS: smaller x is further right


def test_an_oblique_scan_shows_the_same_patient_on_a_turned_grid():
    straight, straight_labels = generate(replace(MEDIUM, noise_hu=0))
    _, turned_labels = generate(replace(MEDIUM, noise_hu=0, oblique_degrees=15))
    assert not np.allclose(np.reshape(turned_labels.geometry.direction, (3, 3)), np.eye(3), atol=0.1)
    back = resample(turned_labels, straight.geometry, order=0, outside=0).array > 0
    reference = straight_labels.array > 0
    assert 2 * (back & reference).sum() / (back.sum() + reference.sum()) > 0.95


@pytest.mark.parametrize("count", [0, 1, 4])
def test_there_are_as_many_lesions_as_were_asked_for(count: int):
    _, labels = generate(replace(MEDIUM, spacing_mm=(2.0, 2.0, 2.5), lesions=count))
    assert _pieces(labels.array == TUMOUR) == count


@pytest.mark.parametrize("field_of_view", ["chest", "pelvis"])
@pytest.mark.parametrize("oblique", [0.0, 20.0])
def test_a_scan_beside_the_abdomen_holds_no_liver(field_of_view, oblique: float):
    ct, labels = generate(replace(COARSE, field_of_view=field_of_view, oblique_degrees=oblique))
    assert not labels.array.any()
    assert (ct.array > -300).mean() > 0.1


def test_the_tissues_measure_what_they_do_in_a_portal_venous_scan():
    ct, labels = generate(replace(MEDIUM, field_of_view="torso"))
    values = ct.array[labels.array == LIVER]
    assert 95 < np.median(values) < 130
    assert np.median(ct.array[labels.array == TUMOUR]) < np.median(values) - 15
    share = {name: ((ct.array > low) & (ct.array < high)).mean() for name, low, high in [("fat", -150, -60), ("lung", -950, -700), ("bone", 300, 1500)]}
    assert share["fat"] > 0.08
    assert share["lung"] > 0.02
    assert 0.005 < share["bone"] < 0.08


def test_the_phase_decides_the_contrast():
    def liver(phase):
        ct, labels = generate(replace(COARSE, phase=phase, lesions=0))
        return float(np.median(ct.array[labels.array == LIVER]))

    plain, portal, arterial = liver("plain"), liver("portal"), liver("arterial")
    assert plain < arterial < portal
    assert 45 < plain < 75


def test_the_noise_has_the_asked_strength_and_is_correlated():
    quiet, labels = generate(replace(MEDIUM, noise_hu=0))
    noisy, _ = generate(replace(MEDIUM, noise_hu=20))
    inside = quiet.array > -500
    noise = noisy.array.astype(float) - quiet.array
    assert noise[inside].std() == pytest.approx(20, rel=0.1)
    middle = noise[labels.array.shape[0] // 2, 40:90, 30:100]
    assert np.corrcoef(middle[:, 1:].ravel(), middle[:, :-1].ravel())[0, 1] > 0.3


def test_spacing_and_patient_size_are_obeyed():
    ct, _ = generate(replace(COARSE, spacing_mm=(4.0, 4.5, 6.0)))
    assert ct.geometry.spacing == (4.0, 4.5, 6.0)
    slim, wide = (generate(replace(COARSE, fat_mm=fat))[0] for fat in (8.0, 35.0))
    assert (wide.array > -300).sum() * wide.geometry.voxel_ml > 1.15 * (slim.array > -300).sum() * slim.geometry.voxel_ml
