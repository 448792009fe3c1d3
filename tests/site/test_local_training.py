"""A site that learns alone: from its own approved cases, adopted only if it is not worse, and nothing lost when it is stopped."""

from pathlib import Path

import pytest

from fedliver.cli.main import main
from fedliver.errors import Cancelled, FedLiverError
from fedliver.site.adoption import compare_and_adopt
from fedliver.site.home import SiteHome
from fedliver.site.local_training import learn_from_own_cases, settings_for
from fedliver.training.settings import TrainingSettings
from fedliver.training.student import SilentTraining, train
from tiny_site import approve_patients, tiny_bundle

SETTINGS = TrainingSettings(steps=40, learning_rate=1e-2, batch_size=2)


class StopAfter(SilentTraining):
    """Ctrl-C after some steps."""

    def __init__(self, steps: int) -> None:
        self.seen: list[int] = []
        self._steps = steps

    def step(self, n: int, total: int, loss: float) -> None:
        self.seen.append(n)

    def cancelled(self) -> bool:
        return len(self.seen) >= self._steps


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    """A site with an untrained tiny teacher and three approved patients, the second held out."""
    home = SiteHome.open(tmp_path / "site")
    compare_and_adopt(home.shelf(), home.store(), tiny_bundle(tmp_path / "bundle"), force=True)
    approve_patients(home.path, (1, 2, 3))
    return home


def at_once(teacher, examples, settings, watcher, savepoint):
    """The real training with a savepoint after every step."""
    savepoint.every_seconds = 0.0
    return train(teacher, examples, settings, watcher, savepoint)


def test_a_teacher_that_learned_here_is_better_on_the_held_out_case_and_is_adopted(home: SiteHome) -> None:
    before = home.shelf().current()
    learnt = learn_from_own_cases(home, SETTINGS, SilentTraining())
    decision = learnt.decision
    assert learnt.cases == 2, "the held-out patient does not train"
    assert decision.adopted
    assert decision.candidate_dice > decision.current_dice + 0.1  # type: ignore[operator]
    now = home.shelf().current()
    assert now.version == decision.candidate != before.version
    assert now.record is not None
    assert (now.record.origin.source, now.record.origin.parent, now.record.origin.cases) == ("training", before.version, 2)


def test_one_that_got_worse_is_kept_on_the_shelf_and_not_adopted(home: SiteHome) -> None:
    learn_from_own_cases(home, SETTINGS, SilentTraining())
    good = home.shelf().current().version
    spoilt = learn_from_own_cases(home, TrainingSettings(steps=15, learning_rate=0.5, gradient_clip=1e6), SilentTraining())
    assert not spoilt.decision.adopted
    assert home.shelf().current().version == good
    assert spoilt.decision.candidate in [teacher.version for teacher in home.shelf().list()]


def test_stopped_and_started_again_it_goes_on_where_it_was(home: SiteHome) -> None:
    before = home.shelf().current().version
    stopped = StopAfter(10)
    with pytest.raises(Cancelled):
        learn_from_own_cases(home, SETTINGS, stopped, trainer=at_once)
    assert home.shelf().current().version == before
    again = StopAfter(1_000)
    learnt = learn_from_own_cases(home, SETTINGS, again, trainer=at_once)
    assert again.seen == list(range(11, 41))
    assert learnt.steps == 40
    assert sorted(path.name for path in (home.path / "training").iterdir()) == [".lock"]


def test_with_other_cases_it_begins_anew(home: SiteHome) -> None:
    with pytest.raises(Cancelled):
        learn_from_own_cases(home, SETTINGS, StopAfter(5), trainer=at_once)
    approve_patients(home.path, (4,))
    again = StopAfter(1)
    with pytest.raises(Cancelled):
        learn_from_own_cases(home, SETTINGS, again, trainer=at_once)
    assert again.seen == [1]


def test_two_at_once_are_told_so(home: SiteHome) -> None:
    def second(*_: object) -> None:
        with pytest.raises(FedLiverError) as refused:
            learn_from_own_cases(home, SETTINGS, SilentTraining())
        assert refused.value.code == "training-busy"
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        learn_from_own_cases(home, SETTINGS, SilentTraining(), trainer=second)  # type: ignore[arg-type]


def test_scans_without_approval_teach_only_when_asked_for(tmp_path: Path) -> None:
    seen = []

    def trainer(teacher, examples, settings, watcher, savepoint):
        seen.append([example.labels is not None for example in examples])
        raise Cancelled("enough")

    home = SiteHome.open(tmp_path)
    with pytest.raises(FedLiverError) as refused:
        learn_from_own_cases(home, settings_for(1, unlabelled=True), SilentTraining(), trainer=trainer)
    assert refused.value.code == "no-approved-case"
    approve_patients(home.path, (1, 2))
    store = home.store()
    case = store.cases()[0]
    assert case.role == "training"
    store.exclude(case)
    store.include(case)
    for unlabelled in (True, False):
        with pytest.raises((Cancelled, FedLiverError)):
            learn_from_own_cases(home, settings_for(1, unlabelled), SilentTraining(), trainer=trainer)
    assert seen == [[False]]


def test_the_command_says_what_was_learnt_and_what_became_of_it(home: SiteHome, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--minutes", "0.02", "--home", str(home.path)])
    said = capsys.readouterr().out
    assert ended.value.code in (0, 1)
    assert "on 2 approved cases." in said
    assert ("Adopted" in said) == (ended.value.code == 0)
