"""The federation's own Python, looked after from the panel: examined, made with a clean environment, removed, and never anybody else's."""

import sys
from pathlib import Path

import pytest

from fedliver.errors import Cancelled
from fedliver.site import environment
from fedliver.site.environment import environment_folder, examine_environment, remove_environment
from fedliver.slicer.federation_link import FederationLink
from fedliver.slicer.panel_state import Environment
from fedliver.watch import Silent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for a Python is a shell script")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an environment whose Python is this one; pip's opinion of it is in a file."""
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment, "_CHECK", "import json")
    folder = environment_folder(tmp_path) / "bin"
    folder.mkdir(parents=True)
    python = folder / "python"
    opinion = tmp_path / "pip-says"
    opinion.write_text("")
    script = f'#!/bin/sh\nif [ "$2" = pip ]; then cat "{opinion}"; test ! -s "{opinion}"; exit; fi\nexec "{sys.executable}" "$@"\n'
    python.write_text(script)
    python.chmod(0o755)
    return tmp_path


def test_an_environment_that_imports_all_it_needs_is_whole(home: Path) -> None:
    found = examine_environment(home)
    assert (found.whole, found.own) == (True, True)
    assert f"Python {sys.version.split()[0]}" in found.sentence


def test_a_package_that_is_missing_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_CHECK", "import no_such_package")
    found = examine_environment(home)
    assert not found.whole
    assert "no_such_package" in found.sentence
    assert "make it anew" in found.sentence


def test_versions_that_do_not_go_together_are_told(home: Path) -> None:
    (home / "pip-says").write_text("flwr 1.41 has requirement cryptography>=50, but you have 42.\n")
    assert "cryptography>=50" in examine_environment(home).sentence


def test_another_environment_is_examined_but_is_not_ours_to_remove(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.VARIABLE, sys.executable)
    (home / "pip-says").write_text("of no interest\n")
    found = examine_environment(home)
    assert (found.whole, found.own) == (True, False)
    assert FederationLink(home).environment() == Environment(True, False)
    remove_environment(home)
    assert Path(sys.executable).exists()


def test_the_panels_link_sees_it_examines_it_and_removes_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # or else this very Python would do
    link = FederationLink(home)
    assert link.environment() == Environment(True, True)
    assert "whole" in link.examine_environment(link.variables_for_another_python(), Silent()).sentence
    link.remove_environment()
    assert not environment_folder(home).exists()
    assert link.environment() == Environment()
    link.remove_environment()


def test_slicers_own_python_settings_do_not_reach_the_other_python(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_CHECK", "import os; assert 'PYTHONHOME' not in os.environ and 'PYTHONPATH' not in os.environ")
    monkeypatch.setattr(
        "fedliver.slicer.federation_link.startup_environment", lambda: {"PATH": "/bin:/usr/bin", "PYTHONHOME": "/slicer", "PYTHONPATH": "/slicer"}
    )
    link = FederationLink(home)
    assert "is whole" in link.examine_environment(link.variables_for_another_python(), Silent()).sentence


def test_whoever_looks_on_can_end_the_installer() -> None:
    def enough(line: str) -> None:
        raise Cancelled(line)

    with pytest.raises(Cancelled):
        environment._run_shown([sys.executable, "-c", "import time; print('one', flush=True); time.sleep(600)"], enough, None)
