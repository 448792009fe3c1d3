"""Training on a played graphics card: the same weights as on the processor, nothing left behind there, and a card that fails costs no more than time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_trainings import StopAfter

from fedliver.errors import Cancelled, FedLiverError
from fedliver.teacher import precision
from fedliver.teacher.device import PROCESSOR
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import NetworkPlan, TeacherPlan
from fedliver.training.early_stopping import EarlyStopping, Patience
from fedliver.training.savepoint import Savepoint
from fedliver.training.settings import ConsistencySettings, TrainingSettings
from fedliver.training.sources import Patch
from fedliver.training.student import TrainingOutcome, train_on_patches
from played_card import CARD, played_card

PLAN = TeacherPlan.tiny().model_copy(
    update={"network": NetworkPlan(channels=(4, 8), strides=(2,), residual_units=1, fold=2, activation="LEAKYRELU"), "patch_size": (16, 16, 16)}
)
SETTINGS = TrainingSettings(steps=3, learning_rate=1e-2, average_decay=0.9, batch_size=2, proximal=0.1)
MEAN_TEACHER = [
    SETTINGS.model_copy(update={"consistency": ConsistencySettings(loss=loss, weight=50.0, sure=1.0, noise=0.05)})
    for loss in ConsistencySettings.model_fields["loss"].annotation.__args__  # type: ignore[union-attr]
]
pytestmark = pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")  # of the played card's borrowed name
ON_CARD_ONLY = replace(CARD, was_asked_for=True)


class _Balls:
    """Bright balls with a brighter core in noise."""

    def draw(self, rng: np.random.Generator) -> Patch:
        distance = np.linalg.norm(np.indices((16, 16, 16)) - rng.integers(5, 11, (3, 1, 1, 1)), axis=0)
        labels = (distance < 5).astype(np.uint8) + (distance < 2)
        return Patch((labels * 0.3 + rng.random((16, 16, 16)) * 0.3).astype(np.float32)[None], labels[None], True)


@pytest.fixture(autouse=True)
def _float32_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda _device: False)


def _trained(settings: TrainingSettings = SETTINGS, **other: object) -> TrainingOutcome:
    torch.manual_seed(0)
    unlabelled = _Balls() if settings.consistency else None
    return train_on_patches(build_network(PLAN), _Balls(), settings, unlabelled=unlabelled, **{"device": PROCESSOR} | other)  # type: ignore[arg-type]


def _assert_same(one: TrainingOutcome, other: TrainingOutcome) -> None:
    assert one.loss == pytest.approx(other.loss)
    for name, value in one.network.state_dict().items():
        assert value.device.type == "cpu"
        torch.testing.assert_close(value, other.network.state_dict()[name], msg=name)


@pytest.mark.parametrize("settings", [SETTINGS, *MEAN_TEACHER], ids=lambda settings: settings.consistency.loss if settings.consistency else "supervised")
def test_the_weights_are_those_of_the_processor_and_come_back_to_it(settings: TrainingSettings) -> None:
    with played_card():
        on_card = _trained(settings, device=ON_CARD_ONLY)
    assert on_card.ran_on.title == "Played card"
    _assert_same(on_card, _trained(settings))


def test_the_best_weights_are_judged_on_the_card_and_handed_back_from_it() -> None:
    seen = []

    def judge(network: torch.nn.Module) -> float:
        seen.append(next(iter(network.state_dict().values())).device.type)
        return -float(len(seen))  # the first look is the best

    with played_card():
        outcome = _trained(SETTINGS.model_copy(update={"steps": 6}), device=ON_CARD_ONLY, stopping=EarlyStopping(judge, Patience(every_steps=1, looks=2)))
    assert seen == ["meta"] * 3
    assert outcome.steps == 3
    _assert_same(outcome, _trained(SETTINGS.model_copy(update={"steps": 6}), stopping=EarlyStopping(_falling(), Patience(every_steps=1, looks=2))))


def _falling():  # type: ignore[no-untyped-def]
    scores = iter(range(0, -100, -1))
    return lambda _: float(next(scores))


class _Failing:
    """A card that fails at a step's gradients: the n-th of them."""

    def __init__(self, at: int, failure: RuntimeError) -> None:
        self._left, self._failure = at, failure

    def __call__(self, operation: str) -> None:
        if operation.startswith("aten::convolution_backward"):
            self._left -= 1
            if self._left == 0:
                raise self._failure


@pytest.mark.parametrize("at", [1, 8], ids=["first step", "later"])
def test_a_card_that_fails_is_given_up_for_the_processor_and_the_weights_are_what_they_would_have_been(at: int) -> None:
    with played_card(_Failing(at, torch.cuda.OutOfMemoryError("CUDA out of memory"))) as card:
        outcome = _trained(device=card)
    assert outcome.ran_on.sentence == "Runs on the processor: the memory of the graphics card Played card was full."
    _assert_same(outcome, _trained())


def test_a_card_that_was_asked_for_by_name_is_not_given_up_silently() -> None:
    with played_card(_Failing(1, RuntimeError("CUDA error"))), pytest.raises(FedLiverError) as refusal:
        _trained(device=ON_CARD_ONLY)
    assert refusal.value.code == "graphics-card-failed"


def test_a_mistake_of_ours_is_not_blamed_on_the_card() -> None:
    class Broken:
        def draw(self, rng: np.random.Generator) -> Patch:
            raise RuntimeError("a mistake")

    with played_card() as card, pytest.raises(RuntimeError, match="a mistake"):
        train_on_patches(build_network(PLAN), Broken(), SETTINGS, device=card)


def test_a_training_that_was_stopped_on_the_processor_goes_on_on_a_card(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        _trained(watcher=StopAfter(2), savepoint=Savepoint(tmp_path / "standing", "key"))
    with played_card():
        outcome = _trained(device=ON_CARD_ONLY, savepoint=Savepoint(tmp_path / "standing", "key", every_seconds=1e9))
    assert outcome.steps == 3
    _assert_same(outcome, _trained())
