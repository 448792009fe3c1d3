"""A site's answers to the steps of a masked sum: what leaves is in the ledger before, and an error ends the sum for this site."""

from dataclasses import dataclass
from datetime import UTC, datetime

from flwr.app import RecordDict

from fedliver.errors import Cancelled, FedLiverError
from fedliver.federation.messages import Numbers, pack_words, payload_bytes
from fedliver.federation.secure.ring import contribution
from fedliver.federation.secure.site_sum import Place, SiteSum, UnreadableLettersError
from fedliver.federation.secure.words import Keys, Letters, Masking, Members, Survivors, Unreadable
from fedliver.site.accountant import epsilon
from fedliver.site.codes import ErrorCode
from fedliver.site.egress import AgreedNumbers, TensorKind, Weights
from fedliver.site.federation import SiteFiles
from fedliver.site.keys import fingerprint_of
from fedliver.site.ledger import Ledger, StepOut, UpdateOut, content_hash
from fedliver.site.rules import EgressRules


@dataclass(frozen=True)
class FilteredChange:
    """What the egress filter let through."""

    change: Weights
    numbers: AgreedNumbers
    entry: UpdateOut
    """What the ledger will say of it; hash and size follow."""


class SiteSteps:
    """Parameters
    ----------
    rules:
        As they are followed: the site's own, made stricter by the policy that it accepted.
    """

    def __init__(self, files: SiteFiles, rules: EgressRules, ledger: Ledger) -> None:
        self._files = files
        self._rules = rules
        self._ledger = ledger
        self._sum = SiteSum(files.masked_round, files.key, rules)

    def check_first(self, place: Place) -> None:
        """Before training: whether this site has had its sum in this round (FedLiverError ``sum-out-of-order``)."""
        self._sum.refuse_a_second_time(place)

    def forget(self) -> None:
        """Remove what an earlier sum has left."""
        self._sum.forget()

    def begin(self, place: Place, masking: Masking, request: str, update: FilteredChange, kinds: dict[str, TensorKind]) -> RecordDict:
        """Keep the update here until it can be masked; this sum's keys leave."""
        bound = None if self._rules.noisy else self._rules.norm_bound
        try:
            vector = contribution(update.change, update.numbers, masking, kinds, bound)
        except ValueError as error:
            raise FedLiverError("no-approved-case", "This site's cases have no weight by the federation's policy.") from error
        keys: Keys = self._sum.begin(place, masking, request, vector, update.entry)
        self._ledger.append(StepOut(run=place.run, round=place.round, step="keys"))
        return pack_words(keys)

    def answer(self, run: int, asked: Members | Letters | Survivors) -> RecordDict:
        """One step. Whatever is raised, the secrets are removed first."""
        try:
            if self._files.stop.exists():
                raise Cancelled("masked sum")
            return self._answer(Place(run, asked.round), asked)
        except UnreadableLettersError as found:
            self._sum.forget()
            self._ledger.append(StepOut(run=run, round=asked.round, step="unreadable"))
            return pack_words(Unreadable(numbers=found.numbers), Numbers(error=int(ErrorCode.SHARES_UNREADABLE)))
        except BaseException:
            self._sum.forget()
            raise

    def _answer(self, place: Place, asked: Members | Letters | Survivors) -> RecordDict:
        here = {"run": place.run, "round": place.round}
        if isinstance(asked, Members):
            letters = self._sum.share(place, asked)
            self._ledger.append(StepOut(**here, step="share", sites=tuple(fingerprint_of(member.public_key) for member in asked.members)))
            return pack_words(letters)
        if isinstance(asked, Letters):
            return self._masked(place, asked)
        shares = self._sum.open(place, asked)
        self._ledger.append(StepOut(**here, step="open", opened=len(asked.numbers)))
        return pack_words(shares)

    def _masked(self, place: Place, letters: Letters) -> RecordDict:
        vector, entry = self._sum.mask(place, letters)
        leaves = pack_words(Letters(session=letters.session, round=place.round, rounds=letters.rounds, envelopes={}), vector=vector)
        spent = epsilon([*self._ledger.noise_so_far(), entry.noise_multiplier], self._rules.delta) if entry.noise_multiplier else None
        told = {"time": datetime.now(UTC), "content": content_hash({"masked": vector}), "bytes": payload_bytes(leaves), "epsilon": spent}
        self._ledger.append(entry.model_copy(update=told))
        return leaves
