"""The site's side of a message: nothing leaves but numbers and weights; the site decides what runs."""

from pathlib import Path

import numpy as np
import pytest
from federation_kit import TRAINING, add_scans, approve_patients, context, enrolled_home, message
from flwr.app import RecordDict

from fedliver.cases.examples import Example
from fedliver.errors import Cancelled, FedLiverError
from fedliver.federation import client_app
from fedliver.federation.guard import Guard
from fedliver.federation.launch import Gate, Speechless
from fedliver.federation.local_work import LocalWork, SiteCases
from fedliver.federation.messages import Instructions, pack, unpack_numbers
from fedliver.federation.networks import weights_of
from fedliver.site.codes import ErrorCode
from fedliver.site.federation import SiteFederation, SiteFiles
from fedliver.site.ledger import Ledger
from fedliver.site.progress import ProgressTail
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import ConsistencySettings
from fedliver.training.student import TrainingOutcome, train

PLAN = TeacherPlan.tiny()
INSTRUCTIONS = Instructions(round=2, rounds=3, model=1, plan=PLAN, training=TRAINING)
PATIENT = "/data/patients/DOE^JOHN_1960-01-01/ct.nii.gz"
BUNDLE = b"the allowed bundle"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return enrolled_home(tmp_path, PLAN, BUNDLE)


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    return weights_of(build_network(PLAN))


def cases(_: Path) -> SiteCases:
    return SiteCases([Example(Path("ct"), Path("labels"))] * 3, [])


def work(home: Path, trainer: object, instructions: Instructions = INSTRUCTIONS) -> LocalWork:
    return LocalWork(home, instructions, trainer, cases)  # type: ignore[arg-type]


def phases(home: Path) -> list[str]:
    return [event.phase for event in ProgressTail(SiteFiles(home).progress).read()]


