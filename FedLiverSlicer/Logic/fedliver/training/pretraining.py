"""Training a teacher from a hospital's or a public data set. ``fedliver pretrain`` runs it; the shipped teacher was made so.

1. **finder**: the coarse network, on everything: annotated patients, images made from label maps, scans with pseudo-labels.
2. **base**: the fine network, on everything but the annotated patients.
3. **folds**: from the base, one network per fold, on the annotated patients of the other folds. Scored on its own fold, they are the cross-validation.
4. **final**: the folds' mean, trained on with all patients. Weights that started alike can be averaged (model soups, Wortsman et al. 2022).

So the cross-validation costs nothing: its networks are the way to the final one. Every stage leaves a bundle in ``TARGET-stages``; a run that was
interrupted takes up the stages that are there, and the one it was in where that stood a minute before.
"""

from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from fedliver.errors import Cancelled, FedLiverError
from fedliver.evaluation.metrics import liver_dice
from fedliver.teacher.bundle import Teacher, load_bundle, save_bundle
from fedliver.teacher.inference import segment
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import StagePlan, TeacherPlan
from fedliver.training.cropping import CroppedScans
from fedliver.training.early_stopping import EarlyStopping, Patience
from fedliver.training.layouts import DatasetImage
from fedliver.training.pseudo_labels import pseudo_labelled
from fedliver.training.savepoint import Savepoint
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import AROUND_MM, Patch, PatchSource, PatientPatches, PreparedPatient, prepared_example, read_volume
from fedliver.training.student import SilentTraining, TrainingOutcome, TrainingWatcher, train_on_patches
from fedliver.training.synthesis import SynthesisedPatches
from fedliver.watch import report

if TYPE_CHECKING:
    import torch

NAME = "fedliver_starter"
ANYWHERE_MOSTLY = (0.7, 0.3, 0.0)
WITH_LESIONS = 0.2
CROPPED = 0.4


