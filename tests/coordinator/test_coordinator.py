"""The coordinator without its processes: making it, inviting, approving, and what is said when something is wrong."""

import json
import os
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from fedliver.coordinator.app_bundle import app_hash
from fedliver.coordinator.coordinator import Coordinator
from fedliver.coordinator.records import RoundRecord, RunEvent, append_line, read_rounds
from fedliver.errors import FedLiverError
from fedliver.site.enrolment import read_invitation, read_request, write_model
from fedliver.site.environment import find_python
from fedliver.site.federation import SiteFederation
from fedliver.site.policy import contract_of
from fedliver.site.processes import ProcessRecord, is_alive, read_record
from fedliver.teacher.bundle import load_bundle, save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    plan = TeacherPlan.tiny()
    save_bundle(build_network(plan), plan, root / "tiny", name="tiny", version="0")
    Coordinator.create(root / "home", host="127.0.0.1", name="Charité, Berlin", teacher=root / "tiny")
    return root


@pytest.fixture
def coordinator(made: Path, tmp_path: Path) -> Coordinator:
    shutil.copytree(made / "home", tmp_path / "home")
    return Coordinator(tmp_path / "home")


def code_of(call: object, *arguments: object) -> str:
    with pytest.raises(FedLiverError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


def request_of(coordinator: Coordinator, folder: Path, name: str, invited_as: str = "Hospital A") -> Path:
    coordinator.invite(invited_as, folder / f"{name}.json")
    return SiteFederation(folder / name).enrol(folder / f"{name}.json")


def test_a_new_coordinator_holds_its_first_teacher_and_its_contract(coordinator: Coordinator) -> None:
    settings = coordinator.home.settings()
    assert settings.policy.contract == contract_of(TeacherPlan.tiny())
    assert load_bundle(coordinator.home.teacher_of(0)).plan == TeacherPlan.tiny()
    assert settings.port > 0
    status = coordinator.status()
    assert (status.started, status.sites, status.rounds) == (False, (), ())


def test_an_expired_invitation_is_not_approved_any_more(coordinator: Coordinator, tmp_path: Path) -> None:
    request = request_of(coordinator, tmp_path, "a")
    sites = coordinator.home.sites()
    late = tuple(invitation.model_copy(update={"expires": datetime.now(UTC)}) for invitation in sites.invitations)
    coordinator.home.save_sites(sites.model_copy(update={"invitations": late}))
    assert code_of(coordinator.approve, request) == "invitation-expired"
    assert coordinator.home.sites().sites == ()
    assert "invitation expired on" in coordinator.members()[0].state
    coordinator.approve(request_of(coordinator, tmp_path, "a"))


def test_a_request_that_answers_no_invitation_of_this_coordinator_is_not_approved(coordinator: Coordinator, made: Path, tmp_path: Path) -> None:
    request = request_of(coordinator, tmp_path, "a")
    for change in ({"invitation": "0" * 32}, {"site_name": "Hospital X"}):
        write_model(tmp_path / "changed.json", read_request(request).model_copy(update=change))
        assert code_of(coordinator.approve, tmp_path / "changed.json") == "unknown-invitation"
    assert coordinator.home.sites().sites == ()


def test_a_revoked_site_is_gone_and_its_key_cannot_come_back(coordinator: Coordinator, tmp_path: Path) -> None:
    request = request_of(coordinator, tmp_path, "a")
    coordinator.approve(request)
    assert code_of(coordinator.revoke, "Hospital B") == "no-such-site"
    coordinator.revoke("Hospital A")
    assert coordinator.home.sites().sites == ()
    assert code_of(coordinator.approve, request) == "unknown-invitation", "its invitation is gone with it"
    again = request_of(coordinator, tmp_path, "a")
    assert code_of(coordinator.approve, again) == "key-revoked"
    SiteFederation(tmp_path / "a").files.key.unlink()
    assert coordinator.approve(request_of(coordinator, tmp_path, "a")).name == "Hospital A"


def test_the_list_tells_who_is_invited_approved_and_revoked_and_by_which_key(coordinator: Coordinator, tmp_path: Path) -> None:
    for name in ("a", "b"):
        coordinator.approve(request_of(coordinator, tmp_path, name, f"Hospital {name.upper()}"))
    coordinator.revoke("Hospital B")
    coordinator.invite("Hospital C", tmp_path / "c.json")
    members = coordinator.members()
    assert [(member.name, member.state.split()[0]) for member in members] == [("Hospital A", "approved"), ("Hospital C", "invited"), ("Hospital B", "revoked")]
    listed = subprocess.run(["ssh-keygen", "-lf", "-"], input=coordinator.home.sites().sites[0].public_key, capture_output=True, text=True, check=True).stdout
    assert members[0].fingerprint in listed


def test_a_coordinator_is_not_made_over_another(coordinator: Coordinator) -> None:
    with pytest.raises(FedLiverError, match="is a coordinator already"):
        Coordinator.create(coordinator.home.path, host="127.0.0.1")


def test_what_is_no_bundle_cannot_be_the_first_teacher(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError, match="is not a teacher bundle"):
        Coordinator.create(tmp_path / "home", host="127.0.0.1", teacher=tmp_path)
    assert not (tmp_path / "home" / "coordinator.json").exists()


def test_the_app_bundle_has_the_same_hash_every_time_and_another_when_it_is_changed(coordinator: Coordinator) -> None:
    python, app = find_python(coordinator.home.path), coordinator.home.app
    assert app_hash(app, python) == coordinator.home.settings().app_hash
    (app / "more.py").write_text("print('hello')\n")
    assert app_hash(app, python) != coordinator.home.settings().app_hash


def test_an_invitation_says_all_and_holds_no_secret(coordinator: Coordinator, tmp_path: Path) -> None:
    coordinator.invite("Hospital A", tmp_path / "a.json", valid_days=2)
    invitation = read_invitation(tmp_path / "a.json")
    settings = coordinator.home.settings()
    assert (invitation.coordinator_name, invitation.port, invitation.policy) == ("Charité, Berlin", settings.port, settings.policy)
    assert invitation.allowed_apps == (settings.app_hash,)
    assert 1.9 < (invitation.expires - datetime.now(UTC)).total_seconds() / 86_400 <= 2
    text = (tmp_path / "a.json").read_text()
    assert "PRIVATE" not in text
    for secret in (coordinator.home.certificates.ca_key, coordinator.home.certificates.server_key):
        assert secret.read_text().splitlines()[1] not in text


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 61, "<b>"])
def test_a_site_cannot_have_a_harmful_name(coordinator: Coordinator, tmp_path: Path, name: str) -> None:
    assert code_of(coordinator.invite, name, tmp_path / "a.json") == "bad-name"


