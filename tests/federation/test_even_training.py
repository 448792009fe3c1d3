"""Who trains an update: every patient in turn, and nobody is counted who taught nothing."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from federation_kit import TRAINING, add_scans, approve_patients, context, enrolled_home, message
from flwr.app import Context, Message

from fedliver.federation import client_app
from fedliver.federation.even_training import InTurn
from fedliver.federation.guard import Guard
from fedliver.federation.messages import Instructions, pack, unpack_numbers, unpack_patients
from fedliver.federation.networks import weights_of
from fedliver.site.codes import ErrorCode
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import StagePlan, TeacherPlan
from fedliver.training.settings import ConsistencySettings
from fedliver.training.sources import Patch

TINY = TeacherPlan.tiny()
PLAN = TINY.model_copy(update={"finder": StagePlan(network=TINY.network, spacing_mm=TINY.spacing_mm, patch_size=TINY.patch_size)})
SEMI_SUPERVISED = TRAINING.model_copy(update={"consistency": ConsistencySettings(), "average_decay": 0.9})


class Scan:
    """Gives patches in which its number stands."""

    def __init__(self, number: int) -> None:
        self._patch = Patch(np.full((1, 1, 1, 1), number, np.float32), np.zeros((1, 1, 1, 1), np.uint8), True)

    def draw(self, rng: np.random.Generator) -> Patch:
        return self._patch


def drawn_from(source: InTurn, count: int) -> list[int]:
    return [int(source.draw(np.random.default_rng(number)).image.item()) for number in range(count)]


def test_every_patient_has_a_turn_before_anyone_has_a_second_however_many_scans_one_has() -> None:
    drawn: set[str] = set()
    source = InTurn({"a": [Scan(0)], "b": [Scan(1)], "c": [Scan(2), Scan(2), Scan(2)]}, drawn, np.random.default_rng(3))
    for rounds in range(1, 30):
        assert sorted(drawn_from(source, 3)) == [0, 1, 2], f"time {rounds} round"
    assert drawn == {"a", "b", "c"}


def test_the_order_is_drawn_anew_each_time_round_and_every_scan_of_a_patient_is_drawn_at_times() -> None:
    source = InTurn({"a": [Scan(0), Scan(1)], "b": [Scan(2)]}, set(), np.random.default_rng(3))
    found = drawn_from(source, 100)
    assert len({found[start] == 2 for start in range(0, 100, 2)}) == 2
    assert Counter(found)[2] == 50
    assert min(Counter(found).values()) > 10


def test_who_has_not_had_a_turn_yet_is_not_counted() -> None:
    drawn: set[str] = set()
    source = InTurn({name: [Scan(0)] for name in "abcdef"}, drawn, np.random.default_rng(3))
    assert drawn == set()
    drawn_from(source, 2)
    assert len(drawn) == 2


@pytest.mark.parametrize(("sees_a_liver", "patients"), [(True, 3), (False, 1)])
def test_scans_in_which_the_received_model_sees_no_liver_teach_nothing_and_are_not_counted(tmp_path: Path, sees_a_liver: bool, patients: int) -> None:
    """A coordinator could send a model that sees none: then the annotated patient alone would train the update."""
    home = enrolled_home(tmp_path, PLAN, training=SEMI_SUPERVISED.model_dump())
    approve_patients(home, (1,))
    add_scans(home, (11, 12))
    received = weights_of(build_network(PLAN))
    biases = [name for name, array in received.items() if name.startswith("finder") and array.shape == (3,)]
    received[biases[-1]] = np.array([0, 100, 0] if sees_a_liver else [100, 0, 0], np.float32)
    told: list[int | None] = []

    def app(message: Message, context: Context) -> Message:
        reply = client_app.app(message=message, context=context)
        told.append(unpack_patients(reply.content))
        return reply

    asked = Instructions(round=1, rounds=1, model=0, plan=PLAN, training=SEMI_SUPERVISED)
    answer = Guard(home, app)(message(pack(asked, received)), context(home)).content
    assert told == [patients]
    assert unpack_numbers(answer).error == (ErrorCode.NONE if sees_a_liver else ErrorCode.TOO_FEW_CASES)
