"""The warm process of a site: what a stand-in hands over, who ends with whom, and when the plain way is taken. Real processes, and nothing heavy in them."""

import ctypes
import http.server
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, suppress
from pathlib import Path

import psutil
import pytest
from federation_kit import approve_patients, as_another_user, enrolled_home, processes_under, wait_until

import fedliver
from fedliver.federation.warm_code import installed_code
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


@pytest.mark.parametrize(("library", "why"), [("threaded_library", "has 2 threads"), ("gpu_library", "has touched a GPU")])
def test_one_that_must_not_fork_forks_nothing_and_the_client_apps_start_the_plain_way(site: Site, library: str, why: str) -> None:
    for _ in range(2):
        message = site.message("exit5", WARM_LIBRARIES=library).heard()
        code, _, complained = message.end()
        assert code == 5
        assert complained.count("\n") == 2
        assert f"starts without the warm process (the warm process {why})" in complained
        assert message.told["pid"] == message.process.pid
        wait_until(site.gone, HANG, "it does not stay")
    assert why in (run_folder(site.home) / UNABLE).read_text()


def test_one_that_cannot_import_what_it_should_keeps_no_message_from_being_answered_and_is_tried_once(site: Site) -> None:
    for traces in (1, 0):
        code, _, complained = site.message("exit6", WARM_LIBRARIES="no_such_library").end()
        assert code == 6
        assert "starts without the warm process (the warm process could not import what it should: ModuleNotFoundError)" in complained
        assert complained.count("Traceback") == traces


def test_what_cannot_be_imported_because_it_is_just_being_replaced_is_tried_again(site: Site, tmp_path: Path) -> None:
    installed, since, until = (tmp_path / name for name in ("installed", "since", "until"))
    installed.write_text("old")
    slow = {"SLOW_SINCE": str(since), "SLOW_UNTIL": str(until), "WARM_CODE": str(installed)}
    message = site.message("exit6", WARM_LIBRARIES="slow_library no_such_library", **slow)
    wait_until(since.exists, HANG, "the warm process imports")
    installed.write_text("new")
    until.touch()
    assert message.end()[0] == 6
    later = site.message("exit0", **slow).heard()
    assert later.told["pid"] != later.process.pid


def test_where_the_system_lets_nobody_watch_over_a_process_that_is_found_out_once(site: Site) -> None:
    for _ in range(2):
        code, _, complained = site.message("exit6", WARM_BEFORE="unwatched_library").end()
        assert code == 6
        assert "starts without the warm process (this system does not let a process watch over another: OSError)" in complained
    assert (run_folder(site.home) / UNABLE).exists()


def test_where_other_code_is_installed_by_now_it_forks_no_more_and_lets_run_what_it_has_begun(site: Site, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    installed.write_text("old")
    begun = site.message("read", WARM_CODE=str(installed)).heard()
    installed.write_text("new")
    plain = site.message("exit3", WARM_CODE=str(installed)).heard()
    code, _, complained = plain.end()
    assert (code, plain.told["pid"]) == (3, plain.process.pid)
    assert "other code is installed here" in complained + begun.complained
    following = site.message("exit0", WARM_CODE=str(installed)).heard()
    assert following.end()[0] == 0
    assert psutil.Process(following.told["parent"]).name() == "fedliver-warm"
    assert following.told["parent"] != begun.told["parent"]
    installed.unlink()  # as while it is being replaced
    assert site.message("exit0", WARM_CODE=str(installed)).heard().told["parent"] != following.told["parent"]
    assert begun.end(b"to its end")[:2] == (0, ["to its end"])


def test_where_the_log_is_on_a_full_disk_messages_are_served_and_what_runs_goes_on(site: Site) -> None:
    begun = site.message("read", log=Path("/dev/full")).heard()
    with connect(run_folder(site.home)) as connection:  # type: ignore[union-attr]
        connection.sendall(b"too short")
        connection.shutdown(socket.SHUT_WR)
        assert receive_answer(connection) is None, "it is passed over, and there is no room to say so"
    (run_folder(site.home) / UNABLE).write_text("the test says so\n")
    plain = site.message("exit4", log=Path("/dev/full")).heard()
    assert plain.end()[0] == 4
    assert plain.told["pid"] == plain.process.pid
    assert begun.end(b"to its end")[:2] == (0, ["to its end"])


def test_every_change_of_what_is_installed_is_seen(tmp_path: Path) -> None:
    package, beside = tmp_path / "package", tmp_path / "beside"
    (package / "part").mkdir(parents=True)
    (package / "part" / "module.py").write_text("1")
    (beside / "torch-1.0.dist-info").mkdir(parents=True)
    folders = [str(beside), str(tmp_path / "not there")]

    def now() -> str:
        return installed_code(package, folders)

    seen = [now()]
    module = package / "part" / "module.py"
    times = module.stat()
    for change in (
        lambda: (module.write_text("2"), os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))),  # as from an archive that keeps times
        lambda: (package / "another.py").touch(),
        lambda: (package / "another.py").unlink(),
        lambda: (beside / "torch-1.0.dist-info").rename(beside / "torch-1.1.dist-info"),
        lambda: (beside / "torch-1.1.dist-info" / "RECORD").touch(),
    ):
        change()
        seen.append(now())
        assert seen[-1] != seen[-2]
    (package / "part" / "__pycache__").mkdir()
    (package / "part" / "__pycache__" / "module.pyc").touch()
    (beside / "data.txt").touch()
    assert now() == seen[-1], "what Python and others leave there is no change"
    shutil.rmtree(package)
    with pytest.raises(OSError, match="package"):
        now()
    assert installed_code() == installed_code()


