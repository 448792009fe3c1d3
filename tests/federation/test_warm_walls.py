"""What holds around the warm process of a site: a fork's limits, who may speak to it, and what it imports."""

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from federation_kit import approve_patients, as_another_user, enrolled_home
from warm_kit import HANG, HERE, PATH, Site, warm_site, words_of

from fedliver.federation.warm_wire import UNABLE, Request, WireError, check_peer, connect, listen, receive_answer, run_folder, send_request, the_only_one
from fedliver.site.launchers import write_client_app
from fedliver.teacher.plan import TeacherPlan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm process is Linux's")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with warm_site(tmp_path) as made:
        yield made


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
    def script() -> str:
        write_client_app(tmp_path, Path("/a python"))
        return (tmp_path / "flwr-clientapp").read_text()

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
