"""The connection test, against real sockets that speak real TLS."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from fedliver.coordinator.certificates import CertificateFiles, make_certificates
from fedliver.errors import FedLiverError
from fedliver.site.connection import Health, check_clock, check_connection, check_versions, proxy_of, read_health
from fedliver.site.environment import flower_variables
from fedliver.site.federation import free_port


@contextlib.contextmanager
def listening(host: str, handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accepts connections on a free port until the block ends, one after the other."""
    listener = socket.create_server((host, 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                handle(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # shutdown wakes the thread that waits in accept; close alone does not.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def server(certificates: CertificateFiles | None, answer: Callable[[], bytes] | None = None) -> contextlib.AbstractContextManager[int]:
    """Speaks TLS with ``certificates`` and gives one answer to each, or answers in plain text."""
    context = None
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server_certificate, certificates.server_key)

    def handle(connection: socket.socket) -> None:
        if context is None:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        with context.wrap_socket(connection, server_side=True) as secured:
            if answer and secured.recv(4096):
                secured.sendall(answer())

    return listening("", handle)  # every loopback address is this machine


def code_of_check(port: int, ca: Path, host: str = "127.0.0.1") -> str:
    with pytest.raises(FedLiverError) as caught:
        check_connection(host, port, ca.read_text(), timeout=3)
    return caught.value.code


def test_a_coordinator_with_its_own_certificate_passes(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, "127.0.0.1", "C")
    with server(files) as port:
        check_connection("127.0.0.1", port, files.ca_certificate.read_text())
        check_connection("localhost", port, files.ca_certificate.read_text())


def test_a_certificate_of_another_ca_is_told_from_the_right_one(tmp_path: Path) -> None:
    files, other = make_certificates(tmp_path / "a", "127.0.0.1", "C"), make_certificates(tmp_path / "b", "127.0.0.1", "C")
    with server(files) as port:
        assert code_of_check(port, other.ca_certificate) == "wrong-ca"


def test_a_certificate_for_another_address_is_told(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, "127.0.0.1", "C")
    with server(files) as port:
        assert code_of_check(port, files.ca_certificate, host="127.0.0.2") == "wrong-address"


def test_an_expired_certificate_is_told(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, "127.0.0.1", "C", now=datetime.now(UTC) - timedelta(days=900))
    with server(files) as port:
        assert code_of_check(port, files.ca_certificate) == "certificate-expired"


def test_a_clock_that_is_behind_is_told(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, "127.0.0.1", "C", now=datetime.now(UTC) + timedelta(days=2))
    with server(files) as port:
        assert code_of_check(port, files.ca_certificate) == "clock"


def test_a_server_without_tls_is_told(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, "127.0.0.1", "C")
    with server(None) as port:
        assert code_of_check(port, files.ca_certificate) == "no-tls"


def test_a_closed_port_is_told(tmp_path: Path) -> None:
    assert code_of_check(free_port(), make_certificates(tmp_path, "127.0.0.1", "C").ca_certificate) == "port-closed"


def test_a_name_that_does_not_exist_is_told(tmp_path: Path) -> None:
    assert code_of_check(443, make_certificates(tmp_path, "127.0.0.1", "C").ca_certificate, host="coordinator.invalid") == "name-unknown"


def http_answer(status: str = "200 OK", seconds_ago: float = 0.0, **headers: str) -> Callable[[], bytes]:
    return lambda: _http_answer(status, seconds_ago, headers)


def _http_answer(status: str, seconds_ago: float, headers: dict[str, str]) -> bytes:
    date = format_datetime(datetime.now(UTC) - timedelta(seconds=seconds_ago), usegmt=True)
    lines = [f"HTTP/1.1 {status}", f"Date: {date}", "Content-Length: 0", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def health_of(tmp_path: Path, answer: Callable[[], bytes]) -> Health:
    files = make_certificates(tmp_path, "127.0.0.1", "C")
    with server(files, answer) as port:
        return read_health("127.0.0.1", port, files.ca_certificate.read_text())


def test_a_coordinator_tells_its_time_and_its_versions(tmp_path: Path) -> None:
    health = health_of(tmp_path, http_answer(fedliver_version="0.1.0", fedliver_flower="1.41.0"))
    assert health.clock_ahead_seconds is not None
    assert abs(health.clock_ahead_seconds) < 60, "the same clock, asked by a machine that may be busy"
    assert (health.version, health.flower) == ("0.1.0", "1.41.0")
    check_clock(health)
    check_versions(health, "0.1.7")


@pytest.mark.parametrize(
    ("seconds_ago", "words"), [(3600, "60 minutes ahead of"), (30, r"3\d s ahead of"), (-3600, "60 minutes behind"), (-86_400, "24 hours behind")]
)
def test_a_clock_that_is_off_is_told_with_how_much_and_which_way(tmp_path: Path, seconds_ago: float, words: str) -> None:
    health = health_of(tmp_path, http_answer(seconds_ago=seconds_ago))
    with pytest.raises(FedLiverError, match=words) as caught:
        check_clock(health)
    assert caught.value.code == "clock"


@pytest.mark.parametrize("version", ["0.2.0", "1.1.0", ""])
def test_another_version_is_told(version: str) -> None:
    with pytest.raises(FedLiverError) as caught:
        check_versions(Health(0.0, version, "1.41.0"), "0.1.0")
    assert caught.value.code == "version"


@pytest.mark.parametrize(("status", "words"), [("502 Bad Gateway", "reverse proxy answers"), ("404 Not Found", "HTTP 404")])
def test_what_answers_but_is_no_coordinator_is_told(tmp_path: Path, status: str, words: str) -> None:
    with pytest.raises(FedLiverError, match=words) as caught:
        health_of(tmp_path, http_answer(status))
    assert caught.value.code == "not-a-coordinator"


def test_a_server_that_says_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError) as caught:
        health_of(tmp_path, bytes)
    assert caught.value.code == "not-a-coordinator"


def proxy(status: str) -> contextlib.AbstractContextManager[int]:
    """Answers every CONNECT with ``status`` and, where that is 200, passes the bytes on."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)

    def handle(connection: socket.socket) -> None:
        target = connection.recv(4096).split()[1].decode().rpartition(":")
        connection.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
        if status.startswith("200"):
            with socket.create_connection(("127.0.0.1", int(target[2]))) as through:
                up = threading.Thread(target=pump, args=(connection, through), daemon=True)
                up.start()
                pump(through, connection)
                connection.close()
                up.join(5)

    return listening("127.0.0.1", handle)


def test_a_coordinator_is_reached_through_the_hospitals_proxy_without_resolving_its_name_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = make_certificates(tmp_path, "coordinator.invalid", "C")
    with server(files, http_answer(fedliver_version="9")) as port, proxy("200 Connection established") as through:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{through}")
        assert proxy_of("coordinator.invalid") == ("127.0.0.1", through)
        assert read_health("coordinator.invalid", port, files.ca_certificate.read_text()).version == "9"


def test_a_proxy_that_does_not_let_us_through_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = make_certificates(tmp_path, "127.0.0.1", "C").ca_certificate
    with proxy("403 Forbidden") as through:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{through}")
        assert code_of_check(443, ca, host="coordinator.invalid") == "proxy"


def test_what_is_on_this_machine_or_named_in_no_proxy_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "hospital.example")
    assert proxy_of("127.0.0.1") is None
    assert proxy_of("coordinator.hospital.example") is None
    assert proxy_of("elsewhere.example") == ("proxy.invalid", 3128)
    assert {"127.0.0.1", "localhost", "::1", "hospital.example"} <= set(flower_variables(Path("python"), Path("home"))["NO_PROXY"].split(","))
