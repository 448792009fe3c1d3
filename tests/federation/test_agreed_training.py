"""The site trains as it agreed to when it enrolled: a coordinator cannot ask for an update that shows a patient, whatever the number of patients."""

import os
from pathlib import Path

import numpy as np
import pytest
from federation_kit import TRAINING, approve_patients, as_another_user, context, enrolled_home, message
from flwr.app import Context, Message, RecordDict

from fedliver.errors import FedLiverError
from fedliver.federation import client_app
from fedliver.federation.guard import App, Guard
from fedliver.federation.launch import Speechless
from fedliver.federation.messages import (
    DELIVER,
    Instructions,
    Numbers,
    for_the_filter,
    pack,
    pack_reply,
    unpack_instructions,
    unpack_numbers,
)
from fedliver.federation.networks import weights_of
from fedliver.site.agreed_training import check_training, own_training
from fedliver.site.codes import ErrorCode
from fedliver.site.egress import PatientCount
from fedliver.site.federation import SiteFiles
from fedliver.site.ledger import Ledger
from fedliver.site.policy import Policy, contract_of
from fedliver.site.rules import changed_rules
from fedliver.site.strategy import FedProx
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import ConsistencySettings, TrainingSettings

PLAN = TeacherPlan.tiny()
RECEIVED = weights_of(build_network(PLAN))
TRAINED = {name: array + np.float32(0.01) for name, array in RECEIVED.items()}
NUMBERS = Numbers(cases=6, loss=0.25, seconds=3.0, dice=0.5, dice_cases=4)
ACCEPTED = Policy(contract=contract_of(PLAN), deadline_seconds=600, training=TrainingSettings(steps=60, batch_size=2, learning_rate=1e-3))
SEMI_SUPERVISED = TRAINING.model_copy(update={"consistency": ConsistencySettings(), "average_decay": 0.9})


def asked_for(training: TrainingSettings) -> Instructions:
    return Instructions(round=2, rounds=3, model=1, plan=PLAN, training=training)


def answering(content: RecordDict) -> App:
    def app(message: Message, context: Context) -> Message:
        return Message(content, reply_to=message)

    return app


def not_reached(**_: object) -> Message:
    raise AssertionError("it was trained")


def ask(home: Path, app: App, training: TrainingSettings, patients: PatientCount | None = None, kind: str = "train") -> RecordDict:
    guard = Guard(home, app, lambda _: patients) if patients else Guard(home, app)
    return guard(message(pack(asked_for(training), RECEIVED), kind), context(home)).content


def changed(**changes: object) -> TrainingSettings:
    return ACCEPTED.training.model_copy(update=changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 1},
        {"steps": 29},
        {"steps": 121},
        {"steps": 1_000_000},
        {"batch_size": 1},
        {"batch_size": 64},
        {"augment": False},
        {"learning_rate": 1.0},
        {"learning_rate": 1e-5},
        {"minutes": 1e-9},
        {"warm_up_steps": 59},
        {"weight_decay": 1000.0},
        {"gradient_clip": 1e-9},
        {"final_learning_rate_fraction": 0.0},
        {"average_decay": 0.9},
        {"consistency": ConsistencySettings(), "average_decay": 0.9},
        {"proximal": 100.0},
    ],
)
def test_other_training_than_the_site_accepted_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(FedLiverError) as caught:
        check_training(changed(**changes), ACCEPTED)
    assert caught.value.code == "not-agreed"
    assert "other training than this site agreed to" in caught.value.sentence


@pytest.mark.parametrize("changes", [{}, {"steps": 30}, {"steps": 120}, {"learning_rate": 1e-4}, {"proximal": 0.05}, {"seed": 7}, {"threads": 2}])
def test_what_a_coordinator_may_change_from_run_to_run_is_done(changes: dict[str, object]) -> None:
    check_training(changed(**changes), ACCEPTED)


def test_a_proximal_term_that_the_site_accepted_may_be_as_strong_as_it_is_there() -> None:
    check_training(changed(proximal=20.0), ACCEPTED.model_copy(update={"strategy": FedProx(mu=20.0)}))


def test_the_site_draws_by_a_seed_of_its_own_with_its_own_threads_and_no_longer_than_anyone_waits() -> None:
    one, two = (own_training(changed(seed=7, threads=64), ACCEPTED) for _ in range(2))
    assert len({one.seed, two.seed, 7}) == 3
    assert (one.threads, one.minutes, one.steps) == (None, 10.0, 60)
    assert own_training(changed(minutes=2.0), ACCEPTED).minutes == 2.0


def test_an_update_of_one_patch_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    home = enrolled_home(tmp_path, PLAN, training=TrainingSettings().model_dump())
    answer = ask(home, not_reached, TrainingSettings(steps=1, augment=False), PatientCount(6, 4))
    assert unpack_numbers(answer).error == ErrorCode.NOT_AGREED
    assert not answer.array_records


