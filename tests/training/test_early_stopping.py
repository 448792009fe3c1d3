"""Training ends when a validation score stops rising, and hands back the best it had; its losses can be looked at in TensorBoard."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_trainings import StopAfter

from fedliver.errors import Cancelled
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.early_stopping import EarlyStopping, Patience
from fedliver.training.savepoint import Savepoint
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import Patch
from fedliver.training.student import SilentTraining, TrainingOutcome, train_on_patches
from fedliver.training.tensorboard import TensorBoardWatcher

PLAN = TeacherPlan.tiny()


class Noise:
    """Patches of nothing."""

    def draw(self, rng: np.random.Generator) -> Patch:
        return Patch(rng.random((1, *PLAN.patch_size), np.float32), np.zeros((1, *PLAN.patch_size), np.uint8), True)


class Told:
    """A judge that gives these scores, one after the other, and remembers the weights it saw."""

    def __init__(self, *scores: float) -> None:
        self.scores = list(scores)
        self.seen: list[dict[str, torch.Tensor]] = []

    def __call__(self, network: torch.nn.Module) -> float:
        assert not network.training
        self.seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return self.scores[len(self.seen) - 1]


def run(stopping: EarlyStopping, watcher: SilentTraining | None = None, savepoint: Savepoint | None = None, decay: float = 0.9) -> TrainingOutcome:
    torch.manual_seed(0)
    settings = TrainingSettings(steps=40, augment=False, learning_rate=1e-2, average_decay=decay)
    return train_on_patches(build_network(PLAN), Noise(), settings, watcher, savepoint=savepoint, stopping=stopping)


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_it_ends_after_so_many_looks_in_vain_with_the_best_weights_it_saw(decay: float) -> None:
    judge = Told(0.5, 0.8, 0.7, 0.8, 0.9)
    outcome = run(EarlyStopping(judge, Patience(every_steps=2, looks=2)), decay=decay)
    assert outcome.steps == 8, "an equal score is no better one"
    for name, value in outcome.network.state_dict().items():
        assert torch.equal(value, judge.seen[1][name])


def test_while_it_rises_it_goes_on_to_the_end() -> None:
    stopping = EarlyStopping(Told(*np.linspace(0, 1, 20)), Patience(every_steps=2, looks=1))
    assert run(stopping).steps == 40
    assert stopping.best_score == 1


def test_interrupted_it_still_knows_the_best_and_how_long_it_has_hoped(tmp_path: Path) -> None:
    judge = Told(0.5, 0.8, 0.7, 0.6, 0.9)
    savepoint = Savepoint(tmp_path / "savepoint", "key")
    with pytest.raises(Cancelled):
        run(EarlyStopping(judge, Patience(every_steps=2, looks=2)), StopAfter(6), savepoint)
    outcome = run(EarlyStopping(judge, Patience(every_steps=2, looks=2)), savepoint=savepoint)
    assert outcome.steps == 8
    assert all(torch.equal(value, judge.seen[1][name]) for name, value in outcome.network.state_dict().items())


def test_tensorboard_reads_the_losses_of_every_stage(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told: list[tuple[int, float]] = []

    class Listening(SilentTraining):
        def step(self, n: int, total: int, loss: float) -> None:
            told.append((n, loss))

    with TensorBoardWatcher(Listening(), tmp_path) as watcher:
        watcher.report("Training: base", 0.0)
        watcher.step(1, 2, 0.5)
        watcher.report("Reading annotated patients", 0.0)
        watcher.step(2, 2, 0.25)
        watcher.report("Training: final", 0.0)
        watcher.step(1, 1, 0.125)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/base")] == [(1, 0.5), (2, 0.25)]
    assert [(event.step, event.value) for event in events.Scalars("loss/final")] == [(1, 0.125)]
    assert told == [(1, 0.5), (2, 0.25), (1, 0.125)]
