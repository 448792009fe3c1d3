"""The coordinator's arithmetic of one masked sum: one vector, whatever the number of sites, from which the masks are taken off at the end."""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np

from fedliver.federation.secure.keys import agreed_key, public_key_of
from fedliver.federation.secure.masks import add_mask
from fedliver.federation.secure.shamir import Recovered, recover
from fedliver.federation.secure.words import Members, Shares

_Check = Callable[[bytes], bool]


class MaskedTotal:
    """Sites go by their numbers in the list of members.

    Parameters
    ----------
    masked_among:
        The sites whose shares every one of them has: each masked its update with all the others in here.
    """

    def __init__(self, members: Members, masked_among: frozenset[int], length: int) -> None:
        self._members = members
        self._among = masked_among
        self._total = np.zeros(length, np.uint32)
        self.present: set[int] = set()

    def add(self, number: int, vector: np.ndarray) -> None:
        """Add one site's masked update; it can be thrown away afterwards (``ValueError``: it is no such thing, or came already)."""
        if number in self.present or number not in self._among or vector.shape != self._total.shape or vector.dtype != np.uint32:
            raise ValueError("not one masked update of a site that is in the sum")
        np.add(self._total, vector, out=self._total)
        self.present.add(number)

    def opened(self, revealed: Mapping[int, Shares]) -> tuple[np.ndarray, frozenset[int]]:
        """The sum of the updates that were added, and the sites that revealed wrong shares.

        Raises
        ------
        WrongSharesError
            Too few right shares.
        """
        wrong: set[int] = set()
        for number in sorted(self.present):
            found = self._recovered({who: shares.seeds.get(number) for who, shares in revealed.items()}, wrong, self._is_seed_of(number))
            wrong |= found.wrong
            add_mask(self._total, found.secret, subtract=True)
        for lost in sorted(self._among - self.present):
            found = self._recovered({who: shares.keys.get(lost) for who, shares in revealed.items()}, wrong, self._is_key_of(lost))
            wrong |= found.wrong
            for number in sorted(self.present):
                key = agreed_key(found.secret, bytes.fromhex(self._members.members[number - 1].masking_key), b"mask" + self._members.seal)
                add_mask(self._total, key, subtract=lost > number)
        return self._total, frozenset(wrong)

    def _recovered(self, shares: Mapping[int, str | None], wrong: set[int], is_right: _Check) -> Recovered:
        there = {who: bytes.fromhex(share) if share else b"" for who, share in shares.items()}
        return recover(there, self._members.threshold, is_right, wrong)

    def _is_seed_of(self, number: int) -> _Check:
        expected = self._members.members[number - 1].seed_hash
        return lambda secret: hashlib.sha256(secret).hexdigest() == expected

    def _is_key_of(self, number: int) -> _Check:
        expected = self._members.members[number - 1].masking_key
        return lambda secret: public_key_of(secret).hex() == expected
