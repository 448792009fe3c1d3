"""``fedliver app``: prints the address, serves, and on Ctrl-C nothing of it is left. Any host but this computer itself asks for TLS."""

import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

from federation_kit import processes_under, wait_until

from fedliver.cli.app import check_environment
from fedliver.coordinator.certificates import make_certificates
from fedliver.errors import FedLiverError
from fedliver.web.launch import DoorSettings, address_of, is_loopback, listening, run, tls_of

STUB = Path(__file__).with_name("stub_workbench.py")
_PROGRAM = """
import sys
from pathlib import Path
from fedliver.cli import main as line
import fedliver.cli.app as app, fedliver.web.launch as launch
app._NEEDED = ()
settings = launch.DoorSettings
launch.DoorSettings = lambda *given: settings(*given, command=(sys.executable, {stub!r}))
line.main(sys.argv[1:])
"""


@contextlib.contextmanager
def opened_with_stubs(*arguments: object) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The command with stubs for workbenches; its address, and its process."""
    command = [sys.executable, "-c", _PROGRAM.format(stub=str(STUB)), "app", "--no-browser", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            found = re.search(r"https?://\S+", line)
            assert found, (line, process.stderr and process.stderr.read())
            yield found[0], process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def _browser(context: ssl.SSLContext | None = None) -> urllib.request.OpenerDirector:
    made = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()), urllib.request.HTTPSHandler(context=context))
    made.addheaders = [("Accept", "text/html")]
    return made


def _page(browser: urllib.request.OpenerDirector, address: str) -> str:
    with browser.open(address, timeout=60) as answer:
        return str(answer.read().decode())


@pytest.mark.processes
def test_the_command_serves_two_users_and_ctrl_c_ends_everything_it_started(tmp_path: Path) -> None:
    with opened_with_stubs("--home", tmp_path / "site") as (address, process):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{40,}", address)
        one, two = _browser(), _browser()
        home = address.partition("?")[0]
        for browser in (one, two):
            wait_until(lambda browser=browser: "I am a stub" in _page(browser, address), 120, "the stub shows")
        pids = {_page(browser, home + "seen").partition('"pid": ')[2].partition(",")[0] for browser in (one, two)}
        assert len(pids) == 2, "a process for every user"
        with pytest.raises(urllib.error.HTTPError):
            _page(_browser(), home)
        process.send_signal(signal.SIGINT)
        assert process.stdout
        rest = process.stdout.read()
        assert process.wait(60) == 0
        assert "The workbench has ended." in rest
        assert process.stderr
        assert "Traceback" not in process.stderr.read()
    assert processes_under(tmp_path) == []
    assert list((tmp_path / "site" / "browser").iterdir()) == []


@pytest.mark.processes
def test_over_tls_the_certificates_names_are_the_names_it_answers_to(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certificates", "127.0.0.1", "C")
    tls = ("--host", "0.0.0.0", "--tls-certificate", made.server_certificate, "--tls-key", made.server_key)  # noqa: S104
    with opened_with_stubs("--home", tmp_path / "site", *tls) as (address, _):
        assert address.startswith("https://localhost:")
        browser = _browser(ssl.create_default_context(cafile=str(made.ca_certificate)))
        wait_until(lambda: "I am a stub" in _page(browser, address), 120, "the stub shows")
        wrong = urllib.request.Request(address, headers={"Host": "evil.example"})  # noqa: S310
        with pytest.raises(urllib.error.HTTPError) as refused:
            browser.open(wrong)
        assert refused.value.code == 403


def test_another_host_without_tls_is_refused_in_words(tmp_path: Path) -> None:
    for settings in (
        DoorSettings(tmp_path, host="0.0.0.0"),  # noqa: S104
        DoorSettings(tmp_path, host="hospital.example"),
        DoorSettings(tmp_path, host="::"),
        DoorSettings(tmp_path, certificate=tmp_path / "c.pem"),
    ):
        with pytest.raises(FedLiverError, match="TLS only") as caught:
            run(settings)
        assert caught.value.code == "tls-needed"
    assert not (tmp_path / "browser").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_this_machine_itself_needs_none(host: str) -> None:
    assert is_loopback(host)
    assert tls_of(DoorSettings(host=host)) is None


def test_a_certificate_that_is_none_or_names_nobody_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("no certificate")
    with pytest.raises(FedLiverError, match="two PEM files"):
        tls_of(DoorSettings(certificate=tmp_path / "c.pem", private_key=tmp_path / "c.pem"))
    with pytest.raises(FedLiverError, match="names no host"):
        address_of(DoorSettings(certificate=tmp_path / "c.pem"), 1)


def test_a_port_that_is_taken_and_a_folder_that_is_not_there_are_said(tmp_path: Path) -> None:
    with listening(DoorSettings()) as taken, pytest.raises(FedLiverError, match="choose another with --port"):
        run(DoorSettings(tmp_path, port=taken.getsockname()[1]))
    with pytest.raises(FedLiverError, match="There is no folder"):
        run(DoorSettings(tmp_path, data=tmp_path / "absent"))


def test_where_the_page_is_not_installed_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedliver.cli.app._NEEDED", ("aiohttp", "no_such_package"))
    with pytest.raises(FedLiverError, match="lacks no_such_package: run “make app”") as caught:
        check_environment()
    assert caught.value.code == "no-web-environment"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system brings what draws")
def test_where_the_library_that_draws_is_missing_the_command_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedliver.cli.app._NEEDED", ())
    monkeypatch.setattr("fedliver.cli.app._EGL", "libEGL.so.999")
    with pytest.raises(FedLiverError, match="sudo apt-get install libegl1"):
        check_environment()


@pytest.mark.processes
def test_the_word_of_the_browser_that_is_opened_is_not_the_standing_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any user of this computer can read the command line of a browser that is being started."""
    import threading

    import fedliver.web.launch as launch

    said: list[str] = []
    opened = threading.Event()
    addresses: list[str] = []

    def open_browser(address: str) -> bool:
        addresses.append(address)
        opened.set()
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    monkeypatch.setattr(launch.webbrowser, "open", open_browser)
    run(DoorSettings(tmp_path, command=(sys.executable, str(STUB))), said.append)
    assert opened.is_set()
    (address,) = addresses
    assert address.partition("token=")[0] == said[0].removeprefix("The workbench is at ").partition("token=")[0]
    assert address.partition("token=")[2] not in said[0]
    assert processes_under(tmp_path) == []
