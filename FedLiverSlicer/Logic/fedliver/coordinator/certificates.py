"""The coordinator's own certificate authority and its server certificate (X.509, ECDSA P-256, TLS server only)."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from fedliver.errors import FedLiverError
from fedliver.files import write_file
from fedliver.site.keys import write_secret

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_CA_DAYS = 3650
_SERVER_DAYS = 825
_CLOCK_ALLOWANCE = timedelta(hours=1)


@dataclass(frozen=True)
class CertificateFiles:
    """Where the PEM files lie. Keys are readable by this user only; the CA's key is needed only to renew the server's certificate."""

    folder: Path

    @property
    def ca_certificate(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def ca_key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def server_certificate(self) -> Path:
        return self.folder / "server.pem"

    @property
    def server_key(self) -> Path:
        return self.folder / "server.key"


def make_certificates(folder: Path, host: str, name: str, now: datetime | None = None) -> CertificateFiles:
    """Make a CA and a server certificate for ``host`` (a name or an IP address), localhost and the loopback addresses."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    moment = now or datetime.now(UTC)
    files = CertificateFiles(folder)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name(name, "CA")
    ca = (
        _builder(ca_name, ca_name, ca_key, moment, _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = _server_certificate(ca, ca_key, server_key, host, name, moment)
    for path, key in ((files.ca_key, ca_key), (files.server_key, server_key)):
        write_secret(path, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    for path, certificate in ((files.ca_certificate, ca), (files.server_certificate, server)):
        _write(path, certificate)
    return files


def renew_server_certificate(files: CertificateFiles, host: str, name: str, now: datetime | None = None) -> None:
    """Have the same CA sign a new server certificate, for ``host``.

    The server's key stays, so that one file is replaced, and at no moment do the two not belong together.

    Raises
    ------
    FedLiverError
        ``damaged-certificates`` or ``authority-expired``. The certificate is as it was.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    moment = now or datetime.now(UTC)
    try:
        ca = x509.load_pem_x509_certificate(files.ca_certificate.read_bytes())
        ca_key, server_key = (serialization.load_pem_private_key(path.read_bytes(), password=None) for path in (files.ca_key, files.server_key))
        if not isinstance(ca_key, ec.EllipticCurvePrivateKey) or not isinstance(server_key, ec.EllipticCurvePrivateKey):
            raise ValueError("keys of another kind")
        if ca.not_valid_after_utc <= moment:
            until = f"{ca.not_valid_after_utc:%d %B %Y}"
            sentence = f"This coordinator's certificate authority was good until {until}: make a new coordinator, and invite every site to it."
            raise FedLiverError("authority-expired", sentence)
        server = _server_certificate(ca, ca_key, server_key, host, name, moment)
        server.verify_directly_issued_by(ca)  # a key from another backup than its certificate would be noticed by the sites alone
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound, UnsupportedAlgorithm, InvalidSignature) as error:
        sentence = f"{files.folder} does not hold ca.pem, its ca.key and server.key as they were made: restore them from a backup."
        raise FedLiverError("damaged-certificates", sentence) from error
    _write(files.server_certificate, server)


def _server_certificate(
    ca: "x509.Certificate", ca_key: "ec.EllipticCurvePrivateKey", key: "ec.EllipticCurvePrivateKey", host: str, name: str, moment: datetime
) -> "x509.Certificate":
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    ca_identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(_name(name, "SuperLink"), ca.subject, key, moment, _SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(host)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _write(path: Path, certificate: "x509.Certificate") -> None:
    from cryptography.hazmat.primitives import serialization

    pem = certificate.public_bytes(serialization.Encoding.PEM)
    write_file(path, lambda part: part.write_bytes(pem))


def _name(name: str, role: str) -> "x509.Name":
    """A common name has room for 64 bytes. The role stays whole: with one name for both, the server's certificate would pass for the CA's own."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    short = name.encode()[: 64 - len(role) - 1].decode(errors="ignore")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{short} {role}")])


def _builder(subject: "x509.Name", issuer: "x509.Name", key: "ec.EllipticCurvePrivateKey", moment: datetime, days: int) -> "x509.CertificateBuilder":
    from cryptography import x509

    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    # Sites' clocks are not exact: the certificate is already an hour old when it is made.
    return builder.serial_number(x509.random_serial_number()).not_valid_before(moment - _CLOCK_ALLOWANCE).not_valid_after(moment + timedelta(days=days))


def _key_usage(signs_certificates: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(host: str) -> list["x509.GeneralName"]:
    from cryptography import x509

    names: dict[str, x509.GeneralName] = {}
    for entry in (host, "localhost", "127.0.0.1", "::1"):
        try:
            names[entry] = x509.IPAddress(ipaddress.ip_address(entry))
        except ValueError:
            names[entry] = x509.DNSName(entry)
    return list(names.values())