def test_one_that_may_open_no_more_files_takes_no_more_messages_and_lets_run_what_it_has_begun(site: Site) -> None:
    begun = site.message("read").heard()
    warm = psutil.Process(begun.told["parent"])
    open_files = {int(path.name) for path in Path(f"/proc/{warm.pid}/fd").iterdir()}
    next_one = min(set(range(len(open_files) + 1)) - open_files)
    warm.rlimit(psutil.RLIMIT_NOFILE, (next_one, next_one))
    plain = site.message("exit4").heard()
    assert plain.end()[0] == 4
    assert plain.told["pid"] == plain.process.pid
    assert "takes no more messages" in begun.complained
    assert begun.end(b"to its end")[:2] == (0, ["to its end"])
    wait_until(lambda: ended(warm), HANG, "it ends when nothing runs any more")


def test_a_client_app_that_it_could_not_watch_over_does_not_stay_beside_the_one_that_starts_the_plain_way(site: Site) -> None:
    message = site.message("exit5", WARM_LIBRARIES="unwatched_library").heard()
    assert message.end()[:2] == (5, []), "one ClientApp, with one token"
    assert message.told["pid"] == message.process.pid
    assert [len(psutil.Process(int(line.split()[0])).children()) for line in processes_under(site.home)] == [0], "the warm process alone"


def test_it_begins_nothing_for_a_superexec_that_has_ended_before_it_noticed(site: Site, tmp_path: Path) -> None:
    warm = psutil.Process(site.message("exit0").heard().told["parent"])
    said = tmp_path / "said"
    with said.open("wb") as output, connect(run_folder(site.home)) as connection:  # type: ignore[union-attr]
        warm.suspend()
        environment = {**os.environ, "PYTHONPATH": PATH}
        send_request(connection, Request(words_of("exit0", site.super_exec.pid), environment, "/"), [0, output.fileno(), output.fileno()])
        site.super_exec.kill()
        site.super_exec.wait()
        warm.resume()
        assert receive_answer(connection) is None
    assert said.read_text() == ""


def test_a_forked_client_app_has_every_limit_and_restriction_of_one_that_is_started_anew(site: Site) -> None:
    def restricted() -> None:
        os.umask(0o077)
        os.nice(3)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        no_new_privileges = 38
        assert ctypes.CDLL(None).prctl(no_new_privileges, 1, 0, 0, 0) == 0

    forked = site.message("tell", before=restricted).heard(2)
    (run_folder(site.home) / UNABLE).write_text("the test says so\n")
    plain = site.message("tell", before=restricted).heard(2)
    assert (forked.told["pid"] == forked.process.pid, plain.told["pid"] == plain.process.pid) == (False, True)
    ours, theirs = (json.loads(message.said[1]) for message in (forked, plain))
    assert ours["status"] == theirs["status"]
    assert theirs["status"]["NoNewPrivs"] == "1"
    assert theirs["status"]["Umask"] == "0077"
    assert ours == theirs


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


def test_who_keeps_the_lock_for_ever_holds_up_nobody_for_ever(tmp_path: Path) -> None:
    with the_only_one(tmp_path), pytest.raises(WireError, match="too long"), the_only_one(tmp_path, patience_seconds=0.05):
        pass
    with the_only_one(tmp_path, patience_seconds=0.0):
        pass


def test_a_word_that_nobody_agreed_on_is_an_error_and_not_an_answer() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"\x09" + bytes(4))
        with pytest.raises(WireError, match="agreed"):
            receive_answer(here)


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
    assert not set(told["keys"][0]) & set(told["keys"][1]), "no key, nonce or noise of one message is another's"
    assert (told["error"], told["packages"]) == (0, [])
