"""Training a teacher from a hospital's or a public data set. ``fedliver pretrain`` runs it; the shipped teacher was made so.

1. **finder**: the coarse network, on everything: annotated patients, images made from label maps, scans with pseudo-labels.
2. **base**: the fine network, on everything but the annotated patients.
3. **folds**: from the base, one network per fold, on the annotated patients of the other folds. Scored on its own fold, they are the cross-validation.
4. **final**: the folds' mean, trained on with all patients. Weights that started alike can be averaged (model soups, Wortsman et al. 2022).

So the cross-validation costs nothing: its networks are the way to the final one. Every stage leaves a bundle in ``TARGET-stages``; a run that was
interrupted takes up the stages that are there, and the one it was in where that stood a minute before.
"""

from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from fedliver.datasets.layouts import DatasetImage
from fedliver.errors import Cancelled, FedLiverError
from fedliver.evaluation.metrics import liver_dice
from fedliver.teacher.bundle import Teacher, check_bundle_target, load_bundle, save_bundle
from fedliver.teacher.device import Device
from fedliver.teacher.inference import segment
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.early_stopping import EarlyStopping, Patience
from fedliver.training.mixtures import FineSources, TrainingData, Workplace, finder_source
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import of_a_stranger
from fedliver.training.stages import Stages, fold_name, folds_of, trained_on
from fedliver.training.student import SilentTraining, TrainingOutcome, TrainingWatcher

if TYPE_CHECKING:
    import torch

NAME = "fedliver_starter"


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
    fine_mm: float | None = None
    """The fine network's grid where it is not the plan's, nor that of the teacher to start from."""

    @classmethod
    def of(cls, minutes: float, seed: int = 20261122, threads: int | None = None, fine_mm: float | None = None) -> "Recipe":
        """The shipped recipe, its ``minutes`` of training shared out among the stages: most of them to the folds, where the annotated patients come in."""

        def stage(share: float, learning_rate: float) -> TrainingSettings:
            return TrainingSettings(
                steps=200_000,
                minutes=share * minutes,
                batch_size=2,
                learning_rate=learning_rate,
                warm_up_steps=50,
                final_learning_rate_fraction=0.02,
                average_decay=0.99,
                seed=seed,
                threads=threads,
            )

        stages = {"finder": stage(0.06, 2e-3), "base": stage(0.24, 1.5e-3), "fold": stage(0.14, 1e-3), "final": stage(0.14, 5e-4)}
        return cls(plan=TeacherPlan.coarse_to_fine(), fine_mm=fine_mm, **stages)

    def on_from(self, start: "Start | None") -> "Recipe":
        """This recipe with the plan of the teacher it starts from, and the fine network on its own grid if it has one.

        Raises
        ------
        FedLiverError
            ``grid`` where the grid is too fine for a workstation.
        """
        plan = self.plan if start is None else start.teacher.plan
        if self.fine_mm is not None:
            try:
                plan = TeacherPlan.model_validate(plan.model_dump() | {"spacing_mm": (self.fine_mm,) * 3})
            except ValidationError as error:
                raise FedLiverError("grid", f"The fine network cannot work on a grid of {self.fine_mm:g} mm: {error.errors()[0]['msg']}.") from error
        return self.model_copy(update={"plan": plan})


@dataclass(frozen=True)
class Start:
    """What to train on from: a teacher, and its folds where they held out the same patients. A fold that goes on from the teacher itself has seen all."""

    teacher: Teacher
    folds: tuple[Teacher, ...] = ()

    @classmethod
    def read(cls, bundle: Path, data: TrainingData, folds: int) -> "Start":
        """The teacher in ``bundle``, and its folds if their stages lie beside it, all of them, and were trained on this very data."""
        there = folds_of(bundle) if trained_on(bundle, data.key) else ()
        return cls(load_bundle(bundle), there if len(there) == data.folds(folds) else ())

    def network(self, fold: int) -> "torch.nn.Module":
        """What a fold goes on from: a copy."""
        return deepcopy(self.folds[fold].network if self.folds else self.teacher.network)