@pytest.mark.parametrize("days", [float("nan"), float("inf"), float("-inf"), 1e9, 365.1, 0.0, -1.0])
def test_an_invitation_is_good_for_a_year_at_most_and_for_a_number_of_days(coordinator: Coordinator, tmp_path: Path, days: float) -> None:
    assert code_of(coordinator.invite, "Hospital A", tmp_path / "a.json", days) == "bad-days"
    assert not (tmp_path / "a.json").exists()
    assert coordinator.home.sites().invitations == ()


@pytest.mark.parametrize("rounds", [0, -1, 1001])
def test_a_run_of_impossibly_many_rounds_is_refused_in_words(coordinator: Coordinator, rounds: int) -> None:
    assert code_of(coordinator.run, rounds) == "bad-rounds"


def test_an_approved_site_is_listed_once(coordinator: Coordinator, tmp_path: Path) -> None:
    request = request_of(coordinator, tmp_path, "a")
    assert coordinator.approve(request).node_id is None
    coordinator.approve(request)
    assert [site.name for site in coordinator.status().sites] == ["Hospital A"]


def test_a_name_cannot_be_taken_by_another_key_nor_a_key_by_another_name(coordinator: Coordinator, tmp_path: Path) -> None:
    coordinator.approve(request_of(coordinator, tmp_path, "a"))
    assert code_of(coordinator.approve, request_of(coordinator, tmp_path, "b")) == "name-taken"
    assert code_of(coordinator.approve, request_of(coordinator, tmp_path, "a", "Hospital C")) == "key-taken"