def test_the_app_is_given_the_training_as_the_site_does_it(tmp_path: Path) -> None:
    seen: list[TrainingSettings] = []

    def app(message: Message, context: Context) -> Message:
        seen.append(unpack_instructions(message.content).training)
        return Message(pack_reply(NUMBERS, TRAINED), reply_to=message)

    answer = ask(enrolled_home(tmp_path, PLAN), app, TRAINING.model_copy(update={"threads": 64, "seed": 7}), PatientCount(6, 4))
    assert unpack_numbers(answer).error == 0
    (training,) = seen
    assert (training.steps, training.threads, training.minutes) == (TRAINING.steps, None, 60.0)
    assert training.seed != 7


def test_the_last_model_is_taken_whatever_training_stands_beside_it(tmp_path: Path) -> None:
    answer = ask(enrolled_home(tmp_path, PLAN), answering(pack_reply(NUMBERS, TRAINED)), TrainingSettings(steps=1), PatientCount(6, 4), DELIVER)
    assert unpack_numbers(answer).error == 0


def test_patients_of_scans_without_approval_do_not_count_where_the_round_does_not_learn_from_them(tmp_path: Path) -> None:
    home = enrolled_home(tmp_path, PLAN, training=SEMI_SUPERVISED.model_dump())
    two_scans_of_one = pack_reply(NUMBERS.model_copy(update={"cases": 2}), TRAINED)
    answer = ask(home, answering(two_scans_of_one), TRAINING.model_copy(update={"average_decay": 0.9}), PatientCount(1, 0, 50))
    assert unpack_numbers(answer).error == ErrorCode.NOT_AGREED


def test_only_patients_who_really_had_a_turn_count(tmp_path: Path) -> None:
    home = enrolled_home(tmp_path, PLAN)
    for drawn, error in ((1, ErrorCode.TOO_FEW_CASES), (2, ErrorCode.NONE)):
        answer = ask(home, answering(for_the_filter(pack_reply(NUMBERS, TRAINED), drawn)), TRAINING, PatientCount(6, 4))
        assert unpack_numbers(answer).error == error
    assert set(answer) == {"arrays", "metrics"}, "the count is for the filter and stays"
    assert Ledger(SiteFiles(home).ledger).entries()[-1].patients == 2


def test_the_installed_app_lets_every_patient_have_a_turn_before_anyone_has_a_second(tmp_path: Path) -> None:
    """Three steps on three patients, one of whom has two scans: by chance alone three patients would seldom train them."""
    home = enrolled_home(tmp_path, PLAN)
    approve_patients(home, (1, 2, 3, 4, 5, 6))
    patients = Guard(home, not_reached)._patients(home).training
    changed_rules(home, minimum_cases=min(3, patients))
    for _ in range(4):
        assert unpack_numbers(ask(home, client_app.app, TRAINING)).error == 0
    left = [entry for entry in Ledger(SiteFiles(home).ledger).entries() if entry.kind == "update"]
    assert [entry.patients for entry in left] == [min(3, patients)] * 4


@pytest.mark.parametrize("in_the_way", ["folder", "lock"])
def test_a_ledger_that_cannot_be_written_stops_the_update_and_no_path_leaves(tmp_path: Path, in_the_way: str, capfd: pytest.CaptureFixture[str]) -> None:
    home = enrolled_home(tmp_path, PLAN)
    ledger = SiteFiles(home).ledger
    if in_the_way == "folder":
        ledger.write_text("")
    else:
        (ledger / "ledger.lock").mkdir(parents=True)
    answer = ask(home, answering(pack_reply(NUMBERS, TRAINED)), TRAINING, PatientCount(6, 4))
    assert unpack_numbers(answer).error == ErrorCode.DISK_FULL
    assert not answer.array_records
    printed = capfd.readouterr()
    assert str(home) not in repr(answer) + printed.out + printed.err


def test_a_site_folder_in_which_nothing_can_be_written_is_answered_with_a_number(tmp_path: Path) -> None:
    home = enrolled_home(tmp_path, PLAN)
    SiteFiles(home).ledger.write_text("")
    SiteFiles(home).progress.mkdir(parents=True)
    answer = ask(home, answering(pack_reply(NUMBERS, TRAINED)), TRAINING, PatientCount(6, 4))
    assert unpack_numbers(answer).error == ErrorCode.DISK_FULL


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become another user")
def test_a_ledger_of_another_user_is_answered_with_a_number(tmp_path: Path) -> None:
    for folder in (*list(tmp_path.parents)[:3], tmp_path):
        folder.chmod(0o755)
    home = enrolled_home(tmp_path / "home", PLAN)
    SiteFiles(home).ledger.mkdir()

    def answered() -> int:
        return unpack_numbers(ask(home, answering(pack_reply(NUMBERS, TRAINED)), TRAINING, PatientCount(6, 4))).error

    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert as_another_user(answered) == ErrorCode.DISK_FULL


def test_whatever_escapes_the_app_and_its_filter_reaches_flower_as_a_number(capfd: pytest.CaptureFixture[str]) -> None:
    def app(message: Message, context: Context) -> Message:
        raise PermissionError(13, "Permission denied", "/data/DOE^JOHN")

    answer = Speechless(app)(message(RecordDict()), context(Path("/nowhere")))
    assert unpack_numbers(answer.content) == Numbers(error=int(ErrorCode.UNEXPECTED))
    printed = capfd.readouterr()
    assert "DOE" not in repr(answer) + printed.out + printed.err
    assert "PermissionError" in printed.err, "the site's own log says which kind"
