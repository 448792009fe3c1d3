"""The recipe of the shipped teacher: real patients and images made from label maps, mixed. ``fedliver train starter`` runs it.

A folder of data holds ``liver_ct/labelled/NAME/{ct,labels}.nii.gz`` and ``label_maps/*.nii.gz``.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fedliver.errors import FedLiverError
from fedliver.teacher.bundle import load_bundle, save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.examples import Example
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import Patch, PatchSource, PatientPatches
from fedliver.training.student import SilentTraining, TrainingOutcome, TrainingWatcher, train_on_patches
from fedliver.training.synthesis import SynthesisedPatches

NAME = "fedliver_starter"
TUMOURS_AS_LIVER = ("lits_11", "lits_12")
"""Patients of LiTS whose tumours are annotated as liver."""
SYNTHETIC_SHARE = 0.4

SMALL_RECIPE = TrainingSettings(
    steps=3600, batch_size=2, learning_rate=1e-3, warm_up_steps=100, final_learning_rate_fraction=0.01, average_decay=0.995, seed=20261121
)


class MixedPatches:
    """Draws from each source with its probability."""

    def __init__(self, sources: list[tuple[PatchSource, float]]) -> None:
        self._sources = [source for source, _ in sources]
        self._shares = np.array([share for _, share in sources]) / sum(share for _, share in sources)

    def draw(self, rng: np.random.Generator) -> Patch:
        return self._sources[int(rng.choice(len(self._sources), p=self._shares))].draw(rng)


def labelled_examples(data: Path, leave_out: tuple[str, ...]) -> list[Example]:
    """The annotated patients of a data folder, but for those named in ``leave_out``."""
    found = sorted(path.parent for path in data.glob("liver_ct/labelled/*/labels.nii.gz") if (path.parent / "ct.nii.gz").is_file())
    chosen = [folder for folder in found if folder.name not in leave_out]
    if not chosen:
        raise FedLiverError("no-training-data", f"{data} holds no annotated patients: expected liver_ct/labelled/NAME/ct.nii.gz and labels.nii.gz.")
    return [Example(folder / "ct.nii.gz", folder / "labels.nii.gz", folder.name not in TUMOURS_AS_LIVER) for folder in chosen]


def train_starter(
    data: Path,
    target: Path,
    *,
    version: str,
    plan: TeacherPlan | None = None,
    settings: TrainingSettings = SMALL_RECIPE,
    start: Path | None = None,
    leave_out: tuple[str, ...] = ("chaos_03",),
    card: Callable[[TrainingOutcome], str] | None = None,
    watcher: TrainingWatcher | None = None,
) -> TrainingOutcome:
    """Train a teacher, from nothing or on from the bundle ``start`` (whose plan is kept), and write it as a bundle.

    Checkpoints, bundles too, appear beside ``target`` with ``-step`` after their name.
    """
    import torch

    watcher = watcher or SilentTraining()
    first = load_bundle(start) if start else None
    plan = first.plan if first else plan or TeacherPlan()
    torch.manual_seed(settings.seed)
    network = first.network if first else build_network(plan)
    sources: list[tuple[PatchSource, float]] = [(PatientPatches(labelled_examples(data, leave_out), plan, watcher), 1 - SYNTHETIC_SHARE)]
    maps = sorted(data.glob("label_maps/*.nii.gz"))
    if maps:
        sources.append((SynthesisedPatches(maps, plan, watcher, seed=settings.seed), SYNTHETIC_SHARE))

    def checkpoint(step: int, network: "torch.nn.Module") -> None:
        save_bundle(network, plan, target.with_name(f"{target.name}-step"), name=NAME, version=f"{version}+step{step}")

    outcome = train_on_patches(network, plan, MixedPatches(sources), settings, watcher, checkpoint)
    save_bundle(outcome.network, plan, target, name=NAME, version=version, card=card(outcome) if card else "")
    return outcome
