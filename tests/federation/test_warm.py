"""The warm process of a site: what a stand-in hands over, and who ends with whom. Real processes, and nothing heavy in them."""

import http.server
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from federation_kit import wait_until
from warm_kit import HANG, PATH, Site, ended, warm_site, words_of

from fedliver.federation.warm_wire import Request, Said, connect, receive_answer, run_folder, send_request
from fedliver.site.federation import SiteFiles
from fedliver.site.processes import start_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm process is Linux's")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with warm_site(tmp_path) as made:
        yield made


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
