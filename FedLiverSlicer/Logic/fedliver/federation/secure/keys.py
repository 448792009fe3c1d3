"""The keys of one masked sum: X25519 agreement, HKDF with a purpose, AES-GCM bound to its place, and signatures of the sites' enrolled P-384 keys.

All of it is the library ``cryptography``. Flower's own wrappers derive every key without a purpose and encrypt (Fernet) without binding a letter to its sender,
addressee and round; so they are not used.
"""

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_NONCE_BYTES = 12
_SIGNED = b"fedliver secure aggregation, keys of one round, version 1\0"


def fresh_private_key() -> bytes:
    """32 bytes of an X25519 private key."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key_of(private: bytes) -> bytes:
    """32 bytes of the public half."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agreed_key(private: bytes, public: bytes, purpose: bytes) -> bytes:
    """The 32 bytes that the owners of the two keys have in common, for one purpose (``ValueError`` for a public key that is none)."""
    shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=b"fedliver secure aggregation " + purpose).derive(shared)


def sealed(key: bytes, letter: bytes, place: bytes) -> bytes:
    """The letter encrypted; it opens with the same key at the same place only."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, letter, place)


def opened(key: bytes, envelope: bytes, place: bytes) -> bytes:
    """The letter (``ValueError`` if it was not sealed so)."""
    try:
        return AESGCM(key).decrypt(envelope[:_NONCE_BYTES], envelope[_NONCE_BYTES:], place)
    except InvalidTag as error:
        raise ValueError("not sealed with this key at this place") from error


def signature_of(site_key: Path, content: bytes) -> bytes:
    """A signature with the site's enrolled key (ECDSA on P-384, SHA-384). Its first words keep it apart from what the key signs for Flower."""
    key = serialization.load_ssh_private_key(site_key.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a site key")
    return key.sign(_SIGNED + content, ec.ECDSA(hashes.SHA384()))


def is_signed(public_key: str, signature: bytes, content: bytes) -> bool:
    """Whether the owner of that OpenSSH public key has signed the content."""
    try:
        key = serialization.load_ssh_public_key(public_key.encode())
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(signature, _SIGNED + content, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, ValueError):
        return False
    return True
