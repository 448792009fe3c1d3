"""Finding and making the federation's Python."""

import sys
from pathlib import Path

import pytest

from fedliver.errors import FedLiverError
from fedliver.site import environment
from fedliver.site.environment import create_environment, environment_folder, find_python, flower_variables, program


def test_the_variable_comes_first_then_the_homes_own_then_this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    assert find_python(tmp_path) == Path(sys.executable)
    own = environment_folder(tmp_path) / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_python(tmp_path) == own
    chosen = tmp_path / "chosen"
    chosen.touch()
    monkeypatch.setenv(environment.VARIABLE, str(chosen))
    assert find_python(tmp_path) == chosen


def test_a_variable_that_names_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(FedLiverError, match="is not there"):
        find_python(tmp_path)


def test_without_flower_the_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FedLiverError, match="fedliver site environment create"):
        find_python(tmp_path)


def test_a_python_without_flower_is_no_environment(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError, match="has no flower-supernode"):
        program(tmp_path / "python", "flower-supernode")


def test_telemetry_is_off_and_other_flower_settings_do_not_leak_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLWR_SOMETHING", "else")
    monkeypatch.setenv("PYTHONHOME", "/slicer")
    variables = flower_variables(Path(sys.executable), tmp_path)
    assert variables["FLWR_TELEMETRY_ENABLED"] == "0"
    assert "FLWR_SOMETHING" not in variables
    assert "PYTHONHOME" not in variables
    assert variables["PATH"].startswith(str(Path(sys.executable).parent))


def test_a_failed_installation_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    wheels, said = tmp_path / "wheels", []
    wheels.mkdir()
    with pytest.raises(FedLiverError) as caught:
        create_environment(tmp_path / "home", wheels, said.append)
    assert caught.value.code == "environment-failed"
    assert not environment_folder(tmp_path / "home").exists()
    assert any("Installing" in line for line in said)


def test_a_missing_folder_of_wheels_is_said(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError, match="There is no folder"):
        create_environment(tmp_path, tmp_path / "nothing")
