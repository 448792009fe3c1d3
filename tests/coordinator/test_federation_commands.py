"""The commands of site and coordinator: bad input ends with exit code 2 and one sentence, and never with a traceback."""

from pathlib import Path

import pytest

from fedliver.cli.main import main
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import MaskedSum, RoundRecord, SiteUpdate, append_line
from fedliver.site.federation import SiteFederation
from fedliver.site.home import SiteHome
from fedliver.site.ledger import ModelIn
from tiny_site import tiny_bundle


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "tiny")


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert "Traceback" not in printed.out + printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert printed.err.startswith("fedliver: ")
    return printed.err


@pytest.mark.parametrize("verb", [["status"], ["start"], ["run"], ["invite", "A", "-o", "a.json"], ["approve", "request.json"], ["rollback", "1"]])
def test_without_a_coordinator_every_verb_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "fedliver coordinator init" in refused(capsys, "coordinator", *verb, "--home", tmp_path)


@pytest.mark.parametrize("content", [b"\x80\x04\x95garbage.", b"{}", b""])
def test_what_is_no_invitation_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (tmp_path / "invitation.json").write_bytes(content)
    assert "is not an invitation" in refused(capsys, "site", "enrol", tmp_path / "invitation.json", "--home", tmp_path / "home")
    assert not SiteFederation(tmp_path / "home").files.key.exists()


def test_joining_without_an_invitation_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "invitation" in refused(capsys, "site", "join", "--home", tmp_path / "home")


def test_the_state_of_a_site_that_is_not_enrolled_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SiteHome.open(tmp_path / "home")
    with pytest.raises(SystemExit) as ended:
        main(["site", "status", "--home", str(tmp_path / "home")])
    assert ended.value.code in (0, None)
    assert "Not enrolled" in capsys.readouterr().out


def test_leaving_is_harmless_when_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SiteHome.open(tmp_path / "home")
    with pytest.raises(SystemExit) as ended:
        main(["site", "leave", "--home", str(tmp_path / "home")])
    assert ended.value.code in (0, None)
    assert "no process" in capsys.readouterr().out


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


def test_the_rules_of_a_site_are_shown_and_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SiteHome.open(tmp_path)
    assert "at least 2 patients trained it" in said(capsys, "site", "rules", "--home", tmp_path)
    assert "at least 6 patients trained it" in said(capsys, "site", "rules", "--minimum-cases", 6, "--home", tmp_path)
    changed = said(capsys, "site", "rules", "--noise-multiplier", 1.5, "--epsilon-budget", 8, "--home", tmp_path)
    assert "would pass 8" in changed
    assert "at least 6 patients" in changed
    assert "no budget is set" in said(capsys, "site", "rules", "--epsilon-budget", 0, "--home", tmp_path)
    assert "nothing was changed" in refused(capsys, "site", "rules", "--minimum-cases", 0, "--home", tmp_path)


def test_the_ledger_is_shown_and_verified_and_a_changed_one_ends_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SiteHome.open(tmp_path)
    assert "Nothing has left" in said(capsys, "site", "ledger", "show", "--home", tmp_path)
    site = SiteFederation(tmp_path)
    for number in (1, 2):
        site.ledger().append(ModelIn(run=1, round=number, model=0, content="ab" * 32, bytes=5))
    assert "Round 2: the model of round 0 came in" in said(capsys, "site", "ledger", "show", "--home", tmp_path)
    whole = said(capsys, "site", "ledger", "verify", "--home", tmp_path)
    assert "is whole: 2 lines" in whole
    assert "is whole" in said(capsys, "site", "ledger", "verify", "--head", whole.split()[-1], "--home", tmp_path)
    file = site.files.ledger / "ledger.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"bytes":5', b'"bytes":6', 1))
    with pytest.raises(SystemExit) as ended:
        main(["site", "ledger", "verify", "--home", str(tmp_path)])
    assert ended.value.code == 2
    assert "line 1 was changed" in capsys.readouterr().err


def test_a_site_can_insist_on_masked_updates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SiteHome.open(tmp_path)
    assert "masked" not in said(capsys, "site", "rules", "--home", tmp_path)
    assert "only the sum of at least 4 sites" in said(capsys, "site", "rules", "--require-secure-aggregation", "--minimum-sites", 4, "--home", tmp_path)
    assert "masked" not in said(capsys, "site", "rules", "--no-require-secure-aggregation", "--home", tmp_path)


@pytest.mark.parametrize(
    ("options", "minimum_sites", "quorum"), [([], 3, 3), (["--minimum-sites", "4"], 4, 4), (["--minimum-sites", "2"], 2, 2), (["--quorum", "5"], 3, 5)]
)
def test_secure_aggregation_is_switched_on_with_a_quorum_that_can_open_a_sum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: Path, options: list[str], minimum_sites: int, quorum: int
) -> None:
    said(capsys, "coordinator", "init", "--secure-aggregation", *options, "--teacher", tiny, "--home", tmp_path / "C")
    policy = CoordinatorHome(tmp_path / "C").settings().policy
    assert policy.privacy.require_secure_aggregation
    assert (policy.privacy.minimum_sites, policy.quorum) == (minimum_sites, quorum)


