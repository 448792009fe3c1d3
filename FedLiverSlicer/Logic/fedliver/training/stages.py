"""The stages of a pre-training on disk: each is a bundle beside the target, and one that was interrupted goes on where it stood a minute before."""

from collections.abc import Callable
from hashlib import sha256
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from fedliver.errors import FedLiverError
from fedliver.files import write_text
from fedliver.teacher.bundle import Teacher, load_bundle, save_bundle
from fedliver.teacher.device import Device
from fedliver.teacher.plan import StagePlan, TeacherPlan
from fedliver.training.early_stopping import EarlyStopping
from fedliver.training.savepoint import Savepoint
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import PatchSource
from fedliver.training.student import TrainingOutcome, TrainingWatcher, train_on_patches
from fedliver.watch import report

if TYPE_CHECKING:
    import torch

_DATA = "data.sha256"


def stages_of(target: Path) -> Path:
    """Where the stages of the bundle ``target`` lie."""
    return target.with_name(f"{target.name}-stages")


def fold_name(number: int) -> str:
    """The name of a fold's stage."""
    return f"fold{number}"


def trained_on(target: Path, data: str) -> bool:
    """Whether the stages of the bundle ``target`` are there and of the data with this key."""
    note = stages_of(target) / _DATA
    return note.is_file() and note.read_text().split()[:1] == [data]


def folds_of(target: Path) -> tuple[Teacher, ...]:
    """The folds of the bundle ``target``, in order."""
    numbers = takewhile(lambda number: (stages_of(target) / fold_name(number)).is_dir(), count())
    return tuple(load_bundle(stages_of(target) / fold_name(number)) for number in numbers)


class Stages:
    """Runs one stage after the other and keeps what each made.

    Parameters
    ----------
    target, name, version:
        Where the last stage's bundle will lie, and what it will be called.
    plan:
        Of every bundle.
    device:
        Where to train; chosen at each stage if not given.
    """

    def __init__(self, target: Path, name: str, version: str, plan: TeacherPlan, watcher: TrainingWatcher, device: Device | None = None) -> None:
        self._folder = stages_of(target)
        self._name = name
        self._version = version
        self._plan = plan
        self._watcher = watcher
        self._device = device

    def are_of(self, data: str, *more: str) -> None:
        """Say what data the stages are trained on, by their keys: the data's own, then what else made them what they are.

        Raises
        ------
        FedLiverError
            ``other-data`` where there are stages that were trained on other data: they would be taken for these.
        """
        note, key = self._folder / _DATA, " ".join([data, *more])
        if note.is_file() and note.read_text().strip() != key:
            raise FedLiverError("other-data", f"{self._folder} holds stages that were trained on other data: choose another --out, or remove that folder.")
        self._folder.mkdir(parents=True, exist_ok=True)
        write_text(note, f"{key}\n")

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
        return self._trained(name, network, network, plan, source, settings, stopping)

    def finder(self, network: "torch.nn.Module", plan: StagePlan, source: Callable[[], PatchSource], settings: TrainingSettings) -> None:
        """Train the finder inside ``network``, which is otherwise left alone; ``source`` is asked for only if it is not there yet."""
        if self.done("finder"):
            network.load_state_dict(load_bundle(self._folder / "finder").network.state_dict())
            return
        finder = network.get_submodule("finder").requires_grad_(True)
        self._trained("finder", network, finder, plan, source(), settings)
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
        report(self._watcher, f"Training: {name}", 0.0)
        savepoint = Savepoint(self._folder / f"{name}.savepoint", sha256(f"{plan.model_dump_json()} {settings.model_dump_json()}".encode()).hexdigest())
        outcome = train_on_patches(part, source, settings, self._watcher, savepoint=savepoint, stopping=stopping, device=self._device)
        save_bundle(whole, self._plan, self._folder / name, name=self._name, version=f"{self._version}+{name}")
        savepoint.remove()
        return outcome
