"""The federation from the panel's side: commands in child processes, answers in files, and nothing that blocks."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedliver.errors import FedLiverError
from fedliver.site.federation import SiteStatus
from fedliver.site.ledger import Ledger, ModelIn, UpdateOut
from fedliver.site.link import Link
from fedliver.site.policy import Policy
from fedliver.site.progress import ProgressEvent, ProgressTail, append_event
from fedliver.site.reach import Step
from fedliver.site.rules import EgressRules
from fedliver.slicer import panel_events as on
from fedliver.slicer.consent import consent_to
from fedliver.slicer.federation_link import Ended, FederationCommandLine, FederationLink
from fedliver.slicer.panel_state import Account, Check, Tone
from fedliver.watch import Silent

POLICY = Policy(contract="0" * 64)
INVITED = on.InvitationOpened("North", consent=consent_to(POLICY, EgressRules()))


class Command:
    """A command that ends when the test says so."""

    def __init__(self) -> None:
        self.ended: Ended | None = None
        self.terminated = False

    def poll(self) -> Ended | None:
        return self.ended

    def end(self) -> None:
        self.terminated = True


class Commands:
    def __init__(self) -> None:
        self.started: list[list[str]] = []
        self.last = Command()

    def start(self, arguments: Sequence[str]) -> Command:
        self.started.append(list(arguments))
        self.last = Command()
        return self.last


class Site:
    """A site's status and files, as fedliver.site.federation.SiteFederation shows them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.enrolled, self.joined = True, False
        self.files = SimpleNamespace(request=home / "enrolment-request.json")

    def status(self) -> SimpleNamespace:
        return SiteStatus(self.enrolled, self.joined, Link.UP if self.joined else Link.STOPPED, "A", "North")

    def progress(self) -> ProgressTail:
        return ProgressTail(self.home / "progress.jsonl")

    def examine(self) -> Iterator[Step]:
        yield Step("name", True, "The name is known.")
        yield Step("port", False, "Port 443 does not answer: ask your IT.")

    def policy(self) -> Policy:
        return POLICY

    def rules(self) -> EgressRules:
        return EgressRules()

    def ledger(self) -> Ledger:
        return Ledger(self.home / "ledger")

    def candidates(self) -> list[Path]:
        return sorted(self.home.glob("round-*"))


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def link(tmp_path: Path, commands: Commands, site: Site) -> FederationLink:
    return FederationLink(tmp_path, commands, lambda home: site)  # type: ignore[arg-type,return-value]


def test_join_returns_at_once_and_tells_when_the_site_has_joined(link: FederationLink, commands: Commands, site: Site) -> None:
    link.join()
    assert commands.started == [["site", "join"]]
    assert link.poll() == []
    site.joined = True
    commands.last.ended = Ended(0, "")
    assert link.poll() == [on.Joined("North")]
    assert link.poll() == []


def test_a_join_that_fails_tells_the_commands_last_sentence(link: FederationLink, commands: Commands) -> None:
    link.join()
    commands.last.ended = Ended(2, "No coordinator answers at 10.0.0.1:8000: ask whether it is started.")
    assert link.poll() == [on.Left("No coordinator answers at 10.0.0.1:8000: ask whether it is started.")]


def test_leave_ends_a_join_that_is_still_trying(link: FederationLink, commands: Commands) -> None:
    link.join()
    joining = commands.last
    link.leave()
    assert joining.terminated
    assert commands.started[-1] == ["site", "leave"]
    commands.last.ended = Ended(0, "")
    assert link.poll() == [on.Left("")]


def test_a_second_command_waits_for_the_first(link: FederationLink) -> None:
    link.join()
    with pytest.raises(FedLiverError, match="wait"):
        link.join()


def test_rounds_come_from_the_progress_file(link: FederationLink, site: Site) -> None:
    site.joined = True
    assert link.resume() == [INVITED, on.Joined("North")]
    append_event(site.home / "progress.jsonl", ProgressEvent(phase="evaluating", round=1, rounds=3, dice=0.91, cases=2))
    append_event(site.home / "progress.jsonl", ProgressEvent(phase="training", round=1, rounds=3, step=5, total=20, loss=0.4))
    reported = [event.round for event in link.poll() if isinstance(event, on.RoundReported)]
    assert (reported[-1].number, reported[-1].total, reported[-1].step, reported[-1].steps, reported[-1].loss) == (1, 3, 5, 20, 0.4)
    assert reported[-1].dice == 0.91, "the round's Dice stays while the steps go on"
    assert link.poll() == []