@pytest.mark.parametrize("summed", [None, MaskedSum(sites=3, cases=24, loss=0.25, dice=0.9)])
def test_the_status_shows_what_the_sites_of_a_masked_round_say_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: Path, summed: MaskedSum | None
) -> None:
    said(capsys, "coordinator", "init", "--teacher", tiny, "--home", tmp_path)
    sites = tuple(SiteUpdate(site=f"Hospital {name}", megabytes_up=19.2) for name in "ABC")
    append_line(CoordinatorHome(tmp_path).rounds_file, RoundRecord(job="job", round=1, seconds=9, aggregated=True, updates=sites, summed=summed))
    told = said(capsys, "coordinator", "status", "--home", tmp_path)
    assert "Hospital B" in told
    assert ("Sum of 3" in told) == bool(summed)
    if summed:
        assert all(number in told.split("Sum of 3")[1] for number in ("24", "0.250", "0.900"))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--strategy", "best"], "'fedavg'"),
        (["--strategy", "multi-krum"], "needs a quorum of 5 or more"),
        (["--strategy", "trimmed-mean", "--quorum", "2"], "3"),
        (["--secure-aggregation", "--quorum", "2"], "a quorum of 3 or more"),
        (["--secure-aggregation", "--strategy", "trimmed-mean"], "looks at single updates"),
        (["--minimum-sites", "4"], "together with --secure-aggregation"),
        (["--steps", "99999999999"], "training.steps"),
        (["--deadline", "nan"], "deadline_seconds"),
        (["--deadline", "inf"], "deadline_seconds"),
    ],
)
def test_rules_that_cannot_be_are_said_before_anything_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], why: str) -> None:
    assert why in refused(capsys, "coordinator", "init", *options, "--home", tmp_path / "C")
    assert not (tmp_path / "C").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--host", "http://x.org"], "without http://"),
        (["--host", "a b"], "'a b' is no name or IP address"),
        (["--host", ""], "'' is no name or IP address"),
        (["--name", ""], "1 to 60"),
        (["--name", "Leber/Nord: Verbund"], "letters, digits, spaces"),
        (["--port", "8443", "--control-port", "8443"], "must be different ports"),
        (["--port", "8443", "--proxied-port", "8443"], "must be different ports"),
    ],
)
def test_an_address_or_name_that_cannot_be_is_said_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: Path, options: list[str], why: str
) -> None:
    assert why in refused(capsys, "coordinator", "init", *options, "--teacher", tiny, "--home", tmp_path / "C")
    assert not (tmp_path / "C").exists()


@pytest.mark.parametrize("days", ["nan", "inf", "-inf", "1e9", "0"])
def test_days_that_cannot_be_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: Path, days: str) -> None:
    said(capsys, "coordinator", "init", "--teacher", tiny, "--home", tmp_path / "C")
    assert "0.01 to 365 days" in refused(capsys, "coordinator", "invite", "A", "-o", tmp_path / "a.json", f"--days={days}", "--home", tmp_path / "C")
    assert not (tmp_path / "a.json").exists()


def test_a_changed_address_is_told_with_the_sites_that_need_a_new_invitation(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    said(capsys, "coordinator", "init", "--host", "old.example", "--port", 8443, "--teacher", tiny, "--home", tmp_path / "C")
    assert "invit" not in said(capsys, "coordinator", "change", "--control-port", 0, "--home", tmp_path / "C").lower()
    said(capsys, "coordinator", "invite", "Hospital A", "-o", tmp_path / "a.json", "--home", tmp_path / "C")
    told = said(capsys, "coordinator", "change", "--host", "new.example", "--proxied-port", 8444, "--home", tmp_path / "C")
    assert "new.example:8443" in told
    assert "know the old address only: Hospital A." in told
    assert "fedliver site enrol" in told
    assert "deploy nginx" in told
    assert "Nothing to change" in refused(capsys, "coordinator", "change", "--home", tmp_path / "C")
    assert "coordinator init" in refused(capsys, "coordinator", "change", "--port", 8500, "--home", tmp_path / "D")


def test_a_federation_goes_back_by_command_and_its_status_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    said(capsys, "coordinator", "init", "--host", "old.example", "--port", 8443, "--teacher", tiny, "--home", tmp_path / "C")
    assert "There is no model of round 3" in refused(capsys, "coordinator", "rollback", 3, "--home", tmp_path / "C")
    assert "begins from the model of round 0, which is that of round 1 from now on" in said(capsys, "coordinator", "rollback", 0, "--home", tmp_path / "C")
    assert "Round 1: back to the model of round 0." in said(capsys, "coordinator", "status", "--home", tmp_path / "C")