def test_training_starts_from_the_weights_that_came_and_gives_the_new_ones(home: Path, weights: dict[str, np.ndarray]) -> None:
    seen = {}

    def trainer(teacher, examples, settings, watcher, before) -> TrainingOutcome:
        seen.update(weights=weights_of(teacher.network), seed=settings.seed, examples=len(examples))
        network = build_network(PLAN)
        for parameter in network.parameters():
            parameter.data.fill_(0.25)
        return TrainingOutcome(network, 3, 0.125, 4.0)

    numbers, trained = work(home, trainer).train(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(seen["weights"][name], array)
        assert trained[name].shape == array.shape
    assert float(trained["model.0.conv.weight"].ravel()[0]) == 0.25
    assert (seen["seed"], seen["examples"]) == (TRAINING.seed + 2, 3)
    assert (numbers.cases, numbers.loss, numbers.dice_cases, numbers.error) == (3, 0.125, 0, 0)
    assert [path.name for path in SiteFiles(home).candidates.iterdir()] == ["round-001"]
    assert phases(home) == ["received", "sending"]


def test_scans_without_approval_teach_only_where_the_round_asks_for_it_and_the_site_agreed(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    semi_supervised = TRAINING.model_copy(update={"consistency": ConsistencySettings(), "average_decay": 0.9})
    asking = INSTRUCTIONS.model_copy(update={"training": semi_supervised})

    def taught(home: Path, instructions: Instructions) -> tuple[int, int]:
        seen = []

        def trainer(teacher, examples, settings, watcher, before) -> TrainingOutcome:
            seen.extend(examples)
            return TrainingOutcome(build_network(PLAN), 3, 0.1, 4.0)

        store = SiteCases([Example(Path("ct"), Path("labels"))], [], [Example(Path("new"), None)] * 2)
        numbers, _ = LocalWork(home, instructions, trainer, lambda _: store).train(weights)
        return len(seen), numbers.unlabelled

    agreed = enrolled_home(tmp_path / "agreed", PLAN, BUNDLE, training=semi_supervised.model_dump())
    assert taught(agreed, asking) == (3, 2)
    assert taught(agreed, INSTRUCTIONS) == (1, 0)
    assert taught(enrolled_home(tmp_path / "supervised", PLAN, BUNDLE), asking) == (1, 0)


def test_a_site_that_has_approved_nothing_teaches_with_its_scans_and_its_update_counts_for_less(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    learning = TRAINING.model_copy(update={"consistency": ConsistencySettings(sure=1.0, weight=10.0), "average_decay": 0.9})
    home = enrolled_home(tmp_path, PLAN, BUNDLE, training=learning.model_dump())
    add_scans(home, (1, 2))
    numbers, trained = LocalWork(home, INSTRUCTIONS.model_copy(update={"training": learning})).train(weights)
    assert (numbers.cases, numbers.unlabelled, numbers.dice_cases) == (0, 2, 0)
    assert any(not np.array_equal(trained[name], array) for name, array in weights.items())
    with pytest.raises(FedLiverError) as refused:
        LocalWork(home, INSTRUCTIONS).train(weights)
    assert refused.value.code == "no-approved-case"


def test_the_next_round_goes_on_with_the_optimiser_of_the_last_and_another_federation_does_not(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    home = enrolled_home(tmp_path, PLAN, BUNDLE)
    approve_patients(home, (1,))
    SiteFederation(home).enrol(SiteFiles(home).invitation)
    seen = []

    def trainer(*arguments, before) -> TrainingOutcome:
        seen.append(before.step if before else None)
        return train(*arguments, before=before)

    for _ in range(2):
        LocalWork(home, INSTRUCTIONS, trainer).train(weights)
    assert seen == [None, TRAINING.steps]
    elsewhere = enrolled_home(tmp_path / "elsewhere", PLAN, BUNDLE)
    SiteFederation(home).enrol(SiteFiles(elsewhere).invitation)
    LocalWork(home, INSTRUCTIONS, trainer).train(weights)
    assert seen[-1] is None, "its certificate authority is another one"


def test_only_the_newest_candidates_are_kept(home: Path, weights: dict[str, np.ndarray]) -> None:
    for model in range(5):
        work(home, None, INSTRUCTIONS.model_copy(update={"model": model})).receive(weights)
    assert sorted(path.name for path in SiteFiles(home).candidates.iterdir()) == ["round-002", "round-003", "round-004"]


def test_another_network_than_agreed_is_not_even_built(home: Path) -> None:
    other = INSTRUCTIONS.model_copy(update={"plan": TeacherPlan()})
    with pytest.raises(FedLiverError) as caught:
        work(home, None, other)
    assert caught.value.code == "other-contract"


def test_weights_that_became_not_finite_are_not_sent(home: Path, weights: dict[str, np.ndarray]) -> None:
    def trainer(*_: object, before: object) -> TrainingOutcome:
        network = build_network(PLAN)
        next(network.parameters()).data.fill_(float("nan"))
        return TrainingOutcome(network, 1, 0.0, 0.0)

    with pytest.raises(FedLiverError) as caught:
        work(home, trainer).train(weights)
    assert caught.value.code == "training-diverged"


@pytest.mark.parametrize(
    ("error", "code", "phase"),
    [
        (RuntimeError(PATIENT), ErrorCode.UNEXPECTED, "failed"),
        (FedLiverError("case-damaged", f"{PATIENT} is damaged"), ErrorCode.CASES_UNREADABLE, "failed"),
        (FedLiverError("no-approved-case", "none"), ErrorCode.NO_CASES, "failed"),
        (MemoryError(PATIENT), ErrorCode.OUT_OF_MEMORY, "failed"),
        (Cancelled(PATIENT), ErrorCode.STOPPED, "stopped"),
    ],
)
def test_whatever_goes_wrong_only_a_code_is_answered(home: Path, capfd: pytest.CaptureFixture[str], error: Exception, code: ErrorCode, phase: str) -> None:
    def fail(*_: object) -> RecordDict:
        raise error

    answer = client_app.answered(pack(INSTRUCTIONS, {}), home, fail)
    assert unpack_numbers(answer).error == code
    assert "DOE" not in repr(answer)
    printed = capfd.readouterr()
    assert "DOE" not in printed.out + printed.err + SiteFiles(home).progress.read_text()
    assert phases(home) == [phase]


def test_instructions_that_cannot_be_read_are_answered_with_their_code(home: Path) -> None:
    assert unpack_numbers(client_app.answered(RecordDict(), home, client_app._train)).error == ErrorCode.BAD_CONFIGURATION


def test_weights_that_do_not_fit_are_answered_with_their_code(home: Path) -> None:
    content = pack(INSTRUCTIONS, {"a": np.zeros(3, np.float32)})
    assert unpack_numbers(client_app.answered(content, home, client_app._train)).error == ErrorCode.BAD_WEIGHTS


def test_an_app_that_the_site_did_not_allow_does_not_run_and_the_site_is_told(home: Path, weights: dict[str, np.ndarray]) -> None:
    gate = Gate(home)
    gate.install(b"another bundle", skip_prompt=True)
    app = gate.loader(default_app_ref="", app_path=None, multi_app=True)("id", "1", "hash")
    answer = app(message=message(pack(INSTRUCTIONS, weights)), context=context(home))
    assert unpack_numbers(answer.content).error == ErrorCode.APP_NOT_ALLOWED
    (line,) = Ledger(SiteFiles(home).ledger).entries()
    assert line.error == ErrorCode.APP_NOT_ALLOWED
    assert phases(home) == ["failed"]


def runs_inside_the_filter(app: object) -> bool:
    return isinstance(app, Speechless) and isinstance(app.app, Guard) and app.app._app is client_app.app


def test_an_allowed_app_means_the_one_that_is_installed_here_inside_the_egress_filter(home: Path) -> None:
    gate = Gate(home)
    assert not runs_inside_the_filter(gate.loader()("id", "1", "hash")), "nothing runs before the bundle was looked at"
    gate.install(BUNDLE)
    assert runs_inside_the_filter(gate.loader()("id", "1", "hash"))


def test_without_an_invitation_no_app_is_allowed(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    gate.install(BUNDLE)
    assert not runs_inside_the_filter(gate.loader()("id", "1", "hash"))
