"""When the warm process of a site forks nothing, and a ClientApp starts the plain way: what it cannot fork, what was installed anew, what is full or gone."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from federation_kit import processes_under, wait_until
from warm_kit import HANG, PATH, Site, ended, warm_site, words_of

from fedliver.federation.warm_code import installed_code
from fedliver.federation.warm_wire import UNABLE, Request, connect, receive_answer, run_folder, send_request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm process is Linux's")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with warm_site(tmp_path) as made:
        yield made


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