def test_a_failure_in_a_round_is_told_in_the_sites_own_words(link: FederationLink, site: Site) -> None:
    site.joined = True
    link.resume()
    append_event(site.home / "progress.jsonl", ProgressEvent(phase="failed", round=2, rounds=3, code=6))
    notices = [event for event in link.poll() if isinstance(event, on.Noticed)]
    assert notices[0].tone is Tone.WARNING
    assert "disk" in notices[0].sentence


def test_a_node_that_stopped_by_itself_is_noticed(link: FederationLink, site: Site) -> None:
    site.joined = True
    link.resume()
    site.joined = False
    (left,) = link.poll()
    assert isinstance(left, on.Left)
    assert "stopped by itself" in left.sentence


def test_an_invitation_from_before_is_shown_again(link: FederationLink, site: Site) -> None:
    assert link.resume() == [INVITED]
    site.enrolled = False
    assert link.resume() == []


def test_a_file_that_is_no_invitation_is_refused_before_any_process(link: FederationLink, commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "holiday.json").write_text("{}")
    with pytest.raises(FedLiverError, match="not an invitation"):
        link.enrol(tmp_path / "holiday.json")
    assert commands.started == []


def test_each_new_teacher_is_told_of_once(link: FederationLink, site: Site) -> None:
    assert link.newest_candidate() is None
    (site.home / "round-001").mkdir()
    assert link.newest_candidate() == site.home / "round-001"
    assert link.newest_candidate() is None
    (site.home / "round-002").mkdir()
    assert link.newest_candidate() == site.home / "round-002"


def test_the_real_command_runs_in_a_child_and_its_sentence_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``fedliver site join`` without an invitation: exit code 2 and one sentence, through the real process seam."""
    monkeypatch.setenv("FEDLIVER_FEDERATION_PYTHON", sys.executable)
    running = FederationCommandLine(tmp_path, lambda: {"PYTHONHOME": "/nonsense", "PATH": "/usr/bin:/bin"}).start(["site", "join"])
    assert running.poll() is None, "starting does not wait"
    end = time.monotonic() + 60
    while (ended := running.poll()) is None and time.monotonic() < end:
        time.sleep(0.05)
    assert ended is not None
    assert ended.code == 2
    assert "invitation" in ended.words
    assert "Traceback" not in ended.words


def test_without_the_federations_environment_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDLIVER_FEDERATION_PYTHON", str(tmp_path / "nowhere"))
    assert not FederationLink(tmp_path).environment_ready()
    monkeypatch.setenv("FEDLIVER_FEDERATION_PYTHON", sys.executable)
    assert FederationLink(tmp_path).environment_ready()


def test_the_connection_test_brings_every_step_up_to_the_one_that_fails(link: FederationLink) -> None:
    assert link.examine(Silent()) == (Check("name", True, "The name is known."), Check("port", False, "Port 443 does not answer: ask your IT."))


def test_the_account_adds_up_what_the_ledger_holds(link: FederationLink, site: Site) -> None:
    assert link.account() == Account()
    ledger = site.ledger()
    numbers = {"norm": 1.0, "sent_norm": 0.5, "norm_bound": 1.0, "loss": 0.3, "dice": None, "dice_cases": 0, "seconds": 9.0}
    for round_, epsilon in ((1, None), (2, 1.5)):
        ledger.append(ModelIn(run=1, round=round_, model=round_ - 1, content="a" * 64, bytes=4_000_000))
        sent = {"cases": 3, "patients": 3, "noise_multiplier": 1.0, "epsilon": epsilon, "bytes": 1_500_000, "content": "b" * 64}
        ledger.append(UpdateOut(run=1, round=round_, **sent, **numbers))
    account = link.account()
    assert (account.updates, account.megabytes_out, account.megabytes_in, account.epsilon) == (2, 3.0, 8.0, 1.5)
    assert account.without_noise == 1, "the first update, which no epsilon covers"
    assert "an update of 3 cases left" in account.last[-1]
    assert len(account.last) == 4


def test_the_history_is_all_that_was_reported_however_often_it_is_asked_for(link: FederationLink, site: Site) -> None:
    append_event(site.home / "progress.jsonl", ProgressEvent(phase="training", round=1, rounds=2, step=1, total=2, loss=0.5))
    assert len(link.history()) == len(link.history()) == 1
