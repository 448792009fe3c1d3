"""The site's key pair. The private half is made here, is readable by this user only, and never leaves this machine."""

import base64
import hashlib
import os
from pathlib import Path

from fedliver.errors import FedLiverError
from fedliver.files import write_file


def ensure_site_key(path: Path) -> str:
    """Make the P-384 private key at ``path`` unless it is there, and return the public half as one OpenSSH line.

    Raises
    ------
    FedLiverError
        ``site-key`` if the file there is no such key; it is left as it is.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not path.exists():
        made = ec.generate_private_key(ec.SECP384R1())
        private = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        write_secret(path, private)
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FedLiverError("site-key", f"{path} is not a site key: move it away and enrol again to make a new one.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise FedLiverError("site-key", f"{path} is a key of another kind (P-384 is needed): move it away and enrol again to make a new one.")
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def fingerprint_of(line: str) -> str:
    """The fingerprint of an OpenSSH public key, as ``ssh-keygen -l`` prints it: what two people compare by telephone."""
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only this user may read, from its first byte on."""

    def write(part: Path) -> None:
        # write_file's temporary file is made by tempfile, which creates it with mode 0600; say so once more in case that changes.
        os.chmod(part, 0o600)
        part.write_bytes(content)

    write_file(path, write)


def check_public_key(line: str) -> None:
    """Raise ``ValueError`` unless ``line`` is one OpenSSH P-384 public key without a comment."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if "\n" in line or len(line.split()) != 2:
        raise ValueError("not one key")
    try:
        key = serialization.load_ssh_public_key(line.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError("unknown kind of key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError("not a P-384 key")
