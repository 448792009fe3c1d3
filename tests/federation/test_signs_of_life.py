"""The start of a ClientApp: one whose libraries take long to import is still waited for. Shown with Flower's own SuperExec and Runtime API of a SuperNode."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

import pytest
import uvicorn
from federation_kit import wait_until
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import TaskType
from flwr.supercore.corestate import in_memory_corestate
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.superexec.executor import subprocess_executor
from flwr.supercore.superexec.plugin import AutoExecPlugin
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import InMemoryNodeState, NodeStateFactory

from fedliver.federation import launch
from fedliver.federation.signs_of_life import signs_of_life

Later = dict[str, timedelta]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """How much later it is for Flower than it is."""
    shift = {"by": timedelta()}
    real = in_memory_corestate.now

    def now() -> datetime:
        return real() + shift["by"]

    monkeypatch.setattr(in_memory_corestate, "now", now)
    return shift


@pytest.fixture
def node(later: Later) -> Iterator[tuple[InMemoryNodeState, str]]:
    """A SuperNode's state, and the address at which it answers ClientApps."""
    factory = NodeStateFactory(ObjectStoreFactory())
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(factory), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            state = factory.state()
            assert isinstance(state, InMemoryNodeState)
            yield state, f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def a_claimed_task(state: InMemoryNodeState) -> str:
    """The token of a task that was handed to a ClientApp just now."""
    task = state.create_task(task_type=TaskType.CLIENT_APP, run_id=1, fab_hash="0" * 64)
    assert task is not None
    token = state.claim_task(task)
    assert token is not None
    return token


def test_flower_takes_a_task_away_from_a_process_that_has_said_nothing_for_half_a_minute(node: tuple[InMemoryNodeState, str], later: Later) -> None:
    state, _ = node
    token = a_claimed_task(state)
    later["by"] = timedelta(seconds=31)
    assert state.get_task_by_token(token) is None  # the reason for all this


def test_a_process_that_says_it_is_alive_keeps_its_task(node: tuple[InMemoryNodeState, str], later: Later) -> None:
    state, address = node
    token = a_claimed_task(state)
    (task,) = state.task_token_store.values()
    at_first = task.active_until
    with signs_of_life(address, token):
        wait_until(lambda: task.active_until > at_first, 60, "Flower has heard it")
        later["by"] = timedelta(seconds=40)
        assert state.get_task_by_token(token) is not None


def test_a_supernode_that_does_not_answer_is_none_of_its_business() -> None:
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound but not listening: refused at once
        with signs_of_life(f"127.0.0.1:{nobody.getsockname()[1]}", "token"):
            pass


def test_it_needs_none_of_the_libraries_that_it_covers_for() -> None:
    code = "import sys, fedliver.federation.launch; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "http" in imported
    assert not {"flwr", "numpy", "torch", "pydantic"} & set(imported)


def test_the_stand_in_understands_what_a_superexec_says_to_a_clientapp(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess_executor.subprocess, "Popen", started.append)
    plugin = AutoExecPlugin("127.0.0.1:9104", True, None, executor=subprocess_executor.SubprocessExecutor())
    plugin.launch_task("ab" * 128, Task(task_id=7, run_id=1, type=TaskType.CLIENT_APP, fab_hash="0" * 64))
    program, *words = started[0]
    asked = launch.arguments().parse_args(words)
    assert program == "flwr-clientapp"
    assert (asked.runtime_api_address, asked.token, asked.parent_pid) == ("127.0.0.1:9104", "ab" * 128, os.getpid())
