"""A coordinator that lies about what kind of app its run is gets nothing of its own started at a site."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from flower_stand_ins import enrolled_site, running, wait_until, write_program
from flwr.supercore.constant import TASK_TYPE_TO_COMMAND, TaskType
from flwr.supercore.superexec.executor import subprocess_executor
from flwr.supercore.superexec.plugin import AutoExecPlugin

from fedliver.federation.of_flower import of_flower
from fedliver.federation.super_exec import client_apps_only, start_from
from fedliver.site.launchers import SUPER_NODE, write_client_app, write_refusals

HERE = Path(__file__).parent
PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "fedliver-app"
version = "0.1.0"
description = "x"
license = "Apache-2.0"
dependencies = ["flwr>=1.41,<1.42"]
[tool.flwr.app]
publisher = "fedliver"
[tool.flwr.app.components]
agentapp = "evil:app"
"""
EVIL = """import os, pathlib
pathlib.Path(os.environ["FEDLIVER_HOME"], "the coordinator's code was here").touch()
from flwr.agentapp import AgentApp
app = AgentApp()
@app.main()
def main(agent, context): ...
"""


def evil_bundle(path: Path) -> Path:
    parts = {"pyproject.toml": PROJECT.encode(), "evil.py": EVIL.encode()}
    listed = "\n".join(f"{name},{hashlib.sha256(part).hexdigest()},{8 * len(part)}" for name, part in parts.items())
    with zipfile.ZipFile(path, "w") as bundle:
        for name, part in {**parts, ".info/CONTENT": listed.encode()}.items():
            bundle.writestr(name, part)
    return path


@pytest.mark.processes
@pytest.mark.skipif(os.name == "nt", reason="the site's programs are scripts for sh")
def test_a_run_that_the_coordinator_calls_an_agents_is_refused_in_words_and_nothing_of_its_bundle_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "env" / "bin"
    lying = f"'{HERE / 'lying_superlink.py'}' '{evil_bundle(tmp_path / 'evil.fab')}' {TaskType.AGENT_APP.value}"
    real = f"exec '{sys.executable}'"
    python = write_program(programs / "python", f'case "$*" in *{SUPER_NODE}*) shift 3; {real} {lying} "$@";; *) {real} "$@";; esac')
    for path in Path(sys.executable).parent.glob("fl*w*r*-*"):
        (programs / path.name).symlink_to(path)
    monkeypatch.setenv("FEDLIVER_FEDERATION_PYTHON", str(python))
    with enrolled_site(tmp_path) as site:
        site.join()
        ran = site.files.home / "the coordinator's code was here"
        wait_until(lambda: ran.exists() or "nothing was run" in site.files.executor_log.read_text(), 120, "the task is refused")
        assert not ran.exists()
        assert "asked this site to run 'flwr-agentapp'" in site.files.executor_log.read_text()
        assert site.status().joined, "a coordinator that asks for more does not put the site out"
        assert {path.name for path in site.files.programs.iterdir()} == set(TASK_TYPE_TO_COMMAND.values())
        site.leave()
        assert running(site) == []


def test_every_other_program_that_flower_may_start_is_one_that_says_no_wherever_else_one_of_that_name_lies(tmp_path: Path) -> None:
    write_client_app(tmp_path, Path(sys.executable))
    write_refusals(tmp_path, TASK_TYPE_TO_COMMAND.values())
    commands = dict(TASK_TYPE_TO_COMMAND)
    start_from(tmp_path, commands)
    for task_type in set(commands) - {TaskType.CLIENT_APP}:
        done = subprocess.run([commands[task_type], "--token", "x"], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr == f"fedliver: {TASK_TYPE_TO_COMMAND[task_type]} was to be started here; a site runs ClientApps only, so nothing was run.\n"
    assert "fedliver.federation" in Path(commands[TaskType.CLIENT_APP]).read_text()
    assert subprocess_executor.TASK_TYPE_TO_COMMAND is TASK_TYPE_TO_COMMAND, "what is changed is what Flower's launcher looks into"


def test_on_windows_the_programs_are_batch_files_whose_python_may_lie_in_any_folder(tmp_path: Path) -> None:
    """Read, not run: no Windows is at hand."""
    write_client_app(tmp_path, Path("C:/100%/a python.exe"), "module", windows=True)
    write_refusals(tmp_path, ["flwr-agentapp"], windows=True)
    assert (tmp_path / "flwr-clientapp.cmd").read_text().startswith('@"C:/100%%/a python.exe" -m ')
    assert (tmp_path / "flwr-clientapp.cmd").read_text().endswith("module %*\n")
    assert (tmp_path / "flwr-agentapp.cmd").read_text().splitlines()[1] == "@exit /b 1"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission")
def test_a_superexec_begins_nothing_where_our_clientapp_is_not_there_or_may_not_be_executed(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "fedliver.federation.super_exec", str(tmp_path), "--runtime-api-address", "127.0.0.1:9", "--insecure"]

    def refused() -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr.splitlines()[-1]

    assert refused().endswith("nothing begins.")
    write_client_app(tmp_path, Path(sys.executable))
    (tmp_path / "flwr-clientapp").chmod(0o600)  # as on a disk that is mounted noexec
    assert refused().startswith(f"fedliver: {tmp_path / 'flwr-clientapp'} cannot be executed")


def test_a_task_of_any_type_but_a_clientapps_is_refused_and_a_clientapps_goes_to_flower() -> None:
    launched: list[str] = []

    class Plugin:
        def launch_task(self, token: str, task: SimpleNamespace) -> str:
            launched.append(task.type)
            return "launched"

    plugin = client_apps_only(Plugin, TaskType.CLIENT_APP, lambda why: why)()
    for task_type in (*(one.value for one in TaskType), "", "flwr-new"):
        answer = plugin.launch_task("token", SimpleNamespace(type=task_type))
        assert (answer == "launched") == (task_type == "flwr-clientapp")
    assert launched == ["flwr-clientapp"]
    assert "launch_task" in vars(AutoExecPlugin.__mro__[1]), "the method that is replaced is the one that Flower calls"


@pytest.mark.parametrize(("module", "name"), [("supercore.superexec.run_superexec", "GonePlugin"), ("supercore.superexec.gone", "AutoExecPlugin")])
def test_a_flower_that_has_not_what_must_be_restricted_is_not_run(module: str, name: str) -> None:
    with pytest.raises(SystemExit, match=rf"this Flower has no {module}.{name}; flwr 1.41 is needed"):
        of_flower(module, name)


def test_a_flower_that_launches_its_tasks_in_another_way_is_not_run() -> None:
    with pytest.raises(SystemExit, match="launches its tasks in another way"):
        client_apps_only(type("Plugin", (), {}), TaskType.CLIENT_APP, str)