def pretrain(
    data: TrainingData,
    target: Path,
    *,
    version: str,
    recipe: Recipe,
    name: str = NAME,
    start: Start | None = None,
    believe: Teacher | None = None,
    only: Collection[str] = (),
    watcher: TrainingWatcher | None = None,
    device: Device | None = None,
) -> TrainingOutcome | None:
    """Train a teacher and write it as a bundle.

    Parameters
    ----------
    start:
        Train on from this teacher, with its plan, instead of from nothing: there is no finder and no base to train then. Each fold goes on from its own where
        there are such, or else the cross-validation would be of networks that had seen everybody.
    believe:
        The teacher that labels the scans nobody annotated; without one they are not used.
    only:
        Of the stages, train these only, and those before them that every fold goes on from; None is returned unless ``final`` is among them. So several
        processes, or machines with a folder in common, share the work. The final one needs every fold to be there.
    device:
        Where to train; the graphics card with the most room if not given, or the processor.

    Raises
    ------
    FedLiverError
        ``exists`` where ``target`` is a folder with other things in it; ``unknown-stage`` for a stage there is not; ``missing-stage`` where the final one
        is asked for alone and a fold is not trained yet; ``other-data`` where there are stages of other data.
    Cancelled
        Within one step of the watcher's wish; finished stages are kept.
    """
    check_bundle_target(target)
    recipe = recipe.on_from(start)
    common = _common(recipe.plan) if start is None else []
    _check(only, [*common, *(fold_name(number) for number in range(data.folds(recipe.folds))), "final"])
    watcher = watcher or SilentTraining()
    workplace = Workplace(watcher, believe, device, recipe.base.threads)
    stages = Stages(target, name, version, recipe.plan, watcher, device)
    teachers = [*((start.teacher, *start.folds) if start else ()), *([believe] if believe else [])]
    stages.are_of(data.key, *(teacher.sha256 for teacher in teachers), *([f"{recipe.fine_mm} mm"] if recipe.fine_mm else []))
    network = _untrained(recipe) if start is None else deepcopy(start.teacher.network)
    finder = recipe.plan.finder
    if start is None and finder is not None:
        stages.finder(network, finder, lambda: finder_source(data, finder, workplace, recipe.finder.seed), recipe.finder)
    if only and set(only) <= {"finder"}:
        return None
    fine = FineSources(data, recipe.plan, workplace, recipe.base.seed)
    if start is None:
        stages.run("base", network, recipe.plan, fine.without_patients(), recipe.base)
    if only and set(only) <= set(common):
        return None
    of_folds = _folds(stages, lambda fold: deepcopy(network) if start is None else start.network(fold), fine, data, recipe, only)
    if only and "final" not in only:
        return None
    if of_folds:
        network.load_state_dict(_mean([one.state_dict() for one in of_folds]))
    stopping = EarlyStopping(_ValidationDice(recipe.plan, data.validation, watcher, device), recipe.patience) if data.validation else None
    outcome = stages.run("final", network, recipe.plan, fine.with_patients({image.name for image in data.images}), recipe.final, stopping)
    save_bundle(network, recipe.plan, target, name=name, version=version)
    return outcome


def _folds(
    stages: Stages, base: "Callable[[int], torch.nn.Module]", fine: FineSources, data: TrainingData, recipe: Recipe, only: Collection[str]
) -> "list[torch.nn.Module]":
    """The folds' networks that are asked for, and those that are there."""
    everyone = {image.name for image in data.images}
    folds = data.folds(recipe.folds)
    trained = []
    for number in range(folds):
        name = fold_name(number)
        if only and name not in only and not stages.done(name):
            if "final" in only:
                raise FedLiverError("missing-stage", f"{name} is not trained yet: train it first, then the final stage.")
            continue
        network = base(number)
        held_out = {image.name for image in data.fold(number, folds)}
        stages.run(name, network, recipe.plan, fine.with_patients(everyone - held_out), recipe.fold)
        trained.append(network)
    return trained


def _common(plan: TeacherPlan) -> list[str]:
    """The stages that every fold goes on from."""
    return ["base"] if plan.finder is None else ["finder", "base"]


def _check(only: Collection[str], stages: list[str]) -> None:
    unknown = set(only) - set(stages)
    if unknown:
        raise FedLiverError("unknown-stage", f"There is no stage {sorted(unknown)[0]!r} here: choose among {', '.join(stages)}.")


def _untrained(recipe: Recipe) -> "torch.nn.Module":
    import torch

    torch.manual_seed(recipe.base.seed)
    return build_network(recipe.plan)


def _mean(states: "list[dict[str, torch.Tensor]]") -> "dict[str, torch.Tensor]":
    import torch

    return {key: torch.stack([state[key] for state in states]).mean(0) if value.dtype.is_floating_point else value for key, value in states[0].items()}


class _ValidationDice:
    """Mean liver Dice of a network on the validation images."""

    def __init__(self, plan: TeacherPlan, images: Sequence[DatasetImage], watcher: TrainingWatcher, device: Device | None) -> None:
        self._plan = plan
        self._images = images
        self._device = device
        self._watcher = watcher

    def __call__(self, network: "torch.nn.Module") -> float:
        teacher = Teacher(network, self._plan, NAME, "in training", "")
        scores = []
        for image in self._images:
            if self._watcher.cancelled():
                raise Cancelled("validating")
            ct, labels = of_a_stranger(image.example)
            scores.append(liver_dice(segment(teacher, ct, device=self._device).labels.array, labels.array))
        return float(np.mean(scores))
