"""The warm process of a site: what a stand-in hands over, who ends with whom, and when the plain way is taken. Real processes, and nothing heavy in them."""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, chdir, suppress
from pathlib import Path

import psutil
import pytest
from federation_kit import approve_patients, as_another_user, enrolled_home, processes_under, wait_until

import fedliver
from fedliver.federation.warm_wire import (
    UNABLE,
    Request,
    Said,
    WireError,
    check_peer,
    connect,
    listen,
    receive_answer,
    run_folder,
    send_request,
    the_only_one,
)
from fedliver.site.federation import SiteFederation, SiteFiles
from fedliver.site.processes import start_process
from fedliver.teacher.plan import TeacherPlan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm process is Linux's")

HERE = Path(__file__).parent
PATH = os.pathsep.join([str(HERE), str(Path(fedliver.__file__).parents[1])])
HANG = 60.0


def words_of(errand: str, super_exec: int, address: str = "127.0.0.1:1") -> list[str]:
    """What a SuperExec says to a ClientApp; the errand is in the token's place."""
    return ["--runtime-api-address", address, "--token", errand, "--insecure", "--parent-pid", str(super_exec)]


class Message:
    """A stand-in that was started, and what its ClientApp told. Its output goes into files, as a SuperExec's does: the warm process may keep them open."""

    def __init__(self, words: list[str], files: Path, folder: Path, environment: dict[str, str]) -> None:
        self._said, self._complained = files.with_suffix(".out"), files.with_suffix(".err")
        with self._said.open("wb") as said, self._complained.open("wb") as complained:
            command = [sys.executable, "-m", "tiny_stand_in", "tiny_errand", *words]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=complained, cwd=folder, env=environment)
        self.told: dict = {}

    @property
    def said(self) -> list[str]:
        return self._said.read_text().splitlines()

    def heard(self, lines: int = 1) -> "Message":
        """Wait for what the ClientApp says first."""
        wait_until(lambda: len(self.said) >= lines or self.process.poll() is not None, HANG, "the ClientApp says something")
        assert len(self.said) >= lines, self._complained.read_text()
        self.told = json.loads(self.said[0])
        with suppress(psutil.NoSuchProcess):  # if it had no more to do
            self.client_app = psutil.Process(self.told["pid"])
        return self

    def end(self, given: bytes | None = None) -> tuple[int, list[str], str]:
        """The exit status, what was said after the first line, and what was complained."""
        self.process.communicate(given, timeout=HANG)
        return self.process.returncode, self.said[1:], self._complained.read_text()

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

    def message(self, errand: str, address: str = "127.0.0.1:1", **environment: str) -> Message:
        words = words_of(errand, self.super_exec.pid, address)
        variables = {**os.environ, "PYTHONPATH": PATH, "FEDLIVER_HOME": str(self.home), **environment}
        made = Message(words, self.home.parent / f"message-{len(self.messages)}", self.home, variables)
        self.messages.append(made)
        return made

    def gone(self) -> bool:
        return processes_under(self.home) == []


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as at_the_end:
        made = Site(tmp_path / "home", at_the_end)
        yield made
        for message in made.messages:
            message.close()
        made.super_exec.kill()
        made.super_exec.wait()
        wait_until(made.gone, HANG, "everything of a site ends with its SuperExec")


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_client_app_is_handed_all_that_its_stand_in_was_given_and_gives_back_all_that_it_says(site: Site) -> None:
    message = site.message("read", WORD="of the message").heard()
    code, said, complained = message.end(b"from outside")
    told = message.told
    assert (code, said, complained) == (0, ["from outside"], "to whom it may concern\n")
    assert told["arguments"][-5:] == ["--token", "read", "--insecure", "--parent-pid", str(site.super_exec.pid)]
    assert (told["folder"], told["home"], told["word"], told["leftover"]) == (str(site.home), str(site.home), "of the message", "")
    assert told["name"] == "flwr-clientapp"
    assert len(told["open"]) == 4, "nothing of the warm process's own is open in it: three streams, and the look itself"
    assert psutil.Process(told["parent"]).name() == "fedliver-warm"


def test_whatever_a_request_says_the_client_app_is_of_the_warm_processs_own_site(site: Site, tmp_path: Path) -> None:
    site.message("exit0").end()
    said = tmp_path / "said"
    with said.open("wb") as output, connect(run_folder(site.home)) as connection:  # type: ignore[union-attr]
        elsewhere = {**os.environ, "PYTHONPATH": PATH, "FEDLIVER_HOME": "/another/site"}
        send_request(connection, Request(words_of("exit0", site.super_exec.pid), elsewhere, "/"), [0, output.fileno(), output.fileno()])
        assert receive_answer(connection)[0] is Said.STARTED  # type: ignore[index]
        assert receive_answer(connection) == (Said.ENDED, 0)
    assert json.loads(said.read_text().splitlines()[0])["home"] == str(site.home)


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_stand_in_ends_with_the_exit_status_of_the_client_app(site: Site, code: int) -> None:
    assert site.message(f"exit{code}").end()[0] == code


