"""The recipe of the shipped teacher, on a small made-up data folder of the layout it expects."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from fedliver.errors import FedLiverError
from fedliver.evaluation.metrics import Scores
from fedliver.image import to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.teacher.bundle import load_bundle, save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.card import score, write_card
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import read_volume
from fedliver.training.starter import labelled_examples, train_starter
from fedliver.watch import Silent

SETTINGS = TrainingSettings(steps=3, learning_rate=1e-3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(("lits_00", "lits_11", "chaos_03")):
        ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(6.0, 6.0, 6.0), lesions=1))
        patient = folder / "liver_ct" / "labelled" / name
        patient.mkdir(parents=True)
        sitk.WriteImage(to_sitk(ct), str(patient / "ct.nii.gz"))
        sitk.WriteImage(to_sitk(labels), str(patient / "labels.nii.gz"))
    (folder / "label_maps").mkdir()
    sitk.WriteImage(to_sitk(labels.with_array((labels.array > 0).astype(np.uint8))), str(folder / "label_maps" / "word_0001.nii.gz"))
    return folder


def test_a_starter_is_trained_from_patients_and_label_maps_and_written_as_a_bundle(data: Path, tmp_path: Path) -> None:
    outcome = train_starter(data, tmp_path / "new", version="9", plan=TeacherPlan.tiny(), settings=SETTINGS)
    teacher = load_bundle(tmp_path / "new")
    assert outcome.steps == 3
    assert teacher.version == "9"
    assert all(torch.equal(value, outcome.network.state_dict()[key]) for key, value in teacher.network.state_dict().items())


def test_training_on_begins_with_the_weights_of_the_bundle_it_was_given(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    plan = TeacherPlan.tiny()
    first = save_bundle(build_network(plan), plan, tmp_path / "first", name="first", version="1")
    before = {key: value.clone() for key, value in first.network.state_dict().items()}
    still = TrainingSettings(steps=1, learning_rate=1e-9, weight_decay=0)
    outcome = train_starter(data, tmp_path / "on", version="2", settings=still, start=tmp_path / "first")
    assert all(torch.allclose(value, before[key], atol=1e-6) for key, value in outcome.network.state_dict().items())


def test_the_validation_patient_is_never_trained_on_and_tumours_annotated_as_liver_teach_none(data: Path) -> None:
    examples = {example.ct.parent.name: example for example in labelled_examples(data, ("chaos_03",))}
    assert set(examples) == {"lits_00", "lits_11"}
    assert examples["lits_00"].tumour_labelled
    assert not examples["lits_11"].tumour_labelled


def test_a_folder_without_patients_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError) as refusal:
        train_starter(tmp_path, tmp_path / "new", version="9")
    assert refusal.value.code == "no-training-data"


def test_the_card_shows_the_measured_numbers_of_the_validation_patient(data: Path, tmp_path: Path) -> None:
    train_starter(data, tmp_path / "new", version="9", plan=TeacherPlan.tiny(), settings=SETTINGS)
    card = write_card(tmp_path / "new", data, "Three steps, in a test.", Silent())
    patient = data / "liver_ct" / "labelled" / "chaos_03"
    ct, labels = (read_volume(patient / f"{name}.nii.gz") for name in ("ct", "labels"))
    measured: Scores = score(load_bundle(tmp_path / "new"), ct, labels)
    assert f"| chaos_03 | {measured.liver.dice:.3f} |" in card
    assert "Three steps, in a test." in (tmp_path / "new" / "docs" / "README.md").read_text()