class Recipe(BaseModel):
    """Plan and settings of every stage. A stage ends after its minutes or its steps, whichever comes first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: TeacherPlan
    finder: TrainingSettings
    base: TrainingSettings
    fold: TrainingSettings
    final: TrainingSettings
    folds: int = 4
    patience: Patience = Patience()

    @classmethod
    def of(cls, minutes: float, seed: int = 20261122, threads: int | None = None) -> "Recipe":
        """The shipped recipe, its ``minutes`` of training shared out among the stages: most of them to the folds, where the annotated patients come in."""
        common = TrainingSettings(
            steps=200_000,
            batch_size=2,
            learning_rate=1e-3,
            warm_up_steps=50,
            final_learning_rate_fraction=0.02,
            average_decay=0.99,
            seed=seed,
            threads=threads,
        )

        def stage(share: float, learning_rate: float) -> TrainingSettings:
            return common.model_copy(update={"minutes": share * minutes, "learning_rate": learning_rate})

        return cls(plan=TeacherPlan.coarse_to_fine(), finder=stage(0.06, 2e-3), base=stage(0.24, 1.5e-3), fold=stage(0.14, 1e-3), final=stage(0.14, 5e-4))


class MixedPatches:
    """Draws from each source with its probability."""

    def __init__(self, sources: Sequence[tuple[PatchSource | None, float]]) -> None:
        there = [(source, share) for source, share in sources if source is not None]
        self._sources = [source for source, _ in there]
        self._shares = np.array([share for _, share in there]) / sum(share for _, share in there)

    def draw(self, rng: np.random.Generator) -> Patch:
        return self._sources[int(rng.choice(len(self._sources), p=self._shares))].draw(rng)


@dataclass(frozen=True)
class TrainingData:
    """What there is to train on: annotated images, scans without annotation, organ label maps without scans."""

    images: tuple[DatasetImage, ...]
    unlabelled: tuple[Path, ...] = ()
    label_maps: tuple[Path, ...] = ()
    validation: tuple[DatasetImage, ...] = ()
    """Annotated images that do not train: the last stage ends when their liver Dice stops rising, and keeps its best weights."""

    def __post_init__(self) -> None:
        if not self.images:
            raise FedLiverError("no-training-data", "There is no annotated image to train on: `fedliver dataset check` says what was found and what is wrong.")

    def folds(self, wanted: int) -> int:
        """How many folds there can be: no more than patients, and none of one patient."""
        folds = min(wanted, len({image.patient for image in self.images}))
        return folds if folds > 1 else 0

    def fold(self, number: int, folds: int) -> tuple[DatasetImage, ...]:
        """The images that fold ``number`` holds out: those of every ``folds``-th patient by name."""
        patients = sorted({image.patient for image in self.images})
        held_out = {patient for index, patient in enumerate(patients) if index % folds == number}
        return tuple(image for image in self.images if image.patient in held_out)


def pretrain(
    data: TrainingData,
    target: Path,
    *,
    version: str,
    recipe: Recipe,
    name: str = NAME,
    start: Teacher | None = None,
    believe: Teacher | None = None,
    only: Collection[str] = (),
    watcher: TrainingWatcher | None = None,
) -> TrainingOutcome | None:
    """Train a teacher and write it as a bundle.

    Parameters
    ----------
    start:
        Train on from this teacher, with its plan, instead of from nothing: there is no finder and no base to train then.
    believe:
        The teacher that labels the scans nobody annotated; without one they are not used.
    only:
        Of the stages, train these only, and those before them that every fold goes on from; None is returned unless ``final`` is among them. So several
        processes, or machines with a folder in common, share the work. The final one needs every fold to be there.

    Raises
    ------
    FedLiverError
        ``unknown-stage`` for a stage there is not; ``missing-stage`` where the final one is asked for alone and a fold is not trained yet.
    Cancelled
        Within one step of the watcher's wish; finished stages are kept.
    """
    recipe = recipe if start is None else recipe.model_copy(update={"plan": start.plan})
    numbers = range(data.folds(recipe.folds))
    common = _common(recipe.plan) if start is None else []
    _check(only, [*common, *(fold_name(number) for number in numbers), "final"])
    stages = _Stages(target, name, version, recipe, watcher or SilentTraining())
    network = stages.network() if start is None else deepcopy(start.network)
    if start is None and recipe.plan.finder is not None:
        stages.finder(network, data, believe)
    if only and set(only) <= {"finder"}:
        return None
    fine = _FineSources(data, recipe.plan, believe, stages.watcher, recipe.base.seed)
    if start is None:
        stages.run("base", network, recipe.plan, fine.without_patients(), recipe.base)
    if only and set(only) <= set(common):
        return None
    of_folds = []
    for number in numbers:
        if only and fold_name(number) not in only and not stages.done(fold_name(number)):
            if "final" in only:
                raise FedLiverError("missing-stage", f"{fold_name(number)} is not trained yet: train it first, then the final stage.")
            continue
        one = deepcopy(network)
        held_out = {image.name for image in data.fold(number, len(numbers))}
        stages.run(fold_name(number), one, recipe.plan, fine.with_patients({image.name for image in data.images} - held_out), recipe.fold)
        of_folds.append(one)
    if only and "final" not in only:
        return None
    if of_folds:
        network.load_state_dict(_mean([one.state_dict() for one in of_folds]))
    stopping = EarlyStopping(_ValidationDice(recipe.plan, data.validation, stages.watcher), recipe.patience) if data.validation else None
    outcome = stages.run("final", network, recipe.plan, fine.with_patients({image.name for image in data.images}), recipe.final, stopping)
    save_bundle(network, recipe.plan, target, name=name, version=version)
    return outcome


def _common(plan: TeacherPlan) -> list[str]:
    """The stages that every fold goes on from."""
    return ["base"] if plan.finder is None else ["finder", "base"]


def _check(only: Collection[str], stages: list[str]) -> None:
    unknown = set(only) - set(stages)
    if unknown:
        raise FedLiverError("unknown-stage", f"There is no stage {sorted(unknown)[0]!r} here: choose among {', '.join(stages)}.")


def stages_of(target: Path) -> Path:
    """Where the stages of the bundle ``target`` lie."""
    return target.with_name(f"{target.name}-stages")


def fold_name(number: int) -> str:
    """The name of a fold's stage."""
    return f"fold{number}"


def _mean(states: "list[dict[str, torch.Tensor]]") -> "dict[str, torch.Tensor]":
    import torch

    return {key: torch.stack([state[key] for state in states]).mean(0) if value.dtype.is_floating_point else value for key, value in states[0].items()}


class _ValidationDice:
    """Mean liver Dice of a network on the validation images."""

    def __init__(self, plan: TeacherPlan, images: Sequence[DatasetImage], watcher: TrainingWatcher) -> None:
        self._plan = plan
        self._images = images
        self._watcher = watcher

    def __call__(self, network: "torch.nn.Module") -> float:
        teacher = Teacher(network, self._plan, NAME, "in training", "")
        scores = []
        for image in self._images:
            if self._watcher.cancelled():
                raise Cancelled("validating")
            if image.example.labels is not None:
                scores.append(liver_dice(segment(teacher, read_volume(image.example.ct)).labels.array, read_volume(image.example.labels).array))
        return float(np.mean(scores))


