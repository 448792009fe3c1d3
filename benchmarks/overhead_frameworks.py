"""Ours, plain Flower and NVFLARE, each with three sites on this machine: started, run for some rounds of the fixed work, ended."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import psutil
from fault_trial import WARM, approve_patients
from overhead_work import FOLDER, note

from fedliver.coordinator.coordinator import Coordinator
from fedliver.site.environment import program
from fedliver.site.federation import SiteFederation, free_port
from fedliver.site.processes import processes_of, read_record
from fedliver.site.rules import changed_rules

HERE = Path(__file__).resolve().parent
SITES = ("A", "B", "C")
_START_SECONDS = 120.0


class Framework(Protocol):
    """Three sites that are ready."""

    def run(self, rounds: int) -> None:
        """Run rounds of the work that the folder asks for (``RuntimeError`` or a FedLiverError if they fail)."""


class Ours:
    def __init__(self, coordinator: Coordinator, sites: Sequence[SiteFederation]) -> None:
        self._coordinator = coordinator
        self._sites = sites

    def run(self, rounds: int) -> None:
        outcome = self._coordinator.run(rounds)
        refused = [update.refused for record in outcome.rounds for update in record.updates if update.refused]
        if refused:
            raise RuntimeError(f"an update was not used: {refused}")
        for site in self._sites:
            for process in processes_of(read_record(site.files.records[0])):
                if process.name() == WARM:
                    memory = process.memory_full_info()
                    note("memory", rss=memory.rss / 1e6, pss=memory.pss / 1e6, uss=memory.uss / 1e6)


@contextmanager
def ours(root: Path) -> Iterator[Framework]:
    """One approved patient at each site, so that none is held out and nothing is scored: no other framework scores either."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    with ExitStack() as at_the_end:
        coordinator = Coordinator.create(
            root / "coordinator", host="127.0.0.1", policy=lambda policy: policy.model_copy(update={"quorum": len(SITES), "deadline_seconds": 3600.0})
        )
        at_the_end.callback(coordinator.stop)
        coordinator.start()
        sites: list[SiteFederation] = []
        for number, name in enumerate(SITES):
            approve_patients(root / name, range(number, number + 1))
            changed_rules(root / name, minimum_cases=1, minimum_metric_cases=1)
            site = SiteFederation(root / name, launcher="overhead_launcher")
            coordinator.invite(f"Hospital {name}", root / f"{name}.json")
            coordinator.approve(site.enrol(root / f"{name}.json"))
            at_the_end.callback(site.leave)
            site.join()
            sites.append(site)
        yield Ours(coordinator, sites)


class Flower:
    def __init__(self, app: Path, environment: dict[str, str]) -> None:
        self._app = app
        self._environment = environment

    def run(self, rounds: int) -> None:
        told = f"sites={len(SITES)} rounds={rounds}"
        command = [program(Path(sys.executable), "flwr"), "run", self._app, "plain", "--stream", "--run-config", told]
        done = subprocess.run(command, env=self._environment, cwd=self._app, capture_output=True, text=True, check=False)
        (self._app / "run.log").write_text(done.stdout + done.stderr)
        if done.returncode or "Traceback" in done.stdout + done.stderr:
            raise RuntimeError(f"Flower's run failed: {done.stdout[-2000:]} {done.stderr[-2000:]}")


@contextmanager
def flower(root: Path, polling: str | None = None) -> Iterator[Framework]:
    """A SuperLink and SuperNodes without TLS, as they start by default. ``polling``: how often a SuperExec looks for work, seconds; Flower's own if None."""
    app, port = root / "app", free_port()
    app.mkdir(parents=True)
    (app / "pyproject.toml").write_text(_APP)
    (root / "home").mkdir()
    (root / "home" / "config.toml").write_text(f'[superlink]\ndefault = "plain"\n\n[superlink.plain]\naddress = "127.0.0.1:{port}"\ninsecure = true\n')
    python = Path(sys.executable)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
        "FLWR_HOME": str(root / "home"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        **({"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": polling} if polling else {}),
    }
    link = [program(python, "flower-superlink"), "--insecure", "--host", "127.0.0.1", "--port", str(port), "--disable-runtime-dependency-installation"]
    with ExitStack() as at_the_end:
        at_the_end.enter_context(_running(link, environment, root / "superlink.log"))
        _wait_for_port(port)
        logs = []
        for name in SITES:
            node = [program(python, "flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{port}", "--host", "127.0.0.1", "--port", str(free_port())]
            logs.append(root / f"{name}.log")
            at_the_end.enter_context(_running(node, environment, logs[-1]))
        _wait(lambda: all("SuperNode ID" in log.read_text(errors="replace") for log in logs), "the SuperNodes have joined")
        yield Flower(app, environment)


_APP = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "overhead-app"
version = "1.0.0"
description = "The fixed work, in plain Flower"
license = "Apache-2.0"
dependencies = ["flwr>=1.41,<1.42"]

[tool.flwr.app]
publisher = "fedliver"

[tool.flwr.app.components]
serverapp = "overhead_flower_app:server_app"
clientapp = "overhead_flower_app:client_app"

[tool.flwr.app.config]
sites = 3
rounds = 1
"""


class Nvflare:
    def __init__(self, python: Path, mode: str, root: Path) -> None:
        self._python = python
        self._mode = mode
        self._root = root

    def run(self, rounds: int) -> None:
        words = [str(self._python), str(HERE / "overhead_nvflare.py"), self._mode, str(self._root / "workspace"), "--rounds", str(rounds)]
        path = os.pathsep.join([str(HERE), str(HERE.parent / "FedLiverSlicer" / "Logic")])
        environment = {**os.environ, "PYTHONPATH": path, "NVFLARE_POC_WORKSPACE": str(self._root / "poc")}
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / "nvflare.log").open("ab") as log:
            done = subprocess.run([*words, "--sites", str(len(SITES))], env=environment, cwd=self._root, stdout=log, stderr=log, check=False)
        if done.returncode:
            raise RuntimeError(f"NVFLARE's run failed: {(self._root / 'nvflare.log').read_text(errors='replace')[-2000:]}")


@contextmanager
def nvflare(root: Path, python: Path, mode: str) -> Iterator[Framework]:
    """Its simulator and its proof-of-concept mode start and end everything for each job."""
    yield Nvflare(python, mode, root)


@contextmanager
def work_folder(folder: Path, plan: str) -> Iterator[None]:
    """The folder that the work reads and writes, and the threads that every site may use."""
    folder.mkdir()
    (folder / "plan.json").write_text(plan)
    kept = {name: os.environ.get(name) for name in (FOLDER, "OMP_NUM_THREADS", "PYTHONPATH")}
    os.environ.update({FOLDER: str(folder), "OMP_NUM_THREADS": "1"})
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _running(command: list[str | Path], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen([str(word) for word in command], env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
        for one in family:
            one.terminate()
        for one in psutil.wait_procs(family, 10)[1]:
            one.kill()
        process.wait()


def _wait_for_port(port: int) -> None:
    def open_() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    _wait(open_, "the SuperLink listens")


def _wait(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(f"it did not happen: {what}")
        time.sleep(0.1)
