"""The whole segmentation on a played graphics card: nothing is left behind on the processor, and a card that fails costs no answer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from stopping_watch import StoppingWatch

from fedliver.cli.main import main
from fedliver.errors import Cancelled, FedLiverError
from fedliver.image import Volume, to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.teacher import precision
from fedliver.teacher.bundle import Teacher, save_bundle
from fedliver.teacher.device import PROCESSOR
from fedliver.teacher.inference import segment, where_to_look
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import NetworkPlan, StagePlan, TeacherPlan
from fedliver.watch import Silent
from played_card import CARD, played_card

TINY = NetworkPlan(channels=(4, 8), strides=(2,), residual_units=1, fold=2, activation="LEAKYRELU")


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    """Untrained, in two stages like the shipped one: what it says does not matter, only that it says the same everywhere."""
    torch.manual_seed(4)
    stage = StagePlan(network=TINY, spacing_mm=(12.0, 12.0, 12.0), patch_size=(16, 16, 16))
    plan = TeacherPlan.tiny().model_copy(update={"network": TINY, "finder": stage, "minimum_liver_ml": 0.1, "sure_of_part": 0.0})
    network = build_network(plan)
    with torch.no_grad():
        for part in (network.fine, network.finder):  # type: ignore[union-attr]
            for name, value in part.get_submodule("1").state_dict().items():  # type: ignore[union-attr]
                if name.endswith("bias") and len(value) == 24:
                    value[8:16] += 0.3  # somewhat more liver than background, so that there is something to segment
    return Teacher(network.eval(), plan, "untrained", "0", "none")


@pytest.fixture(scope="module")
def ct() -> Volume:
    return generate(PhantomSettings(seed=1, spacing_mm=(6.0, 6.0, 6.0)))[0]


@pytest.fixture(autouse=True)
def _float32_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda _device: False)


def _is_convolution(name: str) -> bool:
    return name.startswith("aten::conv")


class _Failing:
    """A card that fails at its n-th convolution."""

    def __init__(self, at: int, failure: RuntimeError) -> None:
        self._left, self._failure = at, failure

    def __call__(self, operation: str) -> None:
        if _is_convolution(operation):
            self._left -= 1
            if self._left == 0:
                raise self._failure


def test_the_answer_is_that_of_the_processor_and_the_teacher_stays_where_it_is(teacher: Teacher, ct: Volume) -> None:
    on_processor = segment(teacher, ct, device=PROCESSOR)
    convolutions = []
    with played_card(lambda name: convolutions.append(name) if _is_convolution(name) else None):
        on_card = segment(teacher, ct, device=replace(CARD, was_asked_for=True))
    assert on_processor.found
    assert on_processor.ran_on == PROCESSOR
    assert on_card.ran_on.title == "Played card"
    assert convolutions
    np.testing.assert_array_equal(on_card.labels.array, on_processor.labels.array)
    assert on_card.expected_dice == pytest.approx(on_processor.expected_dice)
    assert {value.device.type for value in teacher.network.state_dict().values()} == {"cpu"}


def test_the_finder_alone_runs_there_too(teacher: Teacher, ct: Volume) -> None:
    with played_card() as card:
        found = where_to_look(teacher, ct, Silent(), replace(card, was_asked_for=True))
    assert found == where_to_look(teacher, ct, Silent(), PROCESSOR)


@pytest.mark.parametrize("at", [1, 30], ids=["at once", "in the middle"])
@pytest.mark.parametrize(
    ("failure", "why"), [(torch.cuda.OutOfMemoryError("CUDA out of memory"), "memory"), (RuntimeError("CUDA error"), "did not work")], ids=["full", "broken"]
)
def test_a_card_that_fails_is_given_up_for_the_processor_and_words_say_so(teacher: Teacher, ct: Volume, failure: RuntimeError, why: str, at: int) -> None:
    watch = StoppingWatch()
    with played_card(_Failing(at, failure)) as card:
        result = segment(teacher, ct, watch, device=card)
    assert not result.ran_on.is_card
    assert why in result.ran_on.sentence
    np.testing.assert_array_equal(result.labels.array, segment(teacher, ct, device=PROCESSOR).labels.array)
    assert watch.fractions == sorted(watch.fractions), "the bar does not go back"


def test_a_card_that_was_asked_for_by_name_is_not_given_up_silently(teacher: Teacher, ct: Volume) -> None:
    with played_card(_Failing(1, torch.cuda.OutOfMemoryError("CUDA out of memory"))) as card, pytest.raises(FedLiverError) as refusal:
        segment(teacher, ct, device=replace(card, was_asked_for=True))
    assert refusal.value.code == "graphics-card-failed"


def test_a_mistake_of_ours_is_not_blamed_on_the_card(teacher: Teacher, ct: Volume) -> None:
    class Broken(torch.nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("shapes do not fit")

    plan = teacher.plan.model_copy(update={"finder": None})
    with played_card() as card, pytest.raises(RuntimeError, match="shapes do not fit"):
        segment(replace(teacher, network=Broken(), plan=plan), ct, device=card)


def test_cancel_is_obeyed_on_a_card(teacher: Teacher, ct: Volume) -> None:
    with played_card() as card, pytest.raises(Cancelled):
        segment(teacher, ct, StoppingWatch(stop_at=0.2), device=card)


def test_the_played_card_refuses_tensors_of_both_places_as_a_real_one_does() -> None:
    with played_card():
        here = torch.ones(2)
        with pytest.raises(RuntimeError, match="same device"):
            here.to("meta") + here
        assert (here.to("meta") + 1).cpu().tolist() == [2.0, 2.0]
        with pytest.raises((RuntimeError, TypeError)):
            here.to("meta").numpy()


@pytest.mark.parametrize(("device", "code", "said"), [("cpu", 0, "s on the processor)"), ("cuda:9", 2, "no graphics card cuda:9"), ("gpu", 2, "gpu")])
def test_the_command_runs_where_it_is_told_to_and_says_where(
    teacher: Teacher, ct: Volume, tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str, code: int, said: str
) -> None:
    save_bundle(teacher.network, teacher.plan, tmp_path / "bundle", name="untrained", version="0")
    sitk.WriteImage(to_sitk(ct), str(tmp_path / "ct.nii.gz"))
    with pytest.raises(SystemExit) as end:
        main(["segment", str(tmp_path / "ct.nii.gz"), str(tmp_path / "out.nii.gz"), "--teacher", str(tmp_path / "bundle"), "--device", device])
    assert end.value.code == code
    output = capsys.readouterr()
    assert said in output.out + output.err
