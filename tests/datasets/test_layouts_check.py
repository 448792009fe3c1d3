"""What a data set's check accepts, what it refuses, and the words it finds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from fedliver.cases.examples import Example
from fedliver.datasets.check import DatasetCheck, check_dataset, tumour_count
from fedliver.datasets.layouts import DatasetImage
from fedliver.image import Geometry, Volume, to_sitk
from fedliver.phantom import PhantomSettings, generate

COARSE = (8.0, 8.0, 8.0)


def _write(folder: Path, name: str, ct: Volume, labels: Volume | None, patient: str | None = None, tumour_labelled: bool = True) -> DatasetImage:
    place = folder / name
    place.mkdir()
    sitk.WriteImage(to_sitk(ct), str(place / "ct.nii.gz"))
    if labels is not None:
        sitk.WriteImage(to_sitk(labels), str(place / "labels.nii.gz"))
    return DatasetImage(name, patient or name, Example(place / "ct.nii.gz", None if labels is None else place / "labels.nii.gz", tumour_labelled))


@pytest.fixture(scope="module")
def patient() -> tuple[Volume, Volume]:
    return generate(PhantomSettings(seed=2, spacing_mm=COARSE, lesions=2))


def _check(image: DatasetImage) -> DatasetCheck:
    return check_dataset([image])


def test_a_good_image_is_accepted_with_its_volumes_and_tumours(tmp_path: Path, patient: tuple[Volume, Volume]) -> None:
    ct, labels = patient
    (image,) = _check(_write(tmp_path, "good", ct, labels)).accepted
    assert image.liver_ml == pytest.approx(np.count_nonzero(labels.array) * 0.512)
    assert image.tumours == tumour_count(labels) >= 1


def test_where_tumours_are_annotated_as_liver_they_are_not_counted(tmp_path: Path, patient: tuple[Volume, Volume]) -> None:
    (image,) = _check(_write(tmp_path, "as-liver", *patient, tumour_labelled=False)).accepted
    assert image.tumours is None


def test_a_scan_without_liver_trains_and_a_person_is_told(tmp_path: Path, patient: tuple[Volume, Volume]) -> None:
    ct, labels = patient
    (image,) = _check(_write(tmp_path, "empty", ct, labels.with_array(np.zeros_like(labels.array)))).accepted
    assert "no liver" in image.notes[-1]


@pytest.mark.parametrize("damage", ["no-labels", "label-map", "different-grid", "illegal-labels", "mirrored", "image-varies"])
def test_what_must_not_train_is_refused_with_its_reason(damage: str, tmp_path: Path, patient: tuple[Volume, Volume]) -> None:
    ct, labels = patient
    pairs: dict[str, tuple[Volume, Volume | None]] = {
        "no-labels": (ct, None),
        "label-map": (labels, labels),
        "different-grid": (ct, _cropped(labels)),
        "illegal-labels": (ct, labels.with_array(labels.array * 3)),
        "mirrored": (ct.with_array(ct.array[:, :, ::-1].copy()), labels.with_array(labels.array[:, :, ::-1].copy())),
        "image-varies": (ct.with_array(np.where(labels.array == 1, np.int16(60), ct.array)), labels),
    }
    (refusal,) = _check(_write(tmp_path, "bad", *pairs[damage])).refused
    assert refusal.code == damage
    assert refusal.sentence.endswith((".", "!"))


def _cropped(labels: Volume) -> Volume:
    size = labels.geometry.size
    return Volume(labels.array[1:], replace(labels.geometry, size=(size[0], size[1], size[2] - 1)))


@pytest.mark.parametrize("noise", [0, 1])
def test_the_same_scan_under_another_patients_name_would_leak_and_is_refused(noise: int, tmp_path: Path, patient: tuple[Volume, Volume]) -> None:
    ct, labels = patient
    rng = np.random.default_rng(0)
    copy = ct.with_array((ct.array + rng.integers(-noise, noise + 1, ct.array.shape)).clip(-1024).astype(np.int16))
    found = check_dataset([_write(tmp_path, "first", ct, labels), _write(tmp_path, "second", copy, labels)])
    assert [image.name for image in found.accepted] == ["first"]
    assert [(refusal.name, refusal.code) for refusal in found.refused] == [("second", "same-scan")]
    assert "first" in found.refused[0].sentence
    assert "two sides" in found.refused[0].sentence


def test_two_patients_are_no_copies_and_a_patient_has_the_most_tumours_of_the_images(tmp_path: Path) -> None:
    images = []
    for seed, lesions in ((3, 0), (4, 3)):
        images.append(_write(tmp_path, f"scan{seed}", *generate(PhantomSettings(seed=seed, spacing_mm=COARSE, lesions=lesions)), patient="one"))
    found = check_dataset(images)
    assert not found.refused
    (one,) = found.patients()
    assert one.images == ("scan3", "scan4")
    assert one.tumours == found.accepted[1].tumours
    assert one.tumours


def test_tumours_that_touch_at_a_corner_are_one_and_specks_are_none() -> None:
    grid = Geometry((50, 50, 50), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    array = np.zeros(grid.shape, np.uint8)
    array[10:14, 10:14, 10:14] = 2
    array[14:18, 14:18, 14:18] = 2
    array[30:34, 30:34, 30:34] = 2
    array[40, 40, 40] = 2
    assert tumour_count(Volume(array, grid)) == 2