def test_a_client_app_that_is_killed_ends_its_stand_in_the_same_way(site: Site) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        message = site.message("stay").heard()
        message.client_app.send_signal(number)
        assert message.end()[0] == -number


def test_a_stand_in_that_is_killed_ends_its_client_app_and_no_other(site: Site) -> None:
    first, second = site.message("stay").heard(), site.message("stay").heard()
    first.process.kill()
    wait_until(lambda: ended(first.client_app), HANG, "the ClientApp of the killed stand-in ends")
    assert second.process.poll() is None
    assert not ended(second.client_app)


def test_a_stand_in_leaves_it_to_its_client_app_to_end_when_it_is_asked_to(site: Site) -> None:
    message = site.message("stay").heard()
    status = Path(f"/proc/{message.process.pid}/status")
    wait_until(lambda: int(status.read_text().split("SigIgn:")[1].split()[0], 16) & 1 << signal.SIGTERM - 1, HANG, "the stand-in waits")
    message.process.terminate()
    assert not ended(message.client_app)
    message.client_app.terminate()
    assert message.end()[0] == -signal.SIGTERM


def test_a_warm_process_that_is_killed_ends_its_client_apps_and_the_next_message_has_a_new_one(site: Site) -> None:
    message = site.message("stay").heard()
    psutil.Process(message.told["parent"]).kill()
    code, _, complained = message.end()
    assert code == 1
    assert "the warm process was killed, and the ClientApp with it" in complained
    wait_until(lambda: ended(message.client_app), HANG, "the ClientApp ends with the warm process")
    following = site.message("exit0").heard()
    assert following.end()[0] == 0
    assert following.told["parent"] != message.told["parent"]
    assert psutil.Process(following.told["parent"]).name() == "fedliver-warm"


def test_messages_at_the_same_time_are_served_by_one_warm_process(site: Site) -> None:
    both = [site.message("stay"), site.message("stay")]  # neither waits for the other: they race for making the warm process
    first, second = (message.heard().told for message in both)
    assert first["parent"] == second["parent"]
    assert first["pid"] != second["pid"]
    assert first["random"] != second["random"]


def test_it_ends_with_its_superexec_and_takes_along_a_client_app_that_does_not_listen(site: Site) -> None:
    message = site.message("deaf").heard(2)
    site.super_exec.kill()
    site.super_exec.wait()
    assert message.end()[0] == -signal.SIGKILL
    wait_until(site.gone, HANG, "the warm process ends")


def test_it_ends_with_its_supernode(site: Site) -> None:
    files = SiteFiles(site.home)
    node = start_process(["sleep", "1000"], role="SuperNode", environment=dict(os.environ), log=files.node_log, record=files.records[1], folder=Path("/"))
    message = site.message("stay", WARM_SUPER_NODE="1").heard()
    psutil.Process(node.pid).kill()
    assert message.end()[0] == -signal.SIGKILL
    wait_until(site.gone, HANG, "the warm process ends")
    later = site.message("exit3", WARM_SUPER_NODE="1").heard()
    code, _, complained = later.end()
    assert code == 3
    assert "without the warm process" in complained


def test_it_ends_when_it_is_asked_to_and_when_nothing_comes(site: Site) -> None:
    message = site.message("exit0").heard()
    psutil.Process(message.told["parent"]).terminate()
    wait_until(site.gone, HANG, "it ends when it is asked to")
    site.message("exit0", WARM_IDLE="0.2").end()
    wait_until(site.gone, HANG, "it ends when nothing comes")


def test_one_that_has_more_than_one_thread_forks_nothing_and_the_client_apps_start_the_plain_way(site: Site) -> None:
    for _ in range(2):
        message = site.message("exit5", WARM_LIBRARIES="threaded_library").heard()
        code, _, complained = message.end()
        assert code == 5
        assert complained.count("\n") == 2
        assert "starts without the warm process (the warm process has 2 threads)" in complained
        assert message.told["pid"] == message.process.pid
        wait_until(site.gone, HANG, "it does not stay")
    assert "2 threads" in (run_folder(site.home) / UNABLE).read_text()


def test_one_that_cannot_import_what_it_should_does_not_keep_a_message_from_being_answered(site: Site) -> None:
    code, _, complained = site.message("exit6", WARM_LIBRARIES="no_such_library").end()
    assert code == 6
    assert "starts without the warm process" in complained


