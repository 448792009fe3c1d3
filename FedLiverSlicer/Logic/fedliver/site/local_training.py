"""Learning at one site alone: its current teacher, trained on with the site's own cases, and adopted only if it is not worse on the held-out ones."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from filelock import FileLock, Timeout

from fedliver.cases.teachers import Origin, TeacherVersion
from fedliver.errors import FedLiverError
from fedliver.site.adoption import AdoptionDecision, compare_and_adopt
from fedliver.site.home import SiteHome
from fedliver.training.savepoint import Savepoint
from fedliver.training.settings import ConsistencySettings, TrainingSettings

if TYPE_CHECKING:
    from fedliver.cases.examples import Example
    from fedliver.teacher.bundle import Teacher
    from fedliver.training.student import TrainingOutcome, TrainingWatcher

NAME = "fedliver_local"
_MOST_STEPS = 20_000


class Trainer(Protocol):
    """Seam to the training: :func:`fedliver.training.student.train`."""

    def __call__(
        self, teacher: "Teacher", examples: "Sequence[Example]", settings: TrainingSettings, watcher: "TrainingWatcher", savepoint: Savepoint
    ) -> "TrainingOutcome": ...


@dataclass(frozen=True)
class Learnt:
    """What came of it. ``minutes``: of training alone, all sittings together."""

    cases: int
    unlabelled: int
    steps: int
    minutes: float
    decision: AdoptionDecision


def settings_for(minutes: float, unlabelled: bool) -> TrainingSettings:
    """Gentle settings: a teacher that has learned from many is trained on with few."""
    consistency = ConsistencySettings() if unlabelled else None
    return TrainingSettings(
        steps=_MOST_STEPS,
        minutes=minutes,
        batch_size=2,
        learning_rate=2e-4,
        warm_up_steps=20,
        final_learning_rate_fraction=0.05,
        average_decay=0.99,
        consistency=consistency,
    )


def learn_from_own_cases(
    home: SiteHome,
    settings: TrainingSettings,
    watcher: "TrainingWatcher",
    *,
    trainer: Trainer | None = None,
    compare: Callable[..., AdoptionDecision] = compare_and_adopt,
) -> Learnt:
    """Train the current teacher on with this site's approved cases (and, with ``settings.consistency``, its scans without approval), judge it, adopt it.

    Interrupted at any moment, it goes on from at most a minute before when it is called again with the same settings, cases and teacher.

    Raises
    ------
    FedLiverError
        ``training-busy`` (another process of this site trains), ``no-approved-case``, and what reading, training and judging raise.
    Cancelled
        Within one step; the work is kept.
    """
    from fedliver.teacher.bundle import load_bundle, save_bundle
    from fedliver.training.student import train

    with _alone(home.path / "training") as folder:
        store, shelf = home.store(), home.shelf()
        approved = store.training_examples()
        unlabelled = store.unlabelled_examples() if settings.consistency else []
        if not approved and not unlabelled:
            raise FedLiverError("no-approved-case", "There is no approved case to learn from: segment, correct and approve at least one case first.")
        current = shelf.current()
        teacher = load_bundle(current.bundle)
        examples = [*approved, *unlabelled]
        savepoint = Savepoint(folder / "student.savepoint", _key(current, examples, settings))
        outcome = (trainer or train)(teacher, examples, settings, watcher, savepoint)
        with TemporaryDirectory(dir=folder) as made:
            bundle = Path(made) / "bundle"
            save_bundle(outcome.network, teacher.plan, bundle, name=NAME, version=f"after {current.version}")
            decision = compare(shelf, store, bundle, watcher, origin=Origin(source="training", parent=current.version, cases=len(approved)))
        savepoint.remove()
        return Learnt(len(approved), len(unlabelled), outcome.steps, outcome.seconds / 60, decision)


def _key(current: TeacherVersion, examples: "Sequence[Example]", settings: TrainingSettings) -> str:
    """A training of another teacher, of other cases or with other settings is another training."""
    cases = [f"{example.ct.parent.name} {example.labels.name if example.labels else ''}" for example in examples]
    return hashlib.sha256("\n".join([current.sha256, settings.model_dump_json(), *cases]).encode()).hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """The folder of this site's own training, for one process at a time."""
    folder.mkdir(exist_ok=True, mode=0o700)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FedLiverError("training-busy", "Another FedLiver process is training for this site: wait until it has finished, or stop it.") from error
    try:
        yield folder
    finally:
        lock.release()
