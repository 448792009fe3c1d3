"""The coordinator's part in a masked sum: hand keys and sealed shares round, add what comes masked, and open the sum if enough sites are left for it."""

import secrets
import sys
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from flwr.app import RecordDict

from fedliver.error_details import details_of
from fedliver.errors import FedLiverError
from fedliver.federation.links import SiteLinks
from fedliver.federation.messages import STEP, pack_words, payload_bytes, unpack_masked, unpack_numbers, unpack_words
from fedliver.federation.secure.keys import is_signed
from fedliver.federation.secure.ring import Summed, numbers_in, read_sum
from fedliver.federation.secure.shamir import WrongSharesError
from fedliver.federation.secure.total import MaskedTotal
from fedliver.federation.secure.words import Keys, Letters, Masking, Members, Shares, Survivors, Unreadable, threshold_of
from fedliver.federation.strategies import UNREADABLE, UpdateRefusedError
from fedliver.site.codes import ErrorCode, sentence_of
from fedliver.site.egress import TensorKind
from fedliver.site.keys import check_public_key, fingerprint_of
from fedliver.site.policy import Policy
from fedliver.site.rules import EgressRules

Answer = TypeVar("Answer")
_POLL_SECONDS = 0.5
_TTL_MARGIN_SECONDS = 30.0
_NOISE_REACHES = 6
"""Standard deviations of the sites' noise that the numbers of a sum have room for."""


class NotSummedError(Exception):
    """The sum stays closed; its text says why, in our own words."""


class Listener(Protocol):
    """What the round wants to know of its sites."""

    def lost(self, node: int, why: str) -> None:
        """A site is out of this round, for that reason."""

    def arrived(self, node: int, size: int) -> None:
        """So many bytes of weights came from it."""


def masking_for(policy: Policy, sites: int) -> Masking:
    """What the round's instructions say, for at most that many sites; a new session every time."""
    asked = policy.privacy
    bound = asked.norm_bound if asked.norm_bound is not None else EgressRules().norm_bound
    return Masking(
        session=secrets.token_hex(16),
        capacity=sites,
        largest=bound * (1 + _NOISE_REACHES * asked.noise_multiplier),
        weight_cap_cases=policy.weight_cap_cases,
        unlabelled_share=policy.unlabelled_share if policy.learns_from_unlabelled else 0.0,
    )