def test_while_it_imports_the_supernode_hears_that_the_client_app_is_on_its_way(site: Site, tmp_path: Path) -> None:
    tokens: list[str] = []
    heard = threading.Event()

    class Runtime(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            tokens.append(self.headers["flwr-task-token"])
            heard.set()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Runtime) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            until = tmp_path / "imported"
            slow = {"WARM_LIBRARIES": "slow_library", "SLOW_SINCE": str(tmp_path / "since"), "SLOW_UNTIL": str(until)}
            message = site.message("exit4", f"127.0.0.1:{server.server_port}", **slow)
            assert heard.wait(HANG)
            assert message.process.poll() is None
            until.touch()
            assert message.end()[0] == 4
            assert set(tokens) == {"exit4"}
        finally:
            server.shutdown()
            thread.join()


def test_one_that_still_imports_ends_with_its_superexec_too(site: Site, tmp_path: Path) -> None:
    since = tmp_path / "since"
    message = site.message("exit4", WARM_LIBRARIES="slow_library", SLOW_SINCE=str(since), SLOW_UNTIL=str(tmp_path / "never"))
    wait_until(since.exists, HANG, "the warm process imports")
    site.super_exec.kill()
    site.super_exec.wait()
    assert message.end()[0] == 4, "the plain way; Flower's own watch over the SuperExec ends a real one"


def test_nobody_listens_at_first_and_no_other_user_ever_speaks_to_it(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 30)  # longer than a Unix socket's path may be
    deep.mkdir()
    with the_only_one(deep):
        assert connect(deep) is None
        with listen(deep) as listening:
            assert (deep / "warm.sock").stat().st_mode & 0o777 == 0o600
            with connect(deep) as mine:  # type: ignore[union-attr]
                theirs, _ = listening.accept()
                with theirs:
                    check_peer(theirs)
                    with pytest.raises(WireError, match="another user"):
                        check_peer(theirs, os.getuid() + 1)
                    with pytest.raises(WireError, match="another user"):
                        check_peer(mine, os.getuid() + 1)
        assert connect(deep) is None, "who listened is gone; the file is still there"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")
def test_another_user_cannot_connect_and_is_refused_where_the_folder_lets_him(site: Site) -> None:
    site.message("exit0").end()
    folder = run_folder(site.home)
    place = folder / "warm.sock"

    def answer() -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(HANG)
            try:
                connection.connect(place.name)
                send_request(connection, Request(words_of("exit0", site.super_exec.pid), {}, "/"), [0, 1, 2])
                return 1 if connection.recv(1) else 2
            except PermissionError:
                return 3
            except ConnectionError:
                return 2

    # Who already stands in the folder needs no leave of the folders above it, which pytest closes to others.
    with chdir(folder):
        assert as_another_user(answer) == 3
        folder.chmod(0o777)
        place.chmod(0o777)
        assert as_another_user(answer) == 2


def test_a_site_can_do_without_it_and_other_systems_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = SiteFederation(tmp_path)

    def script() -> str:
        return (site._own_launcher(Path("/a python")) / "flwr-clientapp").read_text()

    monkeypatch.delenv("FEDLIVER_WARM", raising=False)
    assert script().endswith("exec '/a python' -m fedliver.federation.warm_stand_in fedliver.federation.launch \"$@\"\n")
    monkeypatch.setenv("FEDLIVER_WARM", "0")
    plain = "exec '/a python' -m fedliver.federation.launch \"$@\"\n"
    assert script().endswith(plain)
    monkeypatch.delenv("FEDLIVER_WARM")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert script().endswith(plain)


def test_the_stand_in_needs_the_standard_library_only() -> None:
    code = "import sys, fedliver.federation.warm_stand_in; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": PATH}).stdout.split()
    assert "socket" in imported
    assert not {"flwr", "numpy", "torch", "pydantic", "psutil"} & set(imported)


def test_with_what_it_really_imports_it_may_fork_and_its_forks_draw_differently_and_import_no_package_more(tmp_path: Path) -> None:
    approve_patients(tmp_path, (1, 2, 8))
    enrolled_home(tmp_path, TeacherPlan.tiny())
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([PATH, str(HERE.parent)]), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "warm_round", str(tmp_path)], capture_output=True, text=True, env=variables, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["unable"] == "", "one thread, no GPU"
    first, second = told["copies"]
    assert first == second, "what this is for: without drawing anew every fork has the same numbers"
    assert not set(told["fresh"][0]) & set(told["fresh"][1])
    assert (told["error"], told["packages"]) == (0, [])
