"""The connection test, against real sockets that speak real TLS."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedliver.coordinator.certificates import CertificateFiles, make_certificates
from fedliver.errors import FedLiverError
from fedliver.site.connection import check_connection
from fedliver.site.federation import free_port


@contextlib.contextmanager
def server(certificates: CertificateFiles | None) -> Iterator[int]:
    """Accepts connections until the block ends; speaks TLS with ``certificates``, or answers in plain text."""
    listener = socket.create_server(("", 0))  # every loopback address is this machine
    context = None
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server_certificate, certificates.server_key)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                if context:
                    context.wrap_socket(connection, server_side=True).close()
                else:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

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
