"""A study on a played graphics card gives the scores that it gives on the processor, and says where it ran."""

from pathlib import Path

import pytest
from tiny_studies import hearts, pictures

from fedliver.study.federated.engine import InProcess
from fedliver.study.federated.results import ArmResult
from fedliver.study.federated.run import run_study
from fedliver.study.federated.task import Arm, Task
from fedliver.teacher import precision
from fedliver.teacher.device import PROCESSOR, Device
from fedliver.watch import Silent
from played_card import CARD, played_card

pytestmark = pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")  # of the played card's borrowed name
PROX = Arm.model_validate({"way": "federated", "clients": 2, "strategy": {"name": "fedprox", "mu": 1.0}})
ARMS = (Arm(way="centralised"), Arm(way="alone", clients=2), PROX, Arm(way="federated", clients=2, compressed=True))


@pytest.fixture(autouse=True)
def _float32_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda _device: False)


def _run(task: Task, out: Path, device: Device) -> dict[str, ArmResult]:
    return {result.arm: result for result in run_study(task, out, InProcess(), Silent(), device=device)}


@pytest.mark.parametrize("kind", ["segmentation", "classification"])
def test_a_card_gives_the_scores_of_the_processor_and_is_named_in_the_result(tmp_path: Path, kind: str) -> None:
    task = hearts(ARMS) if kind == "segmentation" else pictures(tmp_path / "pictures", ARMS)
    with played_card():
        there = _run(task, tmp_path / "card", CARD)
    here = _run(task, tmp_path / "processor", PROCESSOR)
    for name, result in here.items():
        assert there[name].loss == pytest.approx(result.loss, rel=1e-4)
        assert there[name].value == pytest.approx(result.value, abs=1e-3)
        assert there[name].machine == f"{result.machine}, on the graphics card {CARD.title}"
