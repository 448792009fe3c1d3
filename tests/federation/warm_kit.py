"""For the tests of the warm process: a site's folder, a stand-in for its SuperExec, and messages as real processes with nothing heavy in them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
from federation_kit import processes_under, wait_until

import fedliver
from fedliver.federation.warm_wire import run_folder

HERE = Path(__file__).parent
PATH = os.pathsep.join([str(HERE), str(Path(fedliver.__file__).parents[1])])
HANG = 60.0


def words_of(errand: str, super_exec: int, address: str = "127.0.0.1:1") -> list[str]:
    """What a SuperExec says to a ClientApp; the errand is in the token's place."""
    return ["--runtime-api-address", address, "--token", errand, "--insecure", "--parent-pid", str(super_exec)]


class Message:
    """A stand-in that was started, and what its ClientApp told. Its output goes into files, as a SuperExec's does: the warm process may keep them open."""

    def __init__(
        self, words: list[str], files: Path, folder: Path, environment: dict[str, str], before: Callable[[], None] | None = None, log: Path | None = None
    ) -> None:
        self._said, self._complained = files.with_suffix(".out"), files.with_suffix(".err")
        self._complained.touch()
        with self._said.open("wb") as said, (log or self._complained).open("wb") as complained:
            command = [sys.executable, "-m", "tiny_stand_in", "tiny_errand", *words]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=complained, cwd=folder, env=environment, preexec_fn=before)
        self.told: dict = {}

    @property
    def said(self) -> list[str]:
        return self._said.read_text().splitlines()

    @property
    def complained(self) -> str:
        return self._complained.read_text()

    def heard(self, lines: int = 1) -> "Message":
        """Wait for what the ClientApp says first."""
        wait_until(lambda: len(self.said) >= lines or self.process.poll() is not None, HANG, "the ClientApp says something")
        assert len(self.said) >= lines, self.complained
        self.told = json.loads(self.said[0])
        with suppress(psutil.NoSuchProcess):  # if it had no more to do
            self.client_app = psutil.Process(self.told["pid"])
        return self

    def end(self, given: bytes | None = None) -> tuple[int, list[str], str]:
        """The exit status, what was said after the first line, and what was complained."""
        self.process.communicate(given, timeout=HANG)
        return self.process.returncode, self.said[1:], self.complained

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


class Site:
    """A site's folder, something that stands for its SuperExec, and the messages that came."""

    def __init__(self, home: Path, at_the_end: ExitStack) -> None:
        self.home = home
        self.messages: list[Message] = []
        run_folder(home).mkdir(parents=True)
        self.super_exec = subprocess.Popen(["sleep", "1000"])
        at_the_end.callback(self.super_exec.wait)
        at_the_end.callback(self.super_exec.kill)

    def message(
        self, errand: str, address: str = "127.0.0.1:1", before: Callable[[], None] | None = None, log: Path | None = None, **environment: str
    ) -> Message:
        words = words_of(errand, self.super_exec.pid, address)
        variables = {**os.environ, "PYTHONPATH": PATH, "FEDLIVER_HOME": str(self.home), **environment}
        made = Message(words, self.home.parent / f"message-{len(self.messages)}", self.home, variables, before, log)
        self.messages.append(made)
        return made

    def gone(self) -> bool:
        return processes_under(self.home) == []


@contextmanager
def warm_site(folder: Path) -> Iterator[Site]:
    """A site in ``folder``; at the end nothing of it may be left."""
    with ExitStack() as at_the_end:
        made = Site(folder / "home", at_the_end)
        yield made
        for message in made.messages:
            message.close()
        made.super_exec.kill()
        made.super_exec.wait()
        wait_until(made.gone, HANG, "everything of a site ends with its SuperExec")


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
