"""A site's part in a masked sum, step by step. It reveals nothing twice, nothing in another order, and never what would show one site's update.

Steps (Bonawitz et al. 2017, with the keys made when training is over): keys, share, mask, open. Whatever does not fit ends the sum for this site: its
secrets are removed, and to the others it is lost, which they survive.
"""

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedliver.errors import FedLiverError
from fedliver.federation.secure.keys import agreed_key, fresh_private_key, is_signed, opened, public_key_of, sealed, signature_of
from fedliver.federation.secure.masks import add_mask
from fedliver.federation.secure.round_secrets import RoundSecrets, SecretsFolder, SharePair, Step
from fedliver.federation.secure.shamir import SHARE_BYTES, split
from fedliver.federation.secure.words import Keys, Letters, Masking, Members, Shares, Survivors
from fedliver.site.keys import check_public_key, ensure_site_key, fingerprint_of
from fedliver.site.ledger import UpdateOut
from fedliver.site.rules import EgressRules


@dataclass(frozen=True)
class Place:
    """Where a site is: Flower's number of the run, and the round."""

    run: int
    round: int


class UnreadableLettersError(Exception):
    """Some sites' letters did not open."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        super().__init__(f"{len(numbers)} letters")
        self.numbers = numbers


class SiteSum:
    """Raises (from its methods)
    -------------------------
    FedLiverError
        ``sum-out-of-order`` for a step that comes twice, too early, or for another round; ``sum-refused`` for one that would tell too much.
    """

    def __init__(self, folder: Path, site_key: Path, rules: EgressRules) -> None:
        self._kept = SecretsFolder(folder)
        self._site_key = site_key
        self._rules = rules

    def refuse_a_second_time(self, place: Place) -> None:
        """Asked before training: one update leaves in a round."""
        known = self._kept.read()
        if known is not None and (known.run, known.round) == (place.run, place.round):
            raise _out_of_order()

    def begin(self, place: Place, masking: Masking, request: str, contribution: np.ndarray, entry: UpdateOut) -> Keys:
        """Keep the contribution until it can be masked, and make this sum's keys.

        Parameters
        ----------
        request:
            Hex SHA-256 of all that this site was asked to do: model, training, masking. Sites that were asked for something else are not summed with: a
            coordinator could have the others train nothing, and the sum would be this site's update.
        """
        self.refuse_a_second_time(place)
        sealing, masking_private, seed = fresh_private_key(), fresh_private_key(), secrets.token_bytes(32)
        own = Keys(
            public_key=ensure_site_key(self._site_key),
            sealing_key=public_key_of(sealing).hex(),
            masking_key=public_key_of(masking_private).hex(),
            seed_hash=hashlib.sha256(seed).hexdigest(),
            signature="00",
        )
        own = own.model_copy(update={"signature": signature_of(self._site_key, own.signed(request)).hex()})
        self._kept.write_contribution(contribution)
        self._kept.write(
            RoundSecrets(
                run=place.run,
                round=place.round,
                step="keys",
                masking=masking,
                request=request,
                entry=entry,
                own=own,
                sealing_private=sealing.hex(),
                masking_private=masking_private.hex(),
                seed=seed.hex(),
            )
        )
        return own

    def share(self, place: Place, members: Members) -> Letters:
        """Split this site's secrets among the members, each share in an envelope for one of them."""
        known = self._at(place, "keys", members.session)
        number = self._own_number(members, known)
        count, own = len(members.members), bytes.fromhex(known.sealing_private)
        seeds = split(bytes.fromhex(known.seed), members.threshold, count)
        keys = split(bytes.fromhex(known.masking_private), members.threshold, count)
        envelopes = {}
        for other, member in enumerate(members.members, start=1):
            if other != number:
                key = _agreed(own, member.sealing_key, b"letter", members)
                envelopes[other] = sealed(key, seeds[other - 1] + keys[other - 1], _way(members, number, other)).hex()
        mine = SharePair(seed=seeds[number - 1].hex(), key=keys[number - 1].hex())
        self._kept.write(known.model_copy(update={"step": "shared", "members": members, "number": number, "shares": {number: mine}}))
        return Letters(session=members.session, round=members.round, rounds=members.rounds, envelopes=envelopes)

    def mask(self, place: Place, letters: Letters) -> tuple[np.ndarray, UpdateOut]:
        """The masked update (uint32), and what the ledger is to say of it.

        Raises
        ------
        UnreadableLettersError
            A letter does not open: its sender or the coordinator has sent something else.
        """
        known = self._at(place, "shared", letters.session)
        members, number, entry = known.members, known.number, known.entry
        if members is None or entry is None or not set(letters.envelopes) <= set(range(1, len(members.members) + 1)) - {number}:
            raise _refused("letters came from sites that are not in the sum")
        self._check_count(len(letters.envelopes) + 1, members.threshold)
        shares = {**known.shares, **self._read(letters, known, members)}
        vector = self._kept.contribution().astype(np.uint32)
        add_mask(vector, bytes.fromhex(known.seed))
        own = bytes.fromhex(known.masking_private)
        for other in letters.envelopes:
            add_mask(vector, _agreed(own, members.members[other - 1].masking_key, b"mask", members), subtract=other < number)
        # First: if it cannot be written, nothing leaves; and once it is, no second update can be masked with these keys.
        gone = {"sealing_private": "", "masking_private": "", "seed": "", "own": None, "entry": None}
        self._kept.write(known.model_copy(update={"step": "masked", "shares": shares, **gone}))
        self._kept.remove_contribution()
        return vector, entry.model_copy(update={"masked_among": len(shares), "opened_by": members.threshold})

    def open(self, place: Place, survivors: Survivors) -> Shares:
        """This site's shares of what still hides the sum: once, and of every site either the one or the other."""
        known = self._at(place, "masked", survivors.session)
        present, masked = set(survivors.numbers), set(known.shares)
        if known.members is None or len(present) != len(survivors.numbers) or not present <= masked or known.number not in present:
            raise _refused("the sites that are said to be in the sum are not those that took part")
        self._check_count(len(present), known.members.threshold)
        self._kept.forget()
        return Shares(
            seeds={number: known.shares[number].seed for number in sorted(present)},
            keys={number: known.shares[number].key for number in sorted(masked - present)},
        )

    def forget(self) -> None:
        """The sum is over for this site, however it ended."""
        self._kept.forget()

    def _at(self, place: Place, step: Step, session: str) -> RoundSecrets:
        known = self._kept.read()
        if known is None or known.masking is None or (known.run, known.round, known.step) != (place.run, place.round, step) or known.masking.session != session:
            raise _out_of_order()
        return known

    def _own_number(self, members: Members, known: RoundSecrets) -> int:
        """This site's number in a list that it can agree to."""
        own, masking = known.own, known.masking
        if own is None or masking is None or own not in members.members or members.round != known.round:
            raise _refused("the list of sites does not have this site's keys")
        count = len(members.members)
        self._check_count(count, members.threshold)
        if not count // 2 < members.threshold <= count or members.threshold < self._rules.minimum_sites or count > masking.capacity:
            raise _refused("the number of sites that can open the sum is not what was agreed")
        for secret in (_fingerprint, lambda one: one.sealing_key, lambda one: one.masking_key):
            if len({secret(member) for member in members.members}) != count:
                raise _refused("the list of sites has one of them twice")
        for member in members.members:
            if not is_signed(member.public_key, bytes.fromhex(member.signature), member.signed(known.request)):
                raise _refused("a site's keys are not signed with its enrolled key, or it was asked for something else than this site")
        known_sites = set(self._rules.known_sites)
        if known_sites and not {_fingerprint(member) for member in members.members if member != own} <= known_sites:
            raise _refused("a site is in the sum that this site's rules do not name")
        return members.members.index(own) + 1

    def _check_count(self, count: int, threshold: int) -> None:
        if count < max(threshold, self._rules.minimum_sites):
            raise _refused(f"only {count} sites are in the sum")

    def _read(self, letters: Letters, known: RoundSecrets, members: Members) -> dict[int, SharePair]:
        own, found, unreadable = bytes.fromhex(known.sealing_private), {}, []
        for sender, envelope in letters.envelopes.items():
            try:
                key = _agreed(own, members.members[sender - 1].sealing_key, b"letter", members)
                letter = opened(key, bytes.fromhex(envelope), _way(members, sender, known.number))
                if len(letter) != 2 * SHARE_BYTES:
                    raise ValueError("another length")
                found[sender] = SharePair(seed=letter[:SHARE_BYTES].hex(), key=letter[SHARE_BYTES:].hex())
            except ValueError:
                unreadable.append(sender)
        if unreadable:
            raise UnreadableLettersError(tuple(unreadable))
        return found


def _agreed(private: bytes, public: str, purpose: bytes, members: Members) -> bytes:
    try:
        return agreed_key(private, bytes.fromhex(public), purpose + members.seal)
    except ValueError as error:
        raise _refused("a site's key is none") from error


def _way(members: Members, sender: int, addressee: int) -> bytes:
    return members.seal + sender.to_bytes(4, "big") + addressee.to_bytes(4, "big")


def _fingerprint(member: Keys) -> str:
    try:
        check_public_key(member.public_key)
    except ValueError as error:
        raise _refused("a site's enrolled key is none") from error
    return fingerprint_of(member.public_key)


def _refused(why: str) -> FedLiverError:
    return FedLiverError("sum-refused", f"This site does not take part in the masked sum: {why}.")


def _out_of_order() -> FedLiverError:
    return FedLiverError("sum-out-of-order", "A step of a masked sum came twice, too early, too late or for another round: this site does not take part.")
