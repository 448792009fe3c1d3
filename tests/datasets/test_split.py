"""The split: by patient, as near to the ratio as whole patients allow, strata alike, readable and usable again."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from fedliver.cases.examples import Example
from fedliver.datasets.layouts import DatasetImage
from fedliver.datasets.split import PARTS, PatientImages, Ratio, Split, parse_ratio, split_by_patient
from fedliver.errors import FedLiverError


def _patients(sizes: np.ndarray, tumours: np.ndarray) -> list[PatientImages]:
    return [
        PatientImages(f"p{n:04d}", tuple(f"p{n:04d}/{scan}" for scan in range(size)), int(count))
        for n, (size, count) in enumerate(zip(sizes, tumours, strict=True))
    ]


def _manifest(patients: int, images: int, seed: int) -> list[PatientImages]:
    """As in a hospital: most patients have few scans, some have many; most have no or few tumours."""
    rng = np.random.default_rng(seed)
    weights = rng.gamma(1.2, 1.0, patients)
    return _patients(1 + rng.multinomial(images - patients, weights / weights.sum()), np.minimum(rng.geometric(0.35, patients) - 1, 40))


@pytest.fixture(scope="module")
def large() -> list[PatientImages]:
    return _manifest(1632, 6189, seed=7)


@pytest.mark.parametrize("ratio", ["54:6:40", "80:10:10", "70:15:15"])
def test_the_images_of_a_large_manifest_are_within_half_a_point_of_each_share(large: list[PatientImages], ratio: str) -> None:
    made = split_by_patient(large, parse_ratio(ratio))
    for part, share in zip(PARTS, parse_ratio(ratio), strict=True):
        assert abs(100 * made.count(part)[1] / 6189 - share) < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_the_image_counts_of_the_papers_table_are_reproduced_when_asked_for(seed: int) -> None:
    made = split_by_patient(_manifest(1632, 6189, seed), parse_ratio("3290:399:2500"), seed=seed)
    assert [made.count(part)[1] for part in PARTS] == [3290, 399, 2500]
    assert sum(made.count(part)[0] for part in PARTS) == 1632


def test_every_patient_is_on_one_side_with_all_images(large: list[PatientImages]) -> None:
    made = split_by_patient(large, (54, 6, 40))
    assert sorted(one.patient for one in made.patients) == sorted(one.patient for one in large)
    assert {one.patient: set(one.images) for one in made.patients} == {one.patient: set(one.images) for one in large}
    assert not made.images("training") & made.images("test")
    assert not made.images("training") & made.images("validation")
    assert not made.images("validation") & made.images("test")


def test_every_side_sees_as_many_tumours_as_its_share_says(large: list[PatientImages]) -> None:
    made = split_by_patient(large, (54, 6, 40))
    for low, high in ((0, 0), (1, 1), (2, 3), (4, 7), (8, 99)):
        here = [one for one in made.patients if low <= (one.tumours or 0) <= high]
        images = {part: sum(len(one.images) for one in here if one.part == part) for part in PARTS}
        for part, share in zip(PARTS, (54, 6, 40), strict=True):
            assert abs(100 * images[part] / sum(images.values()) - share) < 1.5, (low, part)


@pytest.mark.parametrize("seed", range(40))
def test_no_other_split_of_a_small_lumpy_data_set_is_nearer_to_the_ratio(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 8))
    sizes = rng.choice([1, 1, 2, 3, 7, 20], count)
    ratio: Ratio = [(54.0, 6.0, 40.0), (80.0, 10.0, 10.0), (1.0, 1.0, 1.0)][seed % 3]
    goal = np.array(ratio) / sum(ratio) * sizes.sum()

    def error(parts: tuple[int, ...]) -> float:
        return float(np.abs(np.bincount(parts, weights=sizes, minlength=3) - goal).sum())

    nearest = min(error(parts) for parts in itertools.product(range(3), repeat=count) if len(set(parts)) == 3)
    made = split_by_patient(_patients(sizes, rng.integers(0, 5, count)), ratio, seed=seed)
    assert error(tuple(PARTS.index(one.part) for one in made.patients)) == pytest.approx(nearest)


def test_the_same_seed_gives_the_same_split_whatever_the_order_and_another_seed_another(large: list[PatientImages]) -> None:
    made = split_by_patient(large, (54, 6, 40), seed=3)
    assert split_by_patient(large[::-1], (54, 6, 40), seed=3) == made
    assert split_by_patient(large, (54, 6, 40), seed=4).images("test") != made.images("test")


def test_patients_of_an_earlier_split_stay_and_the_new_ones_bring_the_ratio_back(large: list[PatientImages]) -> None:
    earlier = split_by_patient(large[:800], (80, 10, 10))
    grown = split_by_patient(large, (54, 6, 40), keep=earlier)
    before, after = ({one.patient: one.part for one in split.patients} for split in (earlier, grown))
    assert all(after[patient] == part for patient, part in before.items())
    assert abs(100 * grown.count("test")[1] / 6189 - 40) < 0.5


def test_a_share_of_nothing_gets_nobody_and_every_other_part_somebody() -> None:
    few = _patients(np.array([5, 1, 1]), np.array([0, 0, 0]))
    made = split_by_patient(few, (90, 0, 10))
    assert made.count("validation") == (0, 0)
    assert all(made.count(part)[0] >= 1 for part in ("training", "test"))
    made = split_by_patient(few, (98, 1, 1))
    assert all(made.count(part)[0] == 1 for part in PARTS)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(FedLiverError) as refusal:
        split_by_patient(_patients(np.array([9, 9]), np.array([0, 1])), (54, 6, 40))
    assert refusal.value.code == "too-few-patients"


def test_the_file_reads_back_and_differs_by_one_line_where_one_patient_moved(tmp_path: Path) -> None:
    made = split_by_patient(_manifest(20, 60, 1), (54, 6, 40))
    made.write(tmp_path / "split.json")
    assert Split.read(tmp_path / "split.json") == made
    moved = made.patients[3].model_copy(update={"part": "test" if made.patients[3].part != "test" else "training"})
    other = made.model_copy(update={"patients": (*made.patients[:3], moved, *made.patients[4:])})
    patients = [[line for line in one.text().splitlines() if '"patient"' in line] for one in (made, other)]
    assert sum(a != b for a, b in zip(*patients, strict=True)) == 1


@pytest.mark.parametrize("damage", ["patient on two sides", "image of two patients", "no such part", "no json", "other version", "absent"])
def test_a_split_that_cannot_be_right_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    split_by_patient(_manifest(10, 30, 1), (54, 6, 40)).write(path)
    content = json.loads(path.read_text())
    if damage == "patient on two sides":
        content["patients"].append(content["patients"][0] | {"part": "test", "images": ["new"]})
    elif damage == "image of two patients":
        content["patients"].append(content["patients"][0] | {"patient": "new"})
    elif damage == "no such part":
        content["patients"][0]["part"] = "secret"
    elif damage == "other version":
        content["schema_version"] = 2
    path.write_text("{" if damage == "no json" else json.dumps(content))
    if damage == "absent":
        path.unlink()
    with pytest.raises(FedLiverError) as refusal:
        Split.read(path)
    assert refusal.value.code == "bad-split"


def _image(name: str, patient: str) -> DatasetImage:
    return DatasetImage(name, patient, Example(Path(f"{name}.nii.gz"), None))


def test_a_split_picks_its_images_from_the_data_set_and_refuses_one_that_has_changed() -> None:
    made = split_by_patient(_manifest(10, 30, 1), (54, 6, 40))
    images = [_image(name, one.patient) for one in made.patients for name in one.images]
    assert {image.name for image in made.of(images, "test")} == made.images("test")
    for changed in ([*images, _image("new", "new")], images[1:], [_image(images[0].name, "somebody else"), *images[1:]]):
        with pytest.raises(FedLiverError) as refusal:
            made.of(changed, "test")
        assert refusal.value.code == "split-does-not-fit"


@pytest.mark.parametrize("text", ["54:6", "a:b:c", "54:6:-1", "0:50:50", "", "nan:1:1", "inf:1:1"])
def test_a_ratio_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(FedLiverError) as refusal:
        parse_ratio(text)
    assert refusal.value.code == "bad-ratio"
