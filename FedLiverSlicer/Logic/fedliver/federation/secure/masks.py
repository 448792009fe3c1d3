"""Masks: the key stream of AES-256 in counter mode, as numbers modulo 2^32.

Flower's generator folds its seed to 32 bits and feeds the Mersenne Twister with them: whoever sees a masked update can try all seeds. It is not used.
"""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_PIECE_NUMBERS = 1 << 18
_BLOCK_BYTES = 16


def add_mask(vector: np.ndarray, key: bytes, *, subtract: bool = False) -> None:
    """Add the mask that ``key`` says to ``vector`` (uint32), in place; one megabyte at a time. A key is for one vector only."""
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(_BLOCK_BYTES))).encryptor()
    nothing = bytes(4 * min(_PIECE_NUMBERS, len(vector)))
    piece = bytearray(len(nothing) + _BLOCK_BYTES - 1)
    for start in range(0, len(vector), _PIECE_NUMBERS):
        part = vector[start : start + _PIECE_NUMBERS]
        stream.update_into(nothing, piece)
        mask = np.frombuffer(piece, "<u4", len(part))
        if subtract:
            np.subtract(part, mask, out=part)
        else:
            np.add(part, mask, out=part)
