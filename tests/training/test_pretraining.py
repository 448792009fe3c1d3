"""Pre-training on a small made-up data set: finder, base, folds, final; and the card that is measured."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from pydantic import ValidationError

from fedliver.cases.examples import Example
from fedliver.cli.main import main
from fedliver.datasets.check import check_scans
from fedliver.datasets.layouts import read_layout
from fedliver.errors import Cancelled, FedLiverError
from fedliver.image import Volume, from_sitk, resample, to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.segmentation_file import write_segmentation
from fedliver.teacher.bundle import Teacher, load_bundle, save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import NetworkPlan, StagePlan, TeacherPlan
from fedliver.teacher.preparation import network_grid
from fedliver.training.card import CardText, judged_folds, measure, write_card
from fedliver.training.early_stopping import Patience
from fedliver.training.loss import IGNORE
from fedliver.training.mixtures import TrainingData
from fedliver.training.pretraining import Recipe, Start, pretrain
from fedliver.training.pseudo_labels import pseudo_labelled
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import of_a_stranger
from fedliver.training.stages import stages_of
from fedliver.training.student import SilentTraining
from fedliver.watch import Silent
from networks import band_teacher

NAMES = ("a", "b", "c", "kept")
TINY = NetworkPlan(channels=(4, 8), strides=(2,), residual_units=0)
PLAN = TeacherPlan.tiny().model_copy(update={"network": TINY, "finder": StagePlan(network=TINY, spacing_mm=(12.0, 12.0, 12.0), patch_size=(16, 16, 16))})


def _recipe(steps: int = 2) -> Recipe:
    settings = TrainingSettings(steps=steps, learning_rate=1e-3)
    return Recipe(plan=PLAN, finder=settings, base=settings, fold=settings, final=settings, folds=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate((*NAMES, "scan")):
        ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(6.0, 6.0, 6.0), lesions=1))
        patient = folder / ("unlabelled" if name == "scan" else "labelled") / name
        patient.mkdir(parents=True)
        sitk.WriteImage(to_sitk(ct), str(patient / "ct.nii.gz"))
        if name != "scan":
            sitk.WriteImage(to_sitk(labels), str(patient / "labels.nii.gz"))
    (folder / "maps").mkdir()
    sitk.WriteImage(to_sitk(labels.with_array((labels.array > 0).astype(np.uint8))), str(folder / "maps" / "word_0001.nii.gz"))
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> TrainingData:
    images = tuple(image for image in read_layout(folder / "labelled") if image.name != "kept")
    return TrainingData(images, (folder / "unlabelled" / "scan" / "ct.nii.gz",), tuple((folder / "maps").iterdir()))


@pytest.fixture(scope="module")
def trained(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("trained") / "new"
    pretrain(data, target, version="9", recipe=_recipe(), believe=band_teacher(6.0))
    return target


def _stages(target: Path) -> list[Path]:
    return sorted(path for path in stages_of(target).iterdir() if path.is_dir())


def _same(one: Teacher, other: Teacher, part: str = "") -> bool:
    weights = other.network.state_dict()
    return all(torch.equal(value, weights[key]) for key, value in one.network.state_dict().items() if key.startswith(part))


def test_every_stage_leaves_a_bundle_and_each_goes_on_from_the_one_before(trained: Path) -> None:
    stages = {path.name: load_bundle(path) for path in _stages(trained)}
    assert set(stages) == {"finder", "base", "fold0", "fold1", "final"}
    assert all(_same(stages["finder"], teacher, "finder.") for teacher in stages.values())
    assert not _same(stages["finder"], stages["base"], "fine.")
    assert not _same(stages["fold0"], stages["fold1"], "fine.")
    assert _same(stages["final"], load_bundle(trained))
    assert load_bundle(trained).version == "9"


def test_no_fold_trains_on_the_patients_it_holds_out(data: TrainingData) -> None:
    folds = [{image.patient for image in data.fold(number, 2)} for number in range(2)]
    assert folds[0] | folds[1] == {"a", "b", "c"}
    assert not folds[0] & folds[1]


def test_an_interrupted_run_takes_up_the_stages_that_are_there(data: TrainingData, trained: Path, tmp_path: Path) -> None:
    class StopInFold(SilentTraining):
        def report(self, phase: str, fraction: float) -> None:
            self.stop = phase.endswith("fold1")

        def cancelled(self) -> bool:
            return getattr(self, "stop", False)

    with pytest.raises(Cancelled):
        pretrain(data, tmp_path / "new", version="9", recipe=_recipe(), believe=band_teacher(6.0), watcher=StopInFold())
    done = {path.name: load_bundle(path).sha256 for path in _stages(tmp_path / "new")}
    assert set(done) == {"finder", "base", "fold0"}
    pretrain(data, tmp_path / "new", version="9", recipe=_recipe(), believe=band_teacher(6.0))
    assert all(load_bundle(stages_of(tmp_path / "new") / name).sha256 == sha256 for name, sha256 in done.items())
    assert _same(load_bundle(tmp_path / "new"), load_bundle(trained))


def test_stages_of_other_data_are_never_taken_for_these(data: TrainingData, trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "new"
    shutil.copytree(stages_of(trained), stages_of(target))
    fewer = replace(data, images=data.images[:2])
    for other, believe in ((fewer, band_teacher(6.0)), (data, None)):
        with pytest.raises(FedLiverError) as refusal:
            pretrain(other, target, version="9", recipe=_recipe(), believe=believe)
        assert refusal.value.code == "other-data"
    assert not target.exists()
    outcome = pretrain(data, target, version="9", recipe=_recipe(), believe=band_teacher(6.0))
    assert outcome is not None
    assert outcome.steps == 0, "all is there already"


def test_processes_share_the_work_by_stages_and_the_end_is_the_same(data: TrainingData, trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "shared"
    pretrain_only = partial(pretrain, data, target, version="9", recipe=_recipe(), believe=band_teacher(6.0))
    with pytest.raises(FedLiverError, match="no stage 'fold7' here: choose among finder, base, fold0, fold1, final"):
        pretrain_only(only=["fold7"])
    assert not stages_of(target).exists()
    assert pretrain_only(only=["base"]) is None
    assert {path.name for path in _stages(target)} == {"finder", "base"}
    assert pretrain_only(only=["fold1"]) is None
    assert {path.name for path in _stages(target)} == {"finder", "base", "fold1"}
    with pytest.raises(FedLiverError, match="fold0 is not trained yet"):
        pretrain_only(only=["final"])
    pretrain_only(only=["fold0"])
    assert not target.exists()
    assert pretrain_only(only=["final"]) is not None
    assert _same(load_bundle(target), load_bundle(trained))


def test_the_finder_alone_can_be_trained_and_a_teacher_to_go_on_from_has_no_stages_before_the_folds(data: TrainingData, trained: Path, tmp_path: Path) -> None:
    assert pretrain(data, tmp_path / "new", version="9", recipe=_recipe(), believe=band_teacher(6.0), only=["finder"]) is None
    assert [path.name for path in _stages(tmp_path / "new")] == ["finder"]
    with pytest.raises(FedLiverError, match="no stage 'base' here: choose among fold0, fold1, final"):
        pretrain(data, tmp_path / "on", version="9", recipe=_recipe(), start=Start(load_bundle(trained)), only=["base"])


def test_the_recipe_gives_every_stage_its_share_and_refuses_what_no_stage_can_have() -> None:
    recipe = Recipe.of(100.0, seed=7, threads=3)
    stages = (recipe.finder, recipe.base, *[recipe.fold] * recipe.folds, recipe.final)
    assert sum(stage.minutes or 0 for stage in stages) == pytest.approx(100.0)
    assert {(stage.threads, stage.seed) for stage in stages} == {(3, 7)}
    for minutes, threads in ((100.0, 0), (0.0, 1), (-5.0, 1)):
        with pytest.raises(ValidationError):
            Recipe.of(minutes, threads=threads)


def test_validation_images_end_the_last_stage_and_never_train(data: TrainingData, folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    first = save_bundle(build_network(PLAN), PLAN, tmp_path / "first", name="first", version="1")
    kept = tuple(image for image in read_layout(folder / "labelled") if image.name == "kept")
    recipe = _recipe().model_copy(update={"final": TrainingSettings(steps=50, learning_rate=1e-9), "patience": Patience(every_steps=3, looks=2)})
    outcome = pretrain(TrainingData(data.images, validation=kept), tmp_path / "new", version="2", recipe=recipe, start=Start(first))
    assert outcome.steps == 9, "a network that hardly moves is no better at the second and third look"


def test_training_on_begins_with_the_weights_of_the_teacher_it_was_given(data: TrainingData, tmp_path: Path) -> None:
    torch.manual_seed(5)
    first = save_bundle(build_network(PLAN), PLAN, tmp_path / "first", name="first", version="1")
    still = TrainingSettings(steps=1, learning_rate=1e-9, weight_decay=0)
    recipe = _recipe().model_copy(update={"fold": still, "final": still})
    pretrain(data, tmp_path / "on", version="2", recipe=recipe, start=Start(first))
    on = load_bundle(tmp_path / "on").network.state_dict()
    assert all(torch.allclose(value, on[key], atol=1e-6) for key, value in load_bundle(tmp_path / "first").network.state_dict().items())


def test_a_fold_goes_on_from_the_fold_that_held_out_the_same_patients_and_from_no_other(data: TrainingData, trained: Path, tmp_path: Path) -> None:
    start = Start.read(trained, data, 2)
    still = TrainingSettings(steps=1, learning_rate=1e-9, weight_decay=0)
    recipe = _recipe().model_copy(update={"fold": still, "final": still})
    pretrain(data, tmp_path / "on", version="10", recipe=recipe, start=start, only=["fold0", "fold1"])
    for before, after in zip(start.folds, (load_bundle(stage) for stage in _stages(tmp_path / "on")), strict=True):
        now = after.network.state_dict()
        assert all(torch.allclose(value, now[key], atol=1e-6) for key, value in before.network.state_dict().items())
    fewer = TrainingData(data.images[:2], data.unlabelled, data.label_maps)
    assert Start.read(trained, fewer, 2).folds == (), "of other data: its folds may have seen whom these hold out"
    assert Start.read(trained, data, 3).folds == (), "of other folds"
    shutil.rmtree(shutil.copytree(stages_of(trained), stages_of(tmp_path / "copy")) / "fold1")
    shutil.copytree(trained, tmp_path / "copy")
    assert Start.read(tmp_path / "copy", data, 2).folds == ()


def test_the_fine_network_may_be_trained_on_another_grid_but_not_on_one_too_fine(data: TrainingData, trained: Path, tmp_path: Path) -> None:
    start = Start(load_bundle(trained))
    finer = _recipe().model_copy(update={"fine_mm": 6.0})
    pretrain(data, tmp_path / "finer", version="10", recipe=finer, start=start)
    made = load_bundle(tmp_path / "finer").plan
    assert made.spacing_mm == (6.0, 6.0, 6.0)
    assert made.model_copy(update={"spacing_mm": PLAN.spacing_mm}) == PLAN
    with pytest.raises(FedLiverError, match="other data"):
        pretrain(data, tmp_path / "finer", version="10", recipe=_recipe(), start=start)
    with pytest.raises(FedLiverError, match=r"grid of 0\.01 mm"):
        pretrain(data, tmp_path / "finest", version="10", recipe=_recipe().model_copy(update={"fine_mm": 0.01}), start=start)


def test_without_an_annotated_image_there_is_nothing_to_train_on_and_words_say_so() -> None:
    with pytest.raises(FedLiverError) as refusal:
        TrainingData(())
    assert refusal.value.code == "no-training-data"


def test_pseudo_labels_are_believed_well_inside_and_well_outside_only() -> None:
    ct, truth = generate(PhantomSettings(seed=3, spacing_mm=(3.0, 3.0, 3.0), lesions=0))
    patient = pseudo_labelled(_knowing(truth), ct, PLAN.model_copy(update={"spacing_mm": (3.0, 3.0, 3.0)}))
    assert patient is not None
    assert not patient.tumour_labelled
    assert {0, 1, IGNORE} == set(np.unique(patient.labels))
    liver = truth.array.transpose(2, 1, 0)[None] > 0
    assert liver[patient.labels == 1].all()
    assert not liver[patient.labels == 0].any()


def test_a_teacher_that_is_lost_in_a_scan_labels_nothing() -> None:
    ct, truth = generate(PhantomSettings(seed=3, spacing_mm=(6.0, 6.0, 6.0), lesions=0))
    lost = truth.with_array(np.where(np.arange(truth.array.shape[2]) % 2, truth.array * 2, truth.array).astype(np.uint8))
    assert pseudo_labelled(_knowing(lost), ct, PLAN) is None


def _knowing(truth: Volume) -> Teacher:
    """A teacher that knows the answer for one scan, which must fit one patch: the patch lies around the scan's middle."""
    plan = TeacherPlan.tiny().model_copy(update={"spacing_mm": truth.geometry.spacing, "patch_size": (160, 160, 160), "minimum_tumour_ml": 0.0})
    known = torch.from_numpy(resample(truth, network_grid(truth.geometry, plan), order=0, outside=0).array.transpose(2, 1, 0).astype(np.int64))

    class Knowing(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            labels = torch.zeros(image.shape[2:], dtype=torch.int64)
            start = [(room - size) // 2 for room, size in zip(labels.shape, known.shape, strict=True)]
            labels[tuple(slice(first, first + size) for first, size in zip(start, known.shape, strict=True))] = known
            return 20 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 0)[None].float()

    return Teacher(Knowing(), plan, "knowing", "0", "none")


def test_the_card_shows_what_was_measured_and_no_scan(data: TrainingData, trained: Path, folder: Path) -> None:
    kept = [image for image in read_layout(folder / "labelled") if image.name == "kept"]
    numbers = measure(trained, data, 2, kept, Silent())
    text = write_card(trained, numbers, CardText("Phantoms.", "Two steps a stage.", "Everywhere."))
    assert numbers.kept_back is not None
    assert numbers.folds is not None
    assert {one.name for one in numbers.folds.images} == {"a", "b", "c"}
    assert '"No liver found" is also the answer where the probabilities promise a Dice under 0.94 of what has less than 800 ml' in text
    assert f"| kept | {numbers.kept_back.images[0].scores.liver.dice:.3f} |" in text
    assert "Two steps a stage." in (trained / "docs" / "README.md").read_text()
    pictures = sorted(path.name for path in (trained / "docs").glob("*.png"))
    assert pictures
    assert all(name in text for name in pictures)


def test_folds_are_scored_by_the_rules_of_the_teacher_whose_card_it_is(data: TrainingData, trained: Path) -> None:
    teacher = load_bundle(trained)
    changed = replace(teacher, plan=teacher.plan.model_copy(update={"sure_of_whole": 0.5}))
    judged = judged_folds(changed, stages_of(trained), data, 2)
    assert [one.teacher.version for one in judged] == ["9+fold0", "9+fold1"]
    assert {one.teacher.plan.sure_of_whole for one in judged} == {0.5}
    assert _same(judged[1].teacher, load_bundle(stages_of(trained) / "fold1"))


def test_the_command_trains_and_says_which_images_it_left_out(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = save_bundle(build_network(PLAN), PLAN, tmp_path / "first", name="first", version="1")
    assert first.version == "1"
    with pytest.raises(SystemExit) as end:
        main(
            ["pretrain", "--data", str(folder / "labelled"), "--out", str(tmp_path / "new"), "--start", str(tmp_path / "first")]
            + ["--minutes", "0.001", "--keep-back", "kept", "--version", "3"]
        )
    assert end.value.code == 0
    assert load_bundle(tmp_path / "new").version == "3"
    with pytest.raises(SystemExit) as refused:
        main(["pretrain", "--data", str(folder / "labelled"), "--out", str(tmp_path / "new"), "--keep-back", "nobody"])
    assert refused.value.code == 2
    assert "nobody" in capsys.readouterr().err


def test_a_scan_nobody_annotated_is_checked_like_every_other(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "unlabelled", tmp_path / "scans")
    shutil.copytree(tmp_path / "scans" / "scan", tmp_path / "scans" / "twice")
    (tmp_path / "scans" / "mr").mkdir()
    image = sitk.ReadImage(str(tmp_path / "scans" / "scan" / "ct.nii.gz"))
    sitk.WriteImage(sitk.Abs(image) * 3, str(tmp_path / "scans" / "mr" / "ct.nii.gz"))
    checked = check_scans(sorted((tmp_path / "scans").glob("*/ct.nii.gz")))
    assert [path.parent.name for path in checked.accepted] == ["scan"]
    assert {one.name: one.code for one in checked.refused} == {"mr": "not-hounsfield", "twice": "same-scan"}


def test_a_data_set_from_outside_is_read_with_its_padding_cleaned_and_its_segments_by_name(folder: Path, tmp_path: Path) -> None:
    patient = folder / "labelled" / "a"
    ct, labels = (from_sitk(sitk.ReadImage(str(patient / name))) for name in ("ct.nii.gz", "labels.nii.gz"))
    array = ct.array.astype(np.float32)
    array[:, :3] = np.nan
    sitk.WriteImage(to_sitk(ct.with_array(array)), str(tmp_path / "ct.nrrd"))
    write_segmentation(labels, tmp_path / "labels.seg.nrrd")
    scan, segments = of_a_stranger(Example(tmp_path / "ct.nrrd", tmp_path / "labels.seg.nrrd"))
    assert np.isfinite(scan.array).all()
    assert (scan.array[:, :3] == -1024).all()
    np.testing.assert_array_equal(segments.array, labels.array)


def test_a_card_without_all_its_words_is_refused_in_words(folder: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.md").write_text("# Trained on\nThree phantoms.\n# Fails\nOften.\n")
    with pytest.raises(SystemExit) as refused:
        main(["card", str(trained), "--data", str(folder / "labelled"), "--text", str(tmp_path / "words.md")])
    assert refused.value.code == 2
    assert "# Recipe" in capsys.readouterr().err