class MaskedRound:
    """One sum. Its sites are Flower's nodes until it begins, and numbers from 1 on in what they say to each other.

    Parameters
    ----------
    request:
        The hash of what the sites were asked to do (``messages.request_hash``).
    place:
        The round, and the last one of the run.
    enrolled:
        The public key that each node's site was approved with: keys signed with another one are not its.
    approved:
        The nodes that are approved now: one that is revoked meanwhile is waited for no longer.
    clock, sleep:
        As of the rounds.
    """

    def __init__(
        self,
        links: SiteLinks,
        policy: Policy,
        kinds: Mapping[str, TensorKind],
        masking: Masking,
        *,
        request: str,
        place: tuple[int, int],
        enrolled: Mapping[int, str],
        approved: Callable[[], set[int]],
        listener: Listener,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._links = links
        self._policy = policy
        self._kinds = kinds
        self._masking = masking
        self._request = request
        self._round, self._rounds = place
        self._enrolled = enrolled
        self._approved = approved
        self._listener = listener
        self._clock = clock
        self._sleep = sleep
        self._keys: dict[int, Keys] = {}
        self.members: dict[int, int] = {}
        """Nodes by number, once the sum has begun."""
        self.accused: dict[int, int] = {}
        """Nodes whose letters other sites could not read, and how many could not."""
        self.silent: set[int] = set()
        """Nodes that gave no answer at all to a step."""

    def take_keys(self, node: int, content: RecordDict) -> None:
        """A site has trained and sends its keys (:class:`UpdateRefusedError`)."""
        try:
            keys = unpack_words(content, Keys)
            check_public_key(keys.public_key)
        except (FedLiverError, ValueError) as error:
            raise UpdateRefusedError("sent no keys for the masked sum") from error
        if keys.public_key.split() != self._enrolled.get(node, "").split()[:2]:
            raise UpdateRefusedError("sent keys of another site than the one that was approved here")
        if not is_signed(keys.public_key, bytes.fromhex(keys.signature), keys.signed(self._request)):
            raise UpdateRefusedError("sent keys that are not signed with its enrolled key")
        mine = {fingerprint_of(keys.public_key), keys.sealing_key, keys.masking_key}
        if any(mine & {fingerprint_of(other.public_key), other.sealing_key, other.masking_key} for other in self._keys.values()):
            raise UpdateRefusedError("sent another site's keys")
        self._keys[node] = keys

    def sum(self) -> Summed:
        """All steps after training (:class:`NotSummedError`)."""
        ordered = sorted(self._keys, key=lambda node: self._keys[node].public_key)
        self.members = dict(enumerate(ordered, start=1))
        threshold = threshold_of(len(ordered), self._policy.privacy.minimum_sites)
        self._need(len(ordered), threshold, "have trained")
        members = Members(**self._here, threshold=threshold, members=tuple(self._keys[node] for node in ordered))
        letters = self._ask(dict.fromkeys(self.members, members), self._read_letters)
        self._need(len(letters), threshold, "have shared their secrets")
        total = self._masked(members, letters)
        self._need(len(total.present), threshold, "have sent their masked updates")
        survivors = Survivors(**self._here, numbers=tuple(sorted(total.present)))
        revealed = self._ask(dict.fromkeys(total.present, survivors), lambda number, content: unpack_words(content, Shares))
        self._need(len(revealed), threshold, "have helped to open the sum")
        try:
            opened, wrong = total.opened(revealed)
            summed = read_sum(opened, self._masking, self._kinds, len(total.present))
        except WrongSharesError as error:
            raise NotSummedError("too many sites revealed shares that do not fit") from error
        except ValueError as error:
            raise NotSummedError("what was summed is no sum of updates: a site's masked update was not what it should be") from error
        for number in wrong:
            self._listener.lost(self.members[number], "revealed wrong shares, and the sum was opened without them; its update is in it")
        return summed

    def _masked(self, members: Members, letters: Mapping[int, Letters]) -> MaskedTotal:
        """Every site that shared gets the letters to it, and sends its update masked; it is added and let go."""
        length = numbers_in(self._kinds)
        total = MaskedTotal(members, frozenset(letters), length)

        def add(number: int, content: RecordDict) -> bool:
            try:
                total.add(number, unpack_masked(content, length))
            except ValueError as error:
                raise UpdateRefusedError("sent no masked update of the agreed network") from error
            return True

        self._ask({number: self._letters_to(number, letters) for number in letters}, add)
        return total

    def _read_letters(self, number: int, content: RecordDict) -> Letters:
        letters = unpack_words(content, Letters)
        if set(letters.envelopes) != set(self.members) - {number}:
            raise UpdateRefusedError("did not share its secrets with all the sites that were named")
        return letters

    def _letters_to(self, addressee: int, letters: Mapping[int, Letters]) -> Letters:
        return Letters(**self._here, envelopes={sender: sent.envelopes[addressee] for sender, sent in letters.items() if sender != addressee})

    def _ask(self, asked: Mapping[int, Members | Letters | Survivors], read: Callable[[int, RecordDict], Answer]) -> dict[int, Answer]:
        """One step: the answers by number, of those who gave one in time."""
        pending: dict[str, int] = {}
        seconds, started = self._policy.sum_step_seconds, self._clock()
        for number, words in asked.items():
            sent = self._links.send([self.members[number]], pack_words(words), STEP, self._round, seconds + _TTL_MARGIN_SECONDS)
            pending |= dict.fromkeys(sent, number)
            if not sent:
                self._lose(number, "could not be sent a step of the masked sum")
        answers: dict[int, Answer] = {}
        while pending and self._clock() < started + seconds:
            for reply in self._links.receive(pending):
                number = pending.pop(reply.message, 0)
                if not number:
                    continue
                try:
                    answers[number] = self._answer(number, reply.content, reply.failure, read)
                except UpdateRefusedError as refused:
                    self._lose(number, str(refused))
            approved = self._approved()
            for message, number in list(pending.items()):
                if self.members[number] not in approved:
                    del pending[message]
                    self._lose(number, "was revoked")
            if pending:
                self._sleep(_POLL_SECONDS)
        for number in pending.values():
            self.silent.add(self.members[number])
            self._lose(number, f"did not answer a step of the masked sum within {seconds:.0f} s")
        return answers

    def _answer(self, number: int, content: RecordDict | None, failure: str, read: Callable[[int, RecordDict], Answer]) -> Answer:
        if content is None:
            self.silent.add(self.members[number])
            raise UpdateRefusedError(failure)
        self._listener.arrived(self.members[number], payload_bytes(content))
        try:
            error = unpack_numbers(content).error
            if error == ErrorCode.SHARES_UNREADABLE:
                self._accuse(unpack_words(content, Unreadable).numbers)
            if error:
                raise UpdateRefusedError(sentence_of(error))
            return read(number, content)
        except UpdateRefusedError:
            raise
        except (FedLiverError, ValueError) as wrong:
            raise UpdateRefusedError("sent something else than the masked sum asks for") from wrong
        except Exception as wrong:  # whatever a site has made up, and a library trips over: it costs that site its part and nobody the run
            print(details_of(wrong), file=sys.stderr)
            raise UpdateRefusedError(UNREADABLE) from wrong

    def _accuse(self, numbers: tuple[int, ...]) -> None:
        for number in set(numbers) & set(self.members):
            self.accused[self.members[number]] = self.accused.get(self.members[number], 0) + 1

    def _lose(self, number: int, why: str) -> None:
        self._listener.lost(self.members[number], why)

    def _need(self, there: int, threshold: int, what: str) -> None:
        if there < threshold:
            raise NotSummedError(f"{there} of at least {threshold} sites {what}")

    @property
    def _here(self) -> dict[str, object]:
        return {"session": self._masking.session, "round": self._round, "rounds": self._rounds}
