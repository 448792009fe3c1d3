"""Finding and making the federation's Python."""

import os
import sys
import tempfile
import zipfile
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


@pytest.mark.skipif(os.name == "nt", reason="the programs here are shell scripts")
def test_inside_slicer_a_python_is_found_by_its_version_or_by_windows_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins of what the systems bring: a launcher that takes the version as its first word, and a `python` that only opens a shop."""
    here = Path(sys.executable)

    def brings(**scripts: str) -> Path | str:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        for name, script in scripts.items():
            (folder / name.replace("_", ".")).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name.replace("_", ".")).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        try:
            return environment._base_python(None)
        except FedLiverError as error:
            return error.code

    monkeypatch.setattr(sys, "executable", "/opt/SlicerApp-real")
    this, shop, older = f'exec "{here}" "$@"', "exit 9", "echo 3 10; echo /usr/bin/python3.10"
    assert brings() == "no-python"
    assert brings(python3_12=this) == here
    assert brings(python3=older, python=shop) == "no-python"
    assert brings(python=shop, py=f"shift; {this}") == here
    assert brings(python3=older, python=this) == here


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


def tiny_wheel(folder: Path) -> None:
    """A package called fedliver that holds one module and needs nothing."""
    folder.mkdir()
    metadata = "Metadata-Version: 2.1\nName: fedliver\nVersion: 9.9\nProvides-Extra: federation\n"
    wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / "fedliver-9.9-py3-none-any.whl", "w") as archive:
        archive.writestr("stand_in_for_flwr.py", "")
        archive.writestr("fedliver-9.9.dist-info/METADATA", metadata)
        archive.writestr("fedliver-9.9.dist-info/WHEEL", wheel)
        archive.writestr("fedliver-9.9.dist-info/RECORD", "")


def test_an_environment_made_from_a_folder_of_wheels_is_found_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment, "_CHECK", "import stand_in_for_flwr")
    tiny_wheel(tmp_path / "wheels")
    said: list[str] = []
    python = create_environment(tmp_path / "home", tmp_path / "wheels", said.append)
    assert find_python(tmp_path / "home") == python
    assert python.parent.parent == environment_folder(tmp_path / "home")
    assert "is ready" in said[-1]