def test_garbage_is_not_approved(coordinator: Coordinator, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_bytes(b"\x80\x04garbage")
    assert code_of(coordinator.approve, tmp_path / "request.json") == "not-a-request"


def test_nobody_goes_back_while_a_run_is_in_progress(coordinator: Coordinator) -> None:
    write_model(coordinator.home.record("run"), ProcessRecord(role="run", pid=os.getpid(), started=psutil.Process().create_time()))
    assert code_of(coordinator.roll_back, 0) == "run-in-progress"
    assert coordinator.rounds() == []


def test_what_needs_a_started_coordinator_says_so(coordinator: Coordinator) -> None:
    assert code_of(coordinator.run) == "coordinator-not-started"
    coordinator.stop()


def test_a_port_in_use_is_said_and_nothing_is_started(coordinator: Coordinator) -> None:
    with socket.create_server(("127.0.0.1", coordinator.home.settings().port)), pytest.raises(FedLiverError, match=r"Port \d+ is in use") as caught:
        coordinator.start()
    assert caught.value.code == "port-in-use"
    assert not coordinator.home.record("superlink").exists()


def test_a_policy_edited_into_nonsense_is_named_with_the_field(coordinator: Coordinator) -> None:
    file = coordinator.home.policy_file
    file.write_text(file.read_text().replace('"quorum": 2', '"quorum": "many"'))
    with pytest.raises(FedLiverError, match=r"policy.json cannot be read \(quorum"):
        coordinator.home.settings()


def test_a_policy_whose_strategy_asks_for_more_sites_than_its_quorum_is_named_with_the_reason(coordinator: Coordinator) -> None:
    text = coordinator.home.policy_file.read_text()
    policy = json.loads(text)
    coordinator.home.policy_file.write_text(json.dumps({**policy, "strategy": {"name": "multi-krum"}}))
    with pytest.raises(FedLiverError, match=r"policy\.json cannot be read \(the strategy multi-krum needs a quorum of 5 or more\)"):
        coordinator.home.settings()
    coordinator.home.policy_file.write_text(json.dumps({**policy, "strategy": {"name": "multi-krum"}, "quorum": 5}))
    assert coordinator.home.settings().policy.strategy.name == "multi-krum"


def test_an_edited_policy_counts_but_not_another_contract(coordinator: Coordinator) -> None:
    file = coordinator.home.policy_file
    file.write_text(file.read_text().replace('"quorum": 2', '"quorum": 7'))
    assert coordinator.home.settings().policy.quorum == 7
    file.write_text(file.read_text().replace(contract_of(TeacherPlan.tiny()), "0" * 64))
    assert code_of(coordinator.home.settings) == "damaged-settings"


def test_a_folder_without_a_coordinator_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError, match="fedliver coordinator init"):
        Coordinator(tmp_path).status()


def test_records_are_read_back_and_a_half_written_one_is_left_out(tmp_path: Path) -> None:
    record = RoundRecord(job="job", round=1, seconds=1.0, aggregated=True, updates=(), teacher="round-001")
    append_line(tmp_path / "rounds.jsonl", record)
    with (tmp_path / "rounds.jsonl").open("a") as stream:
        stream.write('{"kind": "rou')
    assert read_rounds(tmp_path / "rounds.jsonl") == [record]
    assert RunEvent.model_validate_json(RunEvent(kind="aggregated", sentence="s", record=record).model_dump_json()).record == record


class RunningSuperLink:
    """Stands in for the real one: it takes runs, and its process may be dead all the same."""

    running = True

    def variables(self) -> dict[str, str]:
        return {}

    def run_command(self, job: str) -> list[str | Path]:
        return [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.mark.parametrize(("alive", "why"), [(False, "the SuperLink has ended"), (True, "its ServerApp was killed")])
def test_a_run_ends_and_says_why_when_its_superlink_or_its_server_app_is_gone(coordinator: Coordinator, tmp_path: Path, alive: bool, why: str) -> None:
    coordinator.approve(request_of(coordinator, tmp_path, "a"))
    superlink = RunningSuperLink()
    if alive:
        superlink.run_command = lambda job: [sys.executable, "-c", ""]  # type: ignore[method-assign]
        mine = ProcessRecord(role="SuperLink", pid=os.getpid(), started=psutil.Process().create_time())
        write_model(coordinator.home.record("superlink"), mine)
    watched = Coordinator(coordinator.home.path, lambda home: superlink, grace_seconds=0.1)  # type: ignore[arg-type,return-value]
    with pytest.raises(FedLiverError, match=why) as caught:
        watched.run(1)
    assert caught.value.code == "run-failed"
    assert not is_alive(read_record(coordinator.home.record("run")))


def test_a_run_that_ended_without_a_word_on_a_full_disk_says_so(coordinator: Coordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator.approve(request_of(coordinator, tmp_path, "a"))
    superlink = RunningSuperLink()
    superlink.run_command = lambda job: [sys.executable, "-c", ""]  # type: ignore[method-assign]
    watched = Coordinator(coordinator.home.path, lambda home: superlink, grace_seconds=0.1)  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))
    with pytest.raises(FedLiverError, match=r"the disk that holds .* is full"):
        watched.run(1)
