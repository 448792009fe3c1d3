"""Learning from scans nobody annotated: a mean teacher that is listened to only where it is sure."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from pydantic import ValidationError
from small_trainings import on_disk, patient, untrained

from fedliver.cases.examples import Example
from fedliver.errors import FedLiverError
from fedliver.evaluation.metrics import liver_dice
from fedliver.image import Geometry, Volume, to_sitk
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.coarse_to_fine import CoarseToFine
from fedliver.teacher.inference import segment
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import StagePlan, TeacherPlan
from fedliver.training.consistency import consistency_loss, disturbed, pasted, pseudo_labels, ramped, teacher_answer, unlabelled_loss
from fedliver.training.loss import IGNORE
from fedliver.training.moving_average import MovingAverage
from fedliver.training.settings import ConsistencySettings, TrainingSettings
from fedliver.training.sources import UnlabelledPatches
from fedliver.training.student import train
from fedliver.watch import Silent
from networks import BandNetwork

CONSISTENCY = ConsistencySettings()


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Two annotated patients and two that nobody annotated."""
    folder = tmp_path_factory.mktemp("patients")
    return [on_disk(folder, seed, annotated=seed < 3) for seed in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def taught(examples: list[Example]) -> Teacher:
    """A teacher that has learned from the annotated patients."""
    first = untrained()
    outcome = train(first, examples, TrainingSettings(steps=150, batch_size=2, learning_rate=1e-2, seed=1))
    return Teacher(outcome.network, first.plan, "taught", "1", "none")


def test_the_loss_is_nothing_where_student_and_teacher_agree_and_something_where_they_do_not() -> None:
    logits = torch.randn(1, 3, 4, 4, 4)
    sure = torch.zeros(1, 4, 4, 4)
    assert consistency_loss(logits, torch.softmax(logits, 1), sure, 0.5) == pytest.approx(0, abs=1e-9)
    assert consistency_loss(logits, torch.softmax(-logits, 1), sure, 0.5) > 0.01


def test_cross_entropy_pulls_the_student_to_the_teachers_answer_harder_than_the_squared_error() -> None:
    logits = torch.zeros(1, 3, 2, 2, 2, requires_grad=True)
    answer = torch.zeros(1, 3, 2, 2, 2)
    answer[:, 1] = 1.0
    entropy = torch.zeros(1, 2, 2, 2)
    pulls = []
    for loss in ("squared-error", "cross-entropy"):
        (gradient,) = torch.autograd.grad(consistency_loss(logits, answer, entropy, 0.5, loss), logits)
        assert (gradient[:, 1] < 0).all()
        pulls.append(float(gradient.norm()))
    assert pulls[1] > 2 * pulls[0]


def test_an_unsure_teacher_teaches_nothing() -> None:
    logits = torch.randn(1, 3, 4, 4, 4, requires_grad=True)
    entropy = torch.full((1, 4, 4, 4), 0.9)
    entropy[0, 0, 0, 0] = 0.1
    consistency_loss(logits, torch.full((1, 3, 4, 4, 4), 1 / 3), entropy, 0.5).backward()
    assert logits.grad is not None
    assert logits.grad[0, :, 0, 0, 0].abs().sum() > 0
    assert logits.grad.abs().sum() == pytest.approx(float(logits.grad[0, :, 0, 0, 0].abs().sum()))


def test_the_entropy_is_a_part_of_the_highest_possible() -> None:
    class Undecided(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(1, 3, *image.shape[2:])
            logits[0, 0, 0] = 50.0
            return logits

    answer, entropy = teacher_answer(Undecided(), torch.zeros(1, 1, 4, 4, 4), CONSISTENCY)
    assert entropy[0, 1:].numpy() == pytest.approx(1.0, abs=1e-4)
    assert entropy[0, 0].numpy() == pytest.approx(0.0, abs=1e-3)
    assert answer.sum(dim=1).numpy() == pytest.approx(1.0, abs=1e-5)


def test_a_pseudo_label_is_the_most_probable_one_and_none_where_the_teacher_is_unsure() -> None:
    answer = torch.tensor([[0.05, 0.9, 0.05], [0.5, 0.5, 0.0], [0.98, 0.01, 0.01]]).T.reshape(1, 3, 3, 1, 1)
    entropy = -(answer * answer.clamp_min(1e-6).log()).sum(dim=1) / np.log(3)
    assert pseudo_labels(answer, entropy, 0.4).flatten().tolist() == [1, IGNORE, 0]
    assert IGNORE not in pseudo_labels(answer, entropy, 1.0)


def test_what_is_pasted_is_a_box_with_its_true_labels_and_nothing_else_changes() -> None:
    torch.manual_seed(0)
    onto, onto_labels = torch.zeros(3, 1, 12, 12, 12), torch.zeros(3, 12, 12, 12, dtype=torch.int64)
    images, labels = torch.rand(2, 1, 12, 12, 12) + 1, torch.randint(1, 3, (2, 12, 12, 12))
    mixed, mixed_labels = pasted(images, labels, onto, onto_labels)
    assert not onto.any()
    assert not onto_labels.any()
    for n in range(2):
        there = mixed[n, 0] > 0
        assert 0.4**3 * 0.5 < there.float().mean() < 0.76**3
        assert torch.equal(mixed[n, 0][there], images[n, 0][there])
        assert torch.equal(mixed_labels[n] > 0, there)
        assert torch.equal(mixed_labels[n][there], labels[n][there])
        spans = [torch.nonzero(there)[:, axis] for axis in range(3)]
        assert int(there.sum()) == np.prod([int(span.max() - span.min()) + 1 for span in spans]), "it is one box"
    assert not mixed[2].any(), "without a partner a patch stays as it is"


class _Says(torch.nn.Module):
    """A teacher that says the same of every voxel."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self._logits = torch.tensor(logits).reshape(1, 3, 1, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self._logits.expand(len(image), 3, *image.shape[2:])


def _gradient(teacher: torch.nn.Module, annotated: tuple[torch.Tensor, torch.Tensor] | None) -> float:
    torch.manual_seed(0)
    student = build_network(TeacherPlan.tiny())
    unlabelled_loss(student, teacher, torch.rand(1, 1, 16, 16, 16), annotated, 0.4, CONSISTENCY).backward()
    return sum(float(parameter.grad.abs().sum()) for parameter in student.parameters() if parameter.grad is not None)


def _annotated(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return torch.rand(1, 1, 16, 16, 16), torch.randint(0, 3, (1, 16, 16, 16))


def test_of_an_unsure_teacher_only_what_was_pasted_teaches() -> None:
    unsure, sure = _Says(0.0, 0.1, 0.0), _Says(0.0, 9.0, 0.0)
    labels = pseudo_labels(*teacher_answer(unsure, torch.rand(1, 1, 4, 4, 4), CONSISTENCY), CONSISTENCY.sure)
    assert (labels == IGNORE).all()
    assert _gradient(unsure, _annotated()) > 0.01
    assert _gradient(unsure, _annotated()) != pytest.approx(_gradient(sure, _annotated()), rel=0.01)


def test_pseudo_labels_say_nothing_about_tumours() -> None:
    liver, tumour = (_gradient(_Says(*logits), _annotated()) for logits in ((0.0, 20.0, 0.0), (0.0, 0.0, 20.0)))
    assert liver == pytest.approx(tumour, rel=1e-4)


def test_where_nothing_is_annotated_there_are_no_pseudo_labels() -> None:
    squared = CONSISTENCY.model_copy(update={"loss": "squared-error"})
    torch.manual_seed(0)
    student, images = build_network(TeacherPlan.tiny()), torch.rand(1, 1, 16, 16, 16)
    losses = []
    for settings in (CONSISTENCY, squared):
        torch.manual_seed(1)
        losses.append(float(unlabelled_loss(student, _Says(0.0, 9.0, 0.0), images, None, 0.4, settings).detach()))
    assert losses[0] == losses[1] > 0


def test_it_is_ramped_up_from_almost_nothing_to_all() -> None:
    values = [ramped(progress, CONSISTENCY) for progress in (0.0, 0.2, 0.4, 1.0)]
    assert values[0] < 0.01
    assert values == sorted(values)
    assert values[2] == values[3] == 1.0


def test_a_disturbed_patch_keeps_its_air_and_its_scale_but_not_its_looks() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 1, 16, 16, 16) * 0.8 + 0.1
    images[:, :, :4] = 0
    out = disturbed(images)
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert not torch.allclose(out, images, atol=0.05)
    assert (out[:, :, :4] == 0).float().mean() > 0.6  # but for the block without information
    assert float(images[:, :, :4].max()) == 0


def test_the_teacher_follows_the_student_and_takes_no_gradient() -> None:
    network = build_network(TeacherPlan.tiny())
    average = MovingAverage(network, 0.9)
    before = [value.clone() for value in average.network.state_dict().values()]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    average.update(network)
    moved = [float((after - b).abs().max()) for b, after in zip(before, average.network.state_dict().values(), strict=True)]
    assert all(0.5 < distance < 1.0 for distance in moved)
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_a_consistency_without_a_moving_average_is_refused() -> None:
    with pytest.raises(ValidationError, match="average_decay"):
        TrainingSettings(consistency=CONSISTENCY)


def test_scans_nobody_annotated_are_left_out_unless_asked_for(examples: list[Example], taught: Teacher) -> None:
    settings = TrainingSettings(steps=2, average_decay=0.5, seed=4)
    alone = train(taught, examples[:2], settings).network.state_dict()
    ignored = train(taught, examples, settings).network.state_dict()
    used = train(taught, examples, settings.model_copy(update={"consistency": ConsistencySettings(ramp=0.01)})).network.state_dict()
    assert all(torch.equal(alone[key], ignored[key]) for key in alone)
    assert any(not torch.equal(alone[key], used[key]) for key in alone)


def test_a_site_without_any_approved_case_still_learns_and_does_not_forget(examples: list[Example], taught: Teacher) -> None:
    ct, truth = patient(9)
    before = liver_dice(segment(taught, ct).labels.array, truth.array)
    settings = TrainingSettings(steps=40, learning_rate=1e-3, average_decay=0.95, consistency=CONSISTENCY)
    outcome = train(taught, examples[2:], settings)
    after = liver_dice(segment(Teacher(outcome.network, taught.plan, "student", "2", "none"), ct).labels.array, truth.array)
    assert any(not torch.equal(value, taught.network.state_dict()[key]) for key, value in outcome.network.state_dict().items())
    assert before > 0.6
    assert after > before - 0.05


def test_without_approved_cases_and_without_consistency_words_say_what_is_missing(examples: list[Example], taught: Teacher) -> None:
    with pytest.raises(FedLiverError) as refusal:
        train(taught, examples[2:], TrainingSettings(steps=1))
    assert refusal.value.code == "no-approved-case"


def test_a_scan_without_a_liver_is_not_learned_from(tmp_path: Path) -> None:
    geometry = Geometry((60, 60, 60), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    fat = np.full(geometry.shape, -100, np.int16)
    liver = fat.copy()
    liver[20:40, 20:40, 20:40] = 100
    stage = StagePlan(network=TeacherPlan.tiny().network, spacing_mm=(8.0, 8.0, 8.0), patch_size=(32, 32, 32))
    plan = TeacherPlan.tiny().model_copy(update={"finder": stage, "minimum_liver_ml": 5.0})
    teacher = Teacher(CoarseToFine(BandNetwork(), BandNetwork()), plan, "bands", "0", "none")
    found = []
    for name, array in (("fat", fat), ("liver", liver)):
        sitk.WriteImage(to_sitk(Volume(array, geometry)), str(tmp_path / f"{name}.nii.gz"))
        found.append(UnlabelledPatches.of([Example(tmp_path / f"{name}.nii.gz", None)], teacher, Silent()))
    assert found[0] is None
    assert found[1] is not None


def test_a_corrupted_teacher_recovers_and_its_wrong_answers_do_not_spread(examples: list[Example], taught: Teacher) -> None:
    torch.manual_seed(3)
    corrupted = Teacher(build_network(taught.plan), taught.plan, "corrupted", "1", "none")
    corrupted.network.load_state_dict({key: value + 0.35 * value.abs().mean() * torch.randn_like(value) for key, value in taught.network.state_dict().items()})
    ct, truth = patient(9)
    wrong = liver_dice(segment(corrupted, ct).labels.array, truth.array)
    settings = TrainingSettings(steps=120, batch_size=2, learning_rate=1e-2, average_decay=0.95, consistency=CONSISTENCY, seed=1)
    outcome = train(corrupted, examples, settings)
    recovered = liver_dice(segment(Teacher(outcome.network, taught.plan, "student", "2", "none"), ct).labels.array, truth.array)
    assert recovered > max(wrong, 0.6)
