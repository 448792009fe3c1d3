"""The coordinator's certificates."""

import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fedliver.coordinator.certificates import make_certificates


@pytest.mark.parametrize("host", ["10.1.2.3", "coordinator.hospital.example", "fd00::1"])
def test_the_servers_certificate_names_the_address_and_loopback(tmp_path: Path, host: str) -> None:
    files = make_certificates(tmp_path, host, "C")
    certificate = x509.load_pem_x509_certificate(files.server_certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    assert host in found
    assert {"localhost", "127.0.0.1"} <= set(found)
    assert ipaddress.ip_address("::1") in names.get_values_for_type(x509.IPAddress)


def test_the_ca_signs_and_the_server_does_not(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, "127.0.0.1", "C")
    ca, server = (x509.load_pem_x509_certificate(path.read_bytes()) for path in (files.ca_certificate, files.server_certificate))
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    server.verify_directly_issued_by(ca)
    assert isinstance(server.public_key(), ec.EllipticCurvePublicKey)


def test_the_keys_are_for_this_user_only(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, "127.0.0.1", "C")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (files.ca_key, files.server_key)} == {0o600}
