"""Shamir's secret sharing (1979) of 32-byte secrets, over the integers modulo the Mersenne prime 2^521 - 1.

Flower's (PyCryptodome's) is over GF(2^128) in pieces of 16 bytes: as secret, but some thousand times slower to put together for 64 sites, since nothing can be
kept from one secret to the next, and it cannot tell which share is wrong. A whole secret is one number here, so a wrong share is found by looking.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, islice

PRIME = 2**521 - 1
SECRET_BYTES = 32
SHARE_BYTES = 66
_ATTEMPTS = 5000
"""Enough to find any two wrong shares among a hundred."""


class WrongSharesError(Exception):
    """No choice of the shares gives the secret."""


@dataclass(frozen=True)
class Recovered:
    """A secret, and whose shares of it were wrong."""

    secret: bytes
    wrong: frozenset[int]


def split(secret: bytes, threshold: int, count: int) -> list[bytes]:
    """Shares of the points 1 to ``count``; any ``threshold`` of them give the secret, fewer say nothing about it (``ValueError``)."""
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= count:
        raise ValueError("not a secret that can be split so")
    numbers = [int.from_bytes(secret, "big"), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return [_value(numbers, point).to_bytes(SHARE_BYTES, "big") for point in range(1, count + 1)]


def recover(shares: Mapping[int, bytes], threshold: int, is_right: Callable[[bytes], bool], doubted: Iterable[int] = ()) -> Recovered:
    """The secret of which ``shares`` are, by point, though some of them may be wrong.

    Parameters
    ----------
    is_right:
        Whether a secret is the one that was shared.
    doubted:
        Points whose shares of other secrets were wrong: the others are tried first.

    Raises
    ------
    WrongSharesError
        Too few shares, or too few right ones.
    """
    doubts = set(doubted)
    known = {point: number for point, share in shares.items() if (number := _number(share)) is not None}
    points = sorted(known, key=lambda point: (point in doubts, point))
    for left_out in islice(_smallest_first(points, len(points) - threshold), _ATTEMPTS):
        chosen = [point for point in points if point not in left_out][:threshold]
        value = _interpolated(known, chosen, 0)
        secret = value.to_bytes(SHARE_BYTES, "big")
        if not any(secret[:-SECRET_BYTES]) and is_right(secret[-SECRET_BYTES:]):
            wrong = {point for point in shares if point not in chosen and (point not in known or known[point] != _interpolated(known, chosen, point))}
            return Recovered(secret[-SECRET_BYTES:], frozenset(wrong))
    raise WrongSharesError


def _smallest_first(points: Sequence[int], most: int) -> Iterable[tuple[int, ...]]:
    for count in range(most + 1):
        yield from combinations(points, count)


def _number(share: bytes) -> int | None:
    number = int.from_bytes(share, "big")
    return number if len(share) == SHARE_BYTES and number < PRIME else None


def _value(numbers: Sequence[int], point: int) -> int:
    value = 0
    for number in reversed(numbers):
        value = (value * point + number) % PRIME
    return value


def _interpolated(known: Mapping[int, int], chosen: Sequence[int], point: int) -> int:
    return sum(weight * known[one] for one, weight in zip(chosen, _weights(tuple(chosen), point), strict=True)) % PRIME


@lru_cache(maxsize=1024)
def _weights(points: tuple[int, ...], at: int) -> tuple[int, ...]:
    """Lagrange's weights of ``points`` for the value at ``at``; kept, for a round asks for the same ones again and again."""
    found = []
    for one in points:
        above, below = 1, 1
        for other in points:
            if other != one:
                above, below = above * (at - other) % PRIME, below * (one - other) % PRIME
        found.append(above * pow(below, -1, PRIME) % PRIME)
    return tuple(found)