class _Stages:
    """Runs one stage after the other and keeps what each made."""

    def __init__(self, target: Path, name: str, version: str, recipe: Recipe, watcher: TrainingWatcher) -> None:
        self._folder = stages_of(target)
        self._name = name
        self._version = version
        self._recipe = recipe
        self.watcher = watcher

    def network(self) -> "torch.nn.Module":
        import torch

        torch.manual_seed(self._recipe.base.seed)
        return build_network(self._recipe.plan)

    def done(self, name: str) -> bool:
        """Whether the stage's bundle is there."""
        return (self._folder / name).is_dir()

    def run(
        self,
        name: str,
        network: "torch.nn.Module",
        plan: StagePlan,
        source: PatchSource,
        settings: TrainingSettings,
        stopping: EarlyStopping | None = None,
    ) -> TrainingOutcome:
        """Train ``network`` in place on ``source``, or take it from the stage's bundle if that is there."""
        if self.done(name):
            network.load_state_dict(load_bundle(self._folder / name).network.state_dict())
            return TrainingOutcome(network.eval(), 0, 0.0, 0.0)
        report(self.watcher, f"Training: {name}", 0.0)

        return self._trained(name, network, network, plan, source, settings, stopping)

    def finder(self, network: "torch.nn.Module", data: TrainingData, believe: Teacher | None) -> None:
        """Train the finder inside ``network``, which is otherwise left alone."""
        plan = self._recipe.plan.finder
        if plan is None:
            raise ValueError("the plan has no finder")
        if self.done("finder"):
            network.load_state_dict(load_bundle(self._folder / "finder").network.state_dict())
            return
        source = _finder_source(data, plan, believe, self.watcher, self._recipe.finder.seed)
        finder = network.get_submodule("finder").requires_grad_(True)
        self._trained("finder", network, finder, plan, source, self._recipe.finder)
        finder.requires_grad_(False)

    def _trained(
        self,
        name: str,
        whole: "torch.nn.Module",
        part: "torch.nn.Module",
        plan: StagePlan,
        source: PatchSource,
        settings: TrainingSettings,
        stopping: EarlyStopping | None = None,
    ) -> TrainingOutcome:
        """Train ``part`` of the ``whole`` network, from where this stage was interrupted, and keep the whole as the stage's bundle."""
        self._folder.mkdir(parents=True, exist_ok=True)
        savepoint = Savepoint(self._folder / f"{name}.savepoint", sha256(f"{plan.model_dump_json()} {settings.model_dump_json()}".encode()).hexdigest())
        outcome = train_on_patches(part, plan, source, settings, self.watcher, savepoint=savepoint, stopping=stopping)
        save_bundle(whole, self._recipe.plan, self._folder / name, name=self._name, version=f"{self._version}+{name}")
        savepoint.remove()
        return outcome


def _finder_source(data: TrainingData, plan: StagePlan, believe: Teacher | None, watcher: TrainingWatcher, seed: int) -> PatchSource:
    patients = [prepared_example(image.example, plan) for image in data.images]
    pseudo = _pseudo(data, plan, believe, watcher, None)
    mixed = MixedPatches(
        [
            (PatientPatches(patients, plan, ANYWHERE_MOSTLY), 0.3),
            (PatientPatches(pseudo, plan, ANYWHERE_MOSTLY) if pseudo else None, 0.3),
            (SynthesisedPatches(data.label_maps, plan, watcher, seed=seed) if data.label_maps else None, 0.4),
        ]
    )
    return CroppedScans(mixed, CROPPED, plan.padding_value)


def _pseudo(data: TrainingData, plan: StagePlan, believe: Teacher | None, watcher: TrainingWatcher, around_mm: float | None) -> list[PreparedPatient]:
    if believe is None:
        return []
    patients = []
    for number, path in enumerate(data.unlabelled):
        report(watcher, "Labelling scans nobody annotated", number / len(data.unlabelled))
        patients.append(pseudo_labelled(believe, read_volume(path), plan, around_mm))
    return [patient for patient in patients if patient is not None]


class _FineSources:
    """Patches for the fine network, everything read once and mixed anew for each stage."""

    def __init__(self, data: TrainingData, plan: StagePlan, believe: Teacher | None, watcher: TrainingWatcher, seed: int) -> None:
        self._plan = plan
        self._patients = {}
        for number, image in enumerate(data.images):
            report(watcher, "Reading annotated patients", number / len(data.images))
            self._patients[image.name] = prepared_example(image.example, plan, AROUND_MM)
        pseudo = _pseudo(data, plan, believe, watcher, AROUND_MM)
        self._pseudo = PatientPatches(pseudo, plan, (0.8, 0.2, 0.0)) if pseudo else None
        self._made_up = SynthesisedPatches(data.label_maps, plan, watcher, seed=seed, around_mm=AROUND_MM) if data.label_maps else None

    def without_patients(self) -> PatchSource:
        if self._pseudo is None and self._made_up is None:
            return self.with_patients(set(self._patients))
        return MixedPatches([(self._made_up, 0.85), (self._pseudo, 0.15)])

    def with_patients(self, names: set[str]) -> PatchSource:
        patients = PatientPatches([self._patients[name] for name in sorted(names)], self._plan, with_lesions=WITH_LESIONS)
        return MixedPatches([(patients, 0.62), (self._made_up, 0.26), (self._pseudo, 0.12)])
