"""The coordinator's own certificate authority and its server certificate (X.509, ECDSA P-256, TLS server only)."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

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
    from cryptography.x509.oid import ExtendedKeyUsageOID

    moment = now or datetime.now(UTC)
    files = CertificateFiles(folder)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name(f"{name} CA")
    ca_identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _builder(ca_name, ca_name, ca_key, moment, _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(ca_identifier, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = (
        _builder(_name(f"{name} SuperLink"), ca_name, server_key, moment, _SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(host)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(server_key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    for path, key in ((files.ca_key, ca_key), (files.server_key, server_key)):
        write_secret(path, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    for path, certificate in ((files.ca_certificate, ca), (files.server_certificate, server)):
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        write_file(path, lambda part, pem=pem: part.write_bytes(pem) and None)  # type: ignore[misc]
    return files


def _name(common_name: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


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
