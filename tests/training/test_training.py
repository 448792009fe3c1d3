"""The student learns from what was approved, and from nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_trainings import StopAfter, on_disk, patient, untrained

from fedliver.cases.examples import Example
from fedliver.errors import Cancelled, FedLiverError
from fedliver.evaluation.metrics import liver_dice
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.inference import segment
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.loss import IGNORE, segmentation_loss
from fedliver.training.savepoint import Savepoint
from fedliver.training.settings import ConsistencySettings, TrainingSettings
from fedliver.training.sources import Patch, cut
from fedliver.training.student import train, train_on_patches


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder = tmp_path_factory.mktemp("patients")
    return [on_disk(folder, seed) for seed in (1, 2)]


def test_a_student_learns_to_find_the_liver_of_a_patient_it_has_not_seen(examples: list[Example]) -> None:
    teacher = untrained()
    ct, truth = patient(9)
    before = liver_dice(segment(teacher, ct).labels.array, truth.array)
    outcome = train(teacher, examples, TrainingSettings(steps=150, batch_size=2, learning_rate=1e-2, seed=1))
    after = liver_dice(segment(Teacher(outcome.network, teacher.plan, "student", "1", "none"), ct).labels.array, truth.array)
    assert after > before + 0.3
    assert after > 0.6


def test_the_teacher_itself_is_not_touched(examples: list[Example]) -> None:
    teacher = untrained()
    before = {key: value.clone() for key, value in teacher.network.state_dict().items()}
    outcome = train(teacher, examples, TrainingSettings(steps=2))
    assert all(torch.equal(before[key], value) for key, value in teacher.network.state_dict().items())
    assert any(not torch.equal(before[key], value) for key, value in outcome.network.state_dict().items())


def test_the_same_seed_gives_the_same_student(examples: list[Example]) -> None:
    teacher = untrained()
    one, two, other = (train(teacher, examples, TrainingSettings(steps=3, seed=seed)).network.state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_cancel_is_obeyed_within_one_step(examples: list[Example]) -> None:
    watcher = StopAfter(2)
    with pytest.raises(Cancelled):
        train(untrained(), examples, TrainingSettings(steps=50), watcher)
    assert watcher.last == 2


def test_a_time_budget_ends_training_before_its_steps_do(examples: list[Example]) -> None:
    outcome = train(untrained(), examples, TrainingSettings(steps=1_000_000, minutes=0.005))
    assert 1 <= outcome.steps < 1_000_000


def test_without_an_annotated_case_training_is_refused_in_words(examples: list[Example]) -> None:
    with pytest.raises(FedLiverError) as refusal:
        train(untrained(), [Example(examples[0].ct, None)], TrainingSettings(steps=1))
    assert refusal.value.code == "no-approved-case"


def test_a_loss_that_is_no_number_ends_training_in_words() -> None:
    plan = TeacherPlan.tiny()

    class Broken:
        def draw(self, rng: np.random.Generator) -> Patch:
            return Patch(np.full((1, *plan.patch_size), np.nan, np.float32), np.zeros((1, *plan.patch_size), np.uint8), True)

    with pytest.raises(FedLiverError) as refusal:
        train_on_patches(build_network(plan), Broken(), TrainingSettings(steps=1, augment=False))
    assert refusal.value.code == "training-diverged"


MEAN_TEACHER = TrainingSettings(steps=6, learning_rate=1e-2, average_decay=0.9, consistency=ConsistencySettings(weight=50.0, sure=1.0))


@pytest.mark.parametrize("settings", [TrainingSettings(steps=6, average_decay=0.9), MEAN_TEACHER], ids=["supervised", "mean teacher"])
def test_a_training_that_was_interrupted_ends_with_the_very_weights_it_would_have_had(
    examples: list[Example], settings: TrainingSettings, tmp_path: Path
) -> None:
    teacher = untrained()
    scans = [*examples, Example(examples[0].ct, None)]
    whole = train(teacher, scans, settings)
    for pulled_after, every_seconds in ((1, 0.0), (3, 60.0)):  # the second is saved because it is cancelled
        savepoint = Savepoint(tmp_path / "student.savepoint", "key", every_seconds)
        with pytest.raises(Cancelled):
            train(teacher, scans, settings, StopAfter(pulled_after), savepoint)
    resumed = train(teacher, scans, settings, savepoint=savepoint)
    assert resumed.steps == whole.steps == 6
    for (name, one), two in zip(whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(one, two), name


def test_a_savepoint_of_another_training_or_a_damaged_one_is_as_good_as_none(examples: list[Example], tmp_path: Path) -> None:
    file = tmp_path / "student.savepoint"
    train(untrained(), examples, TrainingSettings(steps=2), savepoint=Savepoint(file, "this", every_seconds=0.0))
    assert Savepoint(file, "this").read() is not None
    assert Savepoint(file, "other").read() is None
    file.write_bytes(file.read_bytes()[:1000])
    assert Savepoint(file, "this").read() is None
    file.write_bytes(b"\x80\x04cbuiltins\nexec\n.")
    assert Savepoint(file, "this").read() is None


def test_a_sites_next_round_takes_over_moments_and_mean_teacher_and_not_the_weights(examples: list[Example], tmp_path: Path) -> None:
    teacher = untrained()
    scans = [*examples, Example(examples[0].ct, None)]
    first = train(teacher, scans, MEAN_TEACHER)
    savepoint = Savepoint(tmp_path / "student.pt", "contract")
    assert first.standing is not None
    savepoint.write(first.standing)
    aggregate = replace(teacher, network=build_network(teacher.plan))
    one_step = MEAN_TEACHER.model_copy(update={"steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0})
    second = train(aggregate, scans, one_step, before=savepoint.read())
    fresh = train(aggregate, scans, one_step)
    assert second.standing is not None
    assert fresh.standing is not None
    for name, value in aggregate.network.state_dict().items():
        torch.testing.assert_close(second.network.state_dict()[name], value)
    name = next(name for name, value in aggregate.network.state_dict().items() if value.dim() > 1)
    assert second.standing.optimiser["state"][0]["step"] == 7
    assert fresh.standing.optimiser["state"][0]["step"] == 1
    assert second.standing.tutor is not None
    assert first.standing.tutor is not None
    stood, one_more = 0.9**6, (1 + 13) / (10 + 13)
    share = stood * one_more  # of the old Mean Teacher in the new one; the rest is the aggregate, where the student has stood since
    expected = share * first.standing.tutor[name] + (1 - share) * aggregate.network.state_dict()[name]
    torch.testing.assert_close(second.standing.tutor[name], expected)


def _logits(labels: torch.Tensor) -> torch.Tensor:
    return 20 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()


def test_the_loss_of_a_perfect_answer_is_nearly_nothing_and_of_a_wrong_one_is_not() -> None:
    labels = torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    labels[0, 2:6, 2:6, 2:6] = 1
    labels[0, 3:5, 3:5, 3:5] = 2
    known = torch.tensor([True])
    assert segmentation_loss(_logits(labels), labels, known) < 0.01
    assert segmentation_loss(_logits(torch.zeros_like(labels)), labels, known) > 1


def test_where_tumours_were_annotated_as_liver_calling_them_tumour_costs_nothing() -> None:
    annotated = torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    annotated[0, 2:6, 2:6, 2:6] = 1
    answer = annotated.clone()
    answer[0, 3:5, 3:5, 3:5] = 2
    assert segmentation_loss(_logits(answer), annotated, torch.tensor([False])) < 0.01
    assert segmentation_loss(_logits(answer), annotated, torch.tensor([True])) > 0.05


def test_voxels_that_nobody_knows_teach_nothing() -> None:
    labels = torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    labels[0, 2:6, 2:6, 2:6] = 1
    answer = labels.clone()
    labels[0, :, :, 5:7] = IGNORE
    answer[0, :, :, 5:7] = 2
    for tumour_labelled in (False, True):
        assert segmentation_loss(_logits(answer), labels, torch.tensor([tumour_labelled])) < 0.01


def test_a_patch_beyond_the_scan_is_air_beyond_the_scan() -> None:
    array = np.ones((1, 4, 20, 20), np.float32)
    patch = cut(array, np.array([0, 0, 19]), (8, 8, 8), 0.0)
    assert patch.shape == (1, 8, 8, 8)
    assert patch.sum() == 4 * 8 * 8
