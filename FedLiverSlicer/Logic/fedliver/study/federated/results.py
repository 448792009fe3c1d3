"""What an arm came to, and the folder in which a study's results wait: one JSON file for every finished arm and seed, whole or absent."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedliver.errors import FedLiverError
from fedliver.files import write_text
from fedliver.study.federated.prepared import Prepared
from fedliver.study.federated.scores import CaseScore
from fedliver.study.federated.task import Arm, Task


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Point(_Frozen):
    """Where an arm stood after a round: the mean score of the curve's cases, and what it had cost by then."""

    round: int
    steps: int
    """Of every site."""
    score: float
    megabytes: float
    """All sites', down and up."""
    seconds: float
    """Processor time if the sites work side by side: of every round the slowest."""


class SiteFacts(_Frozen):
    """What a site held; counts, no names."""

    images: int
    mixture: dict[str, int] = {}
    """Images by class, or by group where there is no class."""


class Model(_Frozen):
    """A trained model's test scores. ``site`` is the one that it was trained at alone; None for a model of all."""

    site: int | None = None
    cases: tuple[CaseScore, ...]


class ArmResult(_Frozen):
    """One arm, one seed."""

    arm: str
    seed: int
    sites: tuple[SiteFacts, ...]
    curve: tuple[Point, ...]
    models: tuple[Model, ...] = Field(min_length=1)
    loss: float
    parameters: int
    computed_seconds: float
    """Processor time of all sites' training together."""
    wall_seconds: float
    """From beginning to end on this machine, scoring included."""
    taken: int | None = None
    """Gradient steps of all sites together, counted as they were taken; None in results from before they were counted."""
    begun: tuple[str, ...] = ()
    """SHA-256 of the weights that training began from: one for all sites, if the arm is what it should be."""
    epsilon: float | None = None
    engine: str
    machine: str

    @property
    def value(self) -> float:
        """The mean over test cases, and over sites where each has a model of its own."""
        values = [case.value for model in self.models for case in model.cases]
        return sum(values) / len(values)


class Subject(_Frozen):
    """What a folder's results are about, in its ``study.json``."""

    basis: dict[str, Any]
    images: str
    """SHA-256 of the list of prepared images: it says whether they are the same, and nothing else about them."""
    patients: int
    classes: tuple[str, ...] = ()


class ResultFolder:
    """The results of one study."""

    def __init__(self, folder: Path, task: Task) -> None:
        self._folder = folder / "results"
        self._about = folder / "study.json"
        self._task = task

    def check(self) -> None:
        """Raises FedLiverError ``other-study`` where the folder holds results of another task."""
        kept = self.subject()
        if kept is not None and kept.basis != self._task.basis:
            raise self._other()

    def begin(self, prepared: Prepared) -> None:
        """Note what the results depend on. Raises FedLiverError ``other-study`` where the folder holds results of something else."""
        patients = len({record.patient for record in prepared.records})
        now = Subject(basis=self._task.basis, images=prepared.fingerprint, patients=patients, classes=prepared.classes)
        if self.subject() not in (None, now):
            raise self._other()
        write_text(self._about, now.model_dump_json(indent=1) + "\n")
        # Prepared images are patients' as the originals are: they must not slip into a repository with the results.
        write_text(self._about.with_name(".gitignore"), "prepared/\nscratch/\n")

    def subject(self) -> Subject | None:
        """What the results are about; None where nothing has begun."""
        if not self._about.is_file():
            return None
        try:
            return Subject.model_validate_json(self._about.read_bytes())
        except (ValidationError, OSError) as error:
            raise FedLiverError("results-unreadable", f"{self._about} cannot be read: give another folder.") from error

    def _other(self) -> FedLiverError:
        return FedLiverError("other-study", f"{self._about.parent} holds another study: give another folder, or the task and the data it was begun with.")

    def get(self, arm: Arm, seed: int) -> ArmResult | None:
        """The result, if it is there and whole."""
        path = self._path(arm, seed)
        if not path.is_file():
            return None
        try:
            return ArmResult.model_validate_json(path.read_bytes())
        except (ValidationError, OSError) as error:
            raise FedLiverError("results-unreadable", f"{path} cannot be read: take it away, and the arm is run again.") from error

    def put(self, arm: Arm, result: ArmResult) -> None:
        """Keep a result."""
        write_text(self._path(arm, result.seed), result.model_dump_json(exclude_none=True) + "\n")

    def missing(self) -> list[tuple[Arm, int]]:
        """Every arm and seed of the task that is still to run, a seed at a time, so that an interrupted study has whole seeds."""
        wanted = [(arm, seed) for seed in range(self._task.seeds) for arm in self._task.arms if seed in self._task.seeds_of(arm)]
        return [(arm, seed) for arm, seed in wanted if not self._path(arm, seed).is_file()]

    def all(self) -> Sequence[ArmResult]:
        """The results of the task's arms that are there."""
        found = (self.get(arm, seed) for arm in self._task.arms for seed in self._task.seeds_of(arm))
        return [result for result in found if result is not None]

    def _path(self, arm: Arm, seed: int) -> Path:
        return self._folder / f"{arm.name}.seed-{seed}.json"
