"""The coordinator's certificates."""

import ipaddress
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fedliver.coordinator.certificates import make_certificates, renew_server_certificate
from fedliver.errors import FedLiverError


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


@pytest.mark.parametrize("name", ["ä" * 60, "N" * 60])
def test_the_longest_name_in_any_letters_fits_and_the_ca_and_the_server_are_not_called_the_same(tmp_path: Path, name: str) -> None:
    files = make_certificates(tmp_path, "127.0.0.1", name)
    ca, server = (x509.load_pem_x509_certificate(path.read_bytes()) for path in (files.ca_certificate, files.server_certificate))
    assert ca.subject.rfc4514_string().endswith(" CA")
    assert server.subject.rfc4514_string().endswith(" SuperLink")
    server.verify_directly_issued_by(ca)


def test_a_renewed_certificate_is_the_same_cas_for_the_new_address_over_the_same_key(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, "old.example", "C")
    kept = [files.ca_certificate, files.ca_key, files.server_key]
    before = [path.read_bytes() for path in kept]
    later = datetime.now(UTC) + timedelta(days=800)
    renew_server_certificate(files, "new.example", "C", now=later)
    server = x509.load_pem_x509_certificate(files.server_certificate.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert "new.example" in names
    assert "old.example" not in names
    assert server.not_valid_after_utc > later + timedelta(days=800)
    server.verify_directly_issued_by(x509.load_pem_x509_certificate(files.ca_certificate.read_bytes()))
    assert [path.read_bytes() for path in kept] == before


def test_without_the_cas_own_key_no_certificate_is_renewed_and_the_old_one_stays(tmp_path: Path) -> None:
    files, other = (make_certificates(tmp_path / folder, "old.example", "C") for folder in ("mine", "other"))
    before = files.server_certificate.read_bytes()
    for content in (other.ca_key.read_bytes(), b"garbage", None):
        files.ca_key.unlink()
        if content is not None:
            files.ca_key.write_bytes(content)  # and at last there is none
        with pytest.raises(FedLiverError, match="restore them from a backup") as caught:
            renew_server_certificate(files, "new.example", "C")
        assert caught.value.code == "damaged-certificates"
    assert files.server_certificate.read_bytes() == before


def test_an_authority_that_has_expired_renews_nothing(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, "old.example", "C")
    with pytest.raises(FedLiverError) as caught:
        renew_server_certificate(files, "new.example", "C", now=datetime.now(UTC) + timedelta(days=3651))
    assert caught.value.code == "authority-expired"
