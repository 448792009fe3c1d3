"""The egress filter around a ClientApp: whatever the app answers, only what was agreed leaves, and the ledger says so before it does."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from federation_kit import TRAINING, approve_patients, context, enrolled_home, message
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from fedliver.errors import FedLiverError
from fedliver.federation.guard import Guard
from fedliver.federation.messages import DELIVER, Instructions, Numbers, error_reply, pack, pack_reply, pack_weights, unpack_numbers, unpack_weights
from fedliver.federation.networks import agreed_tensors, weights_of
from fedliver.site.codes import ErrorCode
from fedliver.site.egress import PatientCount
from fedliver.site.federation import SiteFiles
from fedliver.site.ledger import FILE_NAME, Ledger, content_hash
from fedliver.site.progress import ProgressTail
from fedliver.site.rules import changed_rules
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import ConsistencySettings

PLAN = TeacherPlan.tiny()
INSTRUCTIONS = Instructions(round=2, rounds=3, model=1, plan=PLAN, training=TRAINING)
SEMI_SUPERVISED = TRAINING.model_copy(update={"consistency": ConsistencySettings(), "average_decay": 0.9})
NUMBERS = Numbers(cases=6, loss=0.25, seconds=3.0, dice=0.5, dice_cases=4)
PATIENT = "DOE^JOHN"
RECEIVED = weights_of(build_network(PLAN))
TRAINED = {name: array + np.float32(0.01) for name, array in RECEIVED.items()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return enrolled_home(tmp_path, PLAN)


def answering(content: RecordDict) -> Callable[..., Message]:
    def app(message: Message, context: object) -> Message:
        return Message(content, reply_to=message)

    return app


def ask(home: Path, content: RecordDict, kind: str = "train", patients: PatientCount = PatientCount(6, 4), **changes: object) -> RecordDict:  # noqa: B008 frozen
    guard = Guard(home, answering(content), lambda _: patients, lambda: np.random.default_rng(3))
    instructions = INSTRUCTIONS.model_copy(update=changes)
    return guard(message(pack(instructions, RECEIVED), kind), context(home)).content


def error_of(content: RecordDict) -> int:
    assert not content.array_records, "an error number leaves alone"
    return unpack_numbers(content).error


def ledger(home: Path) -> list:
    return Ledger(SiteFiles(home).ledger).entries()


def test_an_honest_update_leaves_and_is_in_the_ledger_as_it_left(home: Path) -> None:
    answer = ask(home, pack_reply(NUMBERS, TRAINED))
    left = unpack_weights(answer, RECEIVED)
    for name, array in TRAINED.items():
        np.testing.assert_array_equal(left[name], array)
    assert unpack_numbers(answer) == NUMBERS
    came, went = ledger(home)
    assert (came.kind, came.model, came.content) == ("model", 1, content_hash(RECEIVED))
    assert (went.kind, went.round, went.content, went.cases, went.patients, went.epsilon) == ("update", 2, content_hash(left), 6, 6, None)
    assert went.norm == pytest.approx(0.01 * math.sqrt(sum(array.size for array in TRAINED.values())), rel=1e-3)
    assert Ledger(SiteFiles(home).ledger).verify().fault == ""


def test_nothing_else_that_an_app_puts_into_its_answer_leaves(home: Path) -> None:
    stuffed = pack_reply(NUMBERS, TRAINED)
    stuffed["note"] = ConfigRecord({"patient": PATIENT})
    stuffed["more"] = MetricRecord({"age": 61})
    stuffed["images"] = ArrayRecord({"ct": Array(np.zeros(9, np.float32))})
    answer = ask(home, stuffed)
    assert set(answer) == {"arrays", "metrics"}
    assert set(answer.array_records["arrays"]) == set(RECEIVED)
    assert set(answer.metric_records["metrics"]) == set(Numbers.model_fields)
    assert PATIENT not in repr(answer)


def test_another_number_than_agreed_stops_the_whole_answer(home: Path) -> None:
    stuffed = pack_reply(NUMBERS, TRAINED)
    stuffed["metrics"] = MetricRecord({**NUMBERS.model_dump(), "age": 61})
    assert error_of(ask(home, stuffed)) == ErrorCode.NOT_AGREED
    assert [line.kind for line in ledger(home)] == ["model", "numbers"]
    (event,) = ProgressTail(SiteFiles(home).progress).read()
    assert "egress filter" in event.sentence


@pytest.mark.parametrize(
    "weights",
    [
        {**TRAINED, "ct": np.zeros(9, np.float32)},
        {name: array.astype(np.float64) for name, array in TRAINED.items()},
        {name: array for name, array in TRAINED.items() if "bias" not in name},
        {},
    ],
)
def test_other_tensors_than_agreed_are_stopped(home: Path, weights: dict[str, np.ndarray]) -> None:
    assert error_of(ask(home, pack_reply(NUMBERS, weights))) == ErrorCode.NOT_AGREED


def test_an_update_without_weights_is_stopped(home: Path) -> None:
    assert error_of(ask(home, pack_reply(NUMBERS))) == ErrorCode.NOT_AGREED


def test_weights_that_are_not_finite_are_stopped(home: Path) -> None:
    diverged = {name: np.full_like(array, np.nan) for name, array in TRAINED.items()}
    assert error_of(ask(home, pack_reply(NUMBERS, diverged))) == ErrorCode.DIVERGED


def test_the_update_of_a_single_case_site_is_refused_before_training_whatever_the_app_claims(home: Path) -> None:
    def not_reached(**_: object) -> Message:
        raise AssertionError("it was trained")

    guard = Guard(home, not_reached, lambda _: PatientCount(1, 0))
    assert error_of(guard(message(pack(INSTRUCTIONS, RECEIVED)), context(home)).content) == ErrorCode.TOO_FEW_CASES
    (event,) = ProgressTail(SiteFiles(home).progress).read()
    assert "fewer patients than the site's rules ask for" in event.sentence


def test_the_patients_are_counted_in_the_case_store_where_two_scans_of_one_patient_are_one(tmp_path: Path) -> None:
    approve_patients(tmp_path, (1, 2, 3))
    enrolled_home(tmp_path, PLAN)
    guard = Guard(tmp_path, answering(pack_reply(NUMBERS, TRAINED)))
    assert unpack_numbers(guard(message(pack(INSTRUCTIONS, RECEIVED)), context(tmp_path)).content).error == 0
    assert ledger(tmp_path)[-1].patients == 2
    changed_rules(tmp_path, minimum_cases=3)
    assert error_of(guard(message(pack(INSTRUCTIONS, RECEIVED)), context(tmp_path)).content) == ErrorCode.TOO_FEW_CASES


def test_an_app_that_trained_on_fewer_cases_than_the_rules_ask_for_is_stopped(home: Path) -> None:
    assert error_of(ask(home, pack_reply(NUMBERS.model_copy(update={"cases": 1}), TRAINED))) == ErrorCode.TOO_FEW_CASES


def test_scans_without_approval_count_as_patients_only_where_the_site_agreed_to_learn_from_them(tmp_path: Path) -> None:
    """What the coordinator instructs does not matter: the policy that the site accepted does."""
    nothing_approved = {"patients": PatientCount(0, 0, 3), "training": SEMI_SUPERVISED}
    answer = pack_reply(Numbers(unlabelled=3, loss=0.2, seconds=1.0), TRAINED)
    supervised = enrolled_home(tmp_path / "a", PLAN)
    assert error_of(ask(supervised, answer, patients=PatientCount(0, 0, 3))) == ErrorCode.TOO_FEW_CASES
    assert error_of(ask(supervised, answer, **nothing_approved)) == ErrorCode.NOT_AGREED
    agreed = enrolled_home(tmp_path / "b", PLAN, training=SEMI_SUPERVISED.model_dump())
    numbers = unpack_numbers(ask(agreed, answer, **nothing_approved))
    assert (numbers.error, numbers.cases, numbers.unlabelled) == (0, 0, 3)
    assert math.isnan(numbers.loss), "a loss over no approved case leaves nobody"
    assert (ledger(agreed)[-1].unlabelled, ledger(agreed)[-1].patients) == (3, 3)
    assert "3 scans without approval" in ledger(agreed)[-1].sentence


def test_an_app_that_trained_on_scans_the_site_did_not_agree_to_is_stopped(home: Path) -> None:
    assert error_of(ask(home, pack_reply(NUMBERS.model_copy(update={"unlabelled": 1}), TRAINED))) == ErrorCode.NOT_AGREED


def test_the_policy_that_the_site_accepted_makes_its_rules_stricter(tmp_path: Path) -> None:
    strict = enrolled_home(tmp_path, PLAN, privacy={"minimum_cases": 7, "norm_bound": 0.5})
    assert error_of(ask(strict, pack_reply(NUMBERS, TRAINED))) == ErrorCode.TOO_FEW_CASES
    left = unpack_weights(ask(strict, pack_reply(NUMBERS.model_copy(update={"cases": 7}), TRAINED), patients=PatientCount(7, 4)), RECEIVED)
    assert math.sqrt(sum(float(np.sum((left[name].astype(float) - RECEIVED[name]) ** 2)) for name in left)) == pytest.approx(0.5, rel=1e-3)


def test_what_a_coordinator_sends_cannot_loosen_the_rules(home: Path) -> None:
    """The instructions of a round have no word for it; a policy stuffed into the message is not agreed and stops the round."""
    changed_rules(home, minimum_cases=7)
    content = pack(INSTRUCTIONS, RECEIVED)
    content["privacy"] = ConfigRecord({"minimum_cases": 1})
    guard = Guard(home, answering(pack_reply(NUMBERS, TRAINED)), lambda _: PatientCount(6, 4))
    assert error_of(guard(message(content), context(home)).content) == ErrorCode.TOO_FEW_CASES
    text = INSTRUCTIONS.model_dump_json()[:-1] + ',"privacy":{"minimum_cases":1}}'
    content["config"] = ConfigRecord({"instructions": text})
    assert error_of(guard(message(content), context(home)).content) == ErrorCode.BAD_CONFIGURATION


def test_metrics_over_too_few_patients_stay(home: Path) -> None:
    numbers = unpack_numbers(ask(home, pack_reply(NUMBERS, TRAINED), patients=PatientCount(6, 1)))
    assert (numbers.dice, numbers.dice_cases, numbers.loss) == (0.0, 0, 0.25)
    changed_rules(home, minimum_metric_cases=7)
    numbers = unpack_numbers(ask(home, pack_reply(NUMBERS, TRAINED)))
    assert math.isnan(numbers.loss)
    assert (ledger(home)[-1].loss, ledger(home)[-1].dice) == (None, None)


def test_the_delivery_answers_with_a_dice_alone_and_with_no_weights(home: Path) -> None:
    answer = ask(home, pack_reply(NUMBERS, TRAINED), DELIVER)
    assert not answer.array_records
    assert unpack_numbers(answer) == Numbers(dice=0.5, dice_cases=4)
    assert [(line.kind, line.round) for line in ledger(home)] == [("model", 2), ("numbers", 2)]


def test_noise_is_counted_and_the_site_stops_at_its_budget(home: Path) -> None:
    changed_rules(home, noise_multiplier=20.0, norm_bound=1.0, epsilon_budget=0.6)
    spent = []
    for _ in range(4):
        answer = ask(home, pack_reply(NUMBERS, TRAINED))
        if unpack_numbers(answer).error:
            break
        spent.append(ledger(home)[-1].epsilon)
        left = unpack_weights(answer, RECEIVED)
        assert np.std(np.concatenate([(left[name] - RECEIVED[name]).ravel() for name in left])) == pytest.approx(20.0, rel=0.05)
    assert 0 < len(spent) < 4
    assert spent == sorted(spent)
    assert spent[-1] <= 0.6
    assert error_of(answer) == ErrorCode.BUDGET_SPENT
    assert error_of(ask(home, pack_reply(NUMBERS, TRAINED))) == ErrorCode.BUDGET_SPENT, "and goes on refusing"


def test_the_noise_of_two_rounds_is_not_the_same(home: Path) -> None:
    changed_rules(home, noise_multiplier=1.0)
    guard = Guard(home, answering(pack_reply(NUMBERS, TRAINED)), lambda _: PatientCount(6, 4))
    one, two = (unpack_weights(guard(message(pack(INSTRUCTIONS, RECEIVED)), context(home)).content, RECEIVED) for _ in range(2))
    assert all(not np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("error", [RuntimeError(PATIENT), FedLiverError("case-damaged", PATIENT), MemoryError(PATIENT), KeyError(PATIENT)])
def test_an_app_that_raises_sends_its_number_and_never_its_text(home: Path, capfd: pytest.CaptureFixture[str], error: Exception) -> None:
    def app(**_: object) -> Message:
        raise error

    answer = Guard(home, app, lambda _: PatientCount(6, 4))(message(pack(INSTRUCTIONS, RECEIVED)), context(home))
    assert error_of(answer.content) != 0
    printed = capfd.readouterr()
    for text in (repr(answer), printed.out, printed.err, (SiteFiles(home).ledger / FILE_NAME).read_text(), SiteFiles(home).progress.read_text()):
        assert PATIENT not in text


def test_the_apps_own_error_number_goes_on_without_being_told_twice(home: Path) -> None:
    assert error_of(ask(home, error_reply(ErrorCode.OUT_OF_MEMORY))) == ErrorCode.OUT_OF_MEMORY
    assert ProgressTail(SiteFiles(home).progress).read() == [], "the app tells the site itself"
    stuffed = error_reply(ErrorCode.OUT_OF_MEMORY)
    stuffed["arrays"] = pack_weights(TRAINED)
    assert error_of(ask(home, stuffed)) == ErrorCode.OUT_OF_MEMORY
    unknown = pack_reply(Numbers(error=123_456))
    assert error_of(ask(home, unknown)) == ErrorCode.UNEXPECTED, "an error number is no channel for other numbers"


def test_another_network_than_agreed_and_weights_that_do_not_fit_are_refused_before_the_app_runs(home: Path) -> None:
    other = PLAN.model_copy(update={"spacing_mm": (9.0, 9.0, 9.0)})
    assert error_of(ask(home, pack_reply(NUMBERS, TRAINED), plan=other)) == ErrorCode.OTHER_CONTRACT
    guard = Guard(home, answering(pack_reply(NUMBERS, TRAINED)), lambda _: PatientCount(6, 4))
    wrong = {**RECEIVED, "more": np.zeros(1, np.float32)}
    assert error_of(guard(message(pack(INSTRUCTIONS, wrong)), context(home)).content) == ErrorCode.BAD_WEIGHTS


@pytest.mark.parametrize("damage", ["rules", "ledger", "invitation"])
def test_without_readable_rules_a_whole_ledger_and_an_invitation_nothing_leaves(home: Path, damage: str) -> None:
    ask(home, pack_reply(NUMBERS, TRAINED))
    file = {"rules": home / "egress.json", "ledger": SiteFiles(home).ledger / FILE_NAME, "invitation": SiteFiles(home).invitation}[damage]
    file.write_text("{\n")
    code = ErrorCode.LEDGER_DAMAGED if damage == "ledger" else ErrorCode.RULES_UNREADABLE
    assert error_of(ask(home, pack_reply(NUMBERS, TRAINED))) == code


def test_the_agreed_tensors_are_those_of_the_network_that_is_built(home: Path) -> None:
    agreed = agreed_tensors(PLAN)
    assert {name: (kind.shape, kind.dtype, kind.nbytes) for name, kind in agreed.items()} == {
        name: (array.shape, array.dtype, array.nbytes) for name, array in RECEIVED.items()
    }
