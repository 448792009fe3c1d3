"""The files that put a coordinator behind nginx and under systemd. That the real nginx takes its file, test_control_plane_processes.py shows."""

import configparser
import shlex
from pathlib import Path

import pytest

from fedliver.coordinator.deployment import configuration
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import Settings
from fedliver.errors import FedLiverError
from fedliver.site.enrolment import write_model
from fedliver.site.policy import Policy, contract_of
from fedliver.teacher.plan import TeacherPlan

REPOSITORY = Path(__file__).resolve().parents[2]


def home_of(folder: Path, **changes: object) -> CoordinatorHome:
    plan = TeacherPlan.tiny()
    policy = Policy(contract=contract_of(plan))
    settings = Settings(name="Liver", host="c.example", port=8443, control_port=9000, proxied_port=8444, plan=plan, policy=policy, app_hash="0" * 64)
    home = CoordinatorHome(folder)
    write_model(home.settings_file, settings.model_copy(update=changes))
    write_model(home.policy_file, policy)
    return home


def test_nginx_passes_the_fleet_api_and_the_health_check_to_the_sites_door_and_nothing_to_the_own_one(tmp_path: Path) -> None:
    text = configuration("nginx", home_of(tmp_path / "a folder"))
    assert text.count("proxy_pass https://127.0.0.1:8444;") == text.count("proxy_pass") == 2
    assert [line.split("{")[0].strip() for line in text.splitlines() if "location" in line] == ["location = /health", "location /v1/fleet/", "location /"]
    assert "listen 8443 ssl;" in text
    assert "9000" not in text
    assert f'"{tmp_path}/a folder/certificates/server.pem"' in text


def test_a_coordinator_that_listens_itself_is_told_how_to_be_made_for_nginx(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError, match="--proxied-port") as caught:
        configuration("nginx", home_of(tmp_path, proxied_port=None))
    assert caught.value.code == "not-proxied"


def test_the_systemd_unit_starts_the_coordinator_in_the_foreground_and_writes_in_its_folder_alone(tmp_path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(configuration("systemd", home_of(tmp_path / "100% mine")))
    service = unit["Service"]
    words = shlex.split(service["ExecStart"])
    assert words[-5:] == ["coordinator", "start", "--follow", "--home", f"{tmp_path}/100%% mine"]
    assert Path(words[0]).is_file()
    assert shlex.split(service["ReadWritePaths"]) == [f"{tmp_path}/100%% mine"]
    assert service["ProtectSystem"] == "strict"


def test_another_file_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError) as caught:
        configuration("apache", home_of(tmp_path))
    assert caught.value.code == "unknown-file"


def test_the_docker_files_name_commands_and_files_that_are_there() -> None:
    """Docker itself is not run here."""
    from typer.testing import CliRunner

    from fedliver.cli import coordinator, site

    compose = (REPOSITORY / "deploy/compose.yaml").read_text()
    commands = [line.split("command:")[1].split() for line in compose.splitlines() if "command:" in line]
    assert commands == [["fedliver", "coordinator", "start", "--follow"], ["fedliver", "site", "join", "--follow"]]
    for (_, room, verb, option), app in zip(commands, (coordinator.app, site.app), strict=True):
        assert option in CliRunner().invoke(app, [verb, "--help"], env={"TERM": "dumb", "COLUMNS": "200"}).output, room
    copied = [line.split()[1:-1] for line in (REPOSITORY / "deploy/Dockerfile").read_text().splitlines() if line.startswith("COPY")]
    assert all((REPOSITORY / name.rstrip("*")).exists() for names in copied for name in names)
