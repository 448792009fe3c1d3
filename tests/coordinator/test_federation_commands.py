"""The commands of site and coordinator: bad input ends with exit code 2 and one sentence, and never with a traceback."""

from pathlib import Path

import pytest

from fedliver.cli.main import main
from fedliver.site.federation import SiteFederation


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert "Traceback" not in printed.out + printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert printed.err.startswith("fedliver: ")
    return printed.err


@pytest.mark.parametrize("verb", [["status"], ["start"], ["run"], ["invite", "A", "-o", "a.json"], ["approve", "request.json"]])
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
    with pytest.raises(SystemExit) as ended:
        main(["site", "status", "--home", str(tmp_path / "home")])
    assert ended.value.code in (0, None)
    assert "Not enrolled" in capsys.readouterr().out


def test_leaving_is_harmless_when_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["site", "leave", "--home", str(tmp_path / "home")])
    assert ended.value.code in (0, None)
    assert "no process" in capsys.readouterr().out
