"""Names for cases that tell nothing about the patient. Standard library only.

A pseudonym is a keyed hash (HMAC-SHA256) of the scan's identity under the site's own secret. The same scan at the same site
always gets the same pseudonym; another site gets another one; without the secret, knowing a patient's ID proves nothing.
The first 80 bits are kept: among a million cases, two share a pseudonym with a chance below 1 in 10^12.
"""

import hashlib
import hmac
import json
import re
from base64 import b32encode
from typing import Protocol

CASE_PATTERN = r"^C-[A-Z2-7]{16}$"
PATIENT_PATTERN = r"^P-[A-Z2-7]{16}$"
_CASE = re.compile(CASE_PATTERN)
_SECRET_BYTES = 16


class Identity(Protocol):
    """What names a scan at its source: :class:`fedliver.ct_reader.SourceIdentity`. It is read here and kept nowhere."""

    @property
    def patient(self) -> str: ...
    @property
    def study(self) -> str: ...
    @property
    def series(self) -> str: ...


def case_pseudonym(secret: bytes, identity: Identity) -> str:
    """``C-`` and 16 base32 characters: the name of one scan at one site."""
    return "C-" + _keyed(secret, "case", identity.patient, identity.study, identity.series)


def patient_pseudonym(secret: bytes, identity: Identity) -> str:
    """``P-`` and 16 base32 characters: what ties the scans of one patient together, so that they are split as one.

    Where the source names no patient, each study stands for a patient of its own.
    """
    if identity.patient.strip():
        return "P-" + _keyed(secret, "patient", identity.patient)
    return "P-" + _keyed(secret, "study", identity.study, identity.series if not identity.study.strip() else "")


def is_case_pseudonym(name: str) -> bool:
    """Whether ``name`` has the form of a case's pseudonym: anything else never becomes part of a path."""
    return _CASE.fullmatch(name) is not None


def _keyed(secret: bytes, *parts: str) -> str:
    if len(secret) < _SECRET_BYTES:
        raise ValueError("the site's secret is too short to protect anyone")
    message = json.dumps(parts).encode()  # JSON, since a separator could occur in a patient's ID
    return b32encode(hmac.new(secret, message, hashlib.sha256).digest()[:10]).decode()
