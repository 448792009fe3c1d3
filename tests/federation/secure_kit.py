"""Sites of masked sums for tests: real keys, real files and the coordinator's real rounds; only training and transport are stand-ins."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from federation_kit import context, enrolled_home, message
from flwr.app import Context, Message, RecordDict
from stage import Clock

from fedliver.coordinator.checkpoints import Weights
from fedliver.errors import FedLiverError
from fedliver.federation.guard import Guard
from fedliver.federation.links import Reply
from fedliver.federation.messages import DELIVER, STEP, TRAIN, Numbers, error_reply, pack_reply, pack_words, unpack_instructions, unpack_weights, unpack_words
from fedliver.federation.networks import trained_tensors, weights_of
from fedliver.federation.secure.masked_round import MaskedRound, masking_for
from fedliver.federation.secure.ring import Summed, contribution, numbers_in
from fedliver.federation.secure.site_sum import Place, SiteSum, UnreadableLettersError
from fedliver.federation.secure.words import AnyStep, Letters, Masking, Members, Survivors, Unreadable
from fedliver.site.codes import ErrorCode, code_of
from fedliver.site.egress import AgreedNumbers, PatientCount, TensorKind
from fedliver.site.federation import SiteFiles
from fedliver.site.keys import ensure_site_key
from fedliver.site.ledger import UpdateOut
from fedliver.site.policy import Policy, contract_of
from fedliver.site.rules import EgressRules
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan

PLAN = TeacherPlan.tiny()
KINDS = trained_tensors(PLAN)
RECEIVED = weights_of(build_network(PLAN))
SMALL = {"a": TensorKind((7, 3), np.dtype(np.float32)), "b": TensorKind((5,), np.dtype(np.float32)), "counter": TensorKind((), np.dtype(np.int64))}
RUN = 77
REQUEST = "ab" * 32
Spoil = Callable[[int, str, RecordDict], RecordDict | None]
"""From a node, the step ("train", "share", "mask", "open") and its honest answer to what really arrives; None for silence, GONE for a dead process."""
GONE = RecordDict()


def policy(**changes: object) -> Policy:
    return Policy.model_validate({"contract": contract_of(PLAN), "quorum": 3, "privacy": {"require_secure_aggregation": True}, **changes})


def numbers_in_small() -> int:
    return numbers_in(SMALL)


def numbers(cases: int, loss: float = 0.5) -> AgreedNumbers:
    return AgreedNumbers(cases=cases, loss=loss, seconds=1.0, dice=0.25, dice_cases=2)


def entry(cases: int = 1) -> UpdateOut:
    return UpdateOut(
        run=RUN, round=1, content="0" * 64, bytes=0, cases=cases, patients=cases, norm=1, sent_norm=1, norm_bound=30, noise_multiplier=0, epsilon=None,
        loss=None, dice=None, dice_cases=0, seconds=1,
    )  # fmt: skip


class SumSite:
    """A site from its filtered change on."""

    def __init__(self, home: Path, change: Weights, cases: int, rules: EgressRules = EgressRules()) -> None:  # noqa: B008 frozen
        self.change, self.cases, self.kinds = change, cases, SMALL
        self.folder = home / "masked-round"
        self.key = home / "site_key"
        self.sum = SiteSum(self.folder, self.key, rules)

    def keys(self, masking: Masking, place: Place = Place(RUN, 1), request: str = REQUEST) -> RecordDict:  # noqa: B008 frozen
        vector = contribution(self.change, numbers(self.cases), masking, self.kinds, 30.0)
        return pack_words(self.sum.begin(place, masking, request, vector, entry(self.cases)))

    def step(self, content: RecordDict, place: Place = Place(RUN, 1)) -> RecordDict:  # noqa: B008 frozen
        try:
            return self._answer(unpack_words(content, AnyStep).root, place)
        except UnreadableLettersError as found:
            return pack_words(Unreadable(numbers=found.numbers), Numbers(error=int(ErrorCode.SHARES_UNREADABLE)))
        except FedLiverError as error:
            return error_reply(code_of(error))

    def _answer(self, asked: Members | Letters | Survivors, place: Place) -> RecordDict:
        if isinstance(asked, Members):
            return pack_words(self.sum.share(place, asked))
        if isinstance(asked, Letters):
            return pack_words(asked, vector=self.sum.mask(place, asked)[0])
        return pack_words(self.sum.open(place, asked))


class Wire:
    """Carries every message at once; ``spoil`` changes what comes back."""

    def __init__(self, answer: Callable[[int, str, RecordDict], RecordDict], nodes: Iterable[int], spoil: Spoil = lambda node, step, honest: honest) -> None:
        self._answer, self._spoil = answer, spoil
        self.nodes = set(nodes)
        self.round = 0
        self.sent: list[tuple[int, str, RecordDict]] = []
        self.arrived: list[tuple[int, str, RecordDict]] = []
        self._waiting: dict[str, Reply] = {}

    def online(self) -> set[int]:
        return set(self.nodes)

    def send(self, nodes: Sequence[int], content: RecordDict, kind: str, round_number: int, seconds_to_live: float) -> dict[str, int]:
        found = {}
        self.round = round_number
        for node in nodes:
            step = unpack_words(content, AnyStep).root.step if kind == STEP else kind
            self.sent.append((node, step, content))
            message = f"{len(self.sent)}"
            found[message] = node
            answer = self._spoil(node, step, self._answer(node, kind, content))
            if answer is not None:
                self.arrived.append((node, step, answer))
                self._waiting[message] = Reply(message, answer) if answer else Reply(message, None, "its training process died")
        return found

    def receive(self, messages: Iterable[str]) -> list[Reply]:
        return [self._waiting.pop(one) for one in list(messages) if one in self._waiting]


class Heard:
    """What a masked round tells of its sites."""

    def __init__(self) -> None:
        self.out: dict[int, str] = {}
        self.up: dict[int, int] = {}

    def lost(self, node: int, why: str) -> None:
        self.out[node] = why

    def arrived(self, node: int, size: int) -> None:
        self.up[node] = self.up.get(node, 0) + size


def enrolled(sites: dict[int, SumSite]) -> dict[int, str]:
    return {node: ensure_site_key(site.key) for node, site in sites.items()}


def summing(
    sites: dict[int, SumSite], spoil: Spoil, heard: Heard, rules: Policy | None = None, number: int = 1, kinds: dict[str, TensorKind] = SMALL
) -> tuple[MaskedRound, Wire, Masking]:
    """A masked round whose sites have trained, but for those whose keys ``spoil`` keeps back."""
    asked = rules or policy()
    masking = masking_for(asked, max(1, len(sites)))
    wire = Wire(lambda node, kind, content: sites[node].step(content, Place(RUN, number)), sites, spoil)
    clock = Clock()
    made = MaskedRound(
        wire,
        asked,
        kinds,
        masking,
        request=REQUEST,
        place=(number, number),
        enrolled=enrolled(sites),
        approved=lambda: set(sites),
        listener=heard,
        clock=clock,
        sleep=clock.sleep,
    )
    for node, site in sites.items():
        keys = spoil(node, "train", site.keys(masking, Place(RUN, number)))
        if keys:
            made.take_keys(node, keys)
    return made, wire, masking


def made_sites(root: Path, count: int, rules: EgressRules = EgressRules()) -> dict[int, SumSite]:  # noqa: B008 frozen
    """Sites of 1, 4, 9, ... cases with changes of their own. Node numbers say nothing about the order of their keys."""
    rng = np.random.default_rng(5)
    changes = [{name: rng.normal(0, 0.1, kind.shape).astype(np.float32) for name, kind in SMALL.items() if name != "counter"} for _ in range(count)]
    return {node: SumSite(root / str(node), change, node * node, rules) for node, change in enumerate(changes, start=1)}


def plain_mean(sites: Iterable[SumSite]) -> Weights:
    chosen = list(sites)
    whole = sum(site.cases for site in chosen)
    return {name: sum(site.cases * site.change[name].astype(np.float64) for site in chosen) / whole for name in ("a", "b")}


def assert_is_mean(summed: Summed, sites: Iterable[SumSite], masking: Masking) -> None:
    """Within what fixed point takes away: half a step of every site, over the weights; and a weight is a part in a million."""
    chosen = list(sites)
    step = masking.largest / ((2**31 - 1) // masking.capacity)
    tolerance = step * len(chosen) * masking.weight_cap_cases / sum(site.cases for site in chosen) + 1e-4 * 0.5
    for name, mean in plain_mean(chosen).items():
        np.testing.assert_allclose(summed.change[name], mean, atol=tolerance)
    assert (summed.told.sites, summed.told.cases) == (len(chosen), sum(site.cases for site in chosen))


class GuardedSite:
    """A whole site: its filter, ledger and files. Training is a stand-in that moves the weights it received by ``change``."""

    def __init__(self, home: Path, change: Callable[[int], float], cases: int = 6, accepted: dict[str, object] | None = None) -> None:
        self.files = SiteFiles(enrolled_home(home, PLAN, **({"quorum": 3, "privacy": {"require_secure_aggregation": True}} if accepted is None else accepted)))
        self.change, self.cases = change, cases
        self.guard = Guard(home, self._app, lambda _: PatientCount(6, 4), lambda: np.random.default_rng(1))

    def __call__(self, kind: str, content: RecordDict) -> RecordDict:
        return self.guard(message(content, kind), context(self.files.home)).content

    def _app(self, message: Message, context: Context) -> Message:
        if message.metadata.message_type == DELIVER:
            return Message(pack_reply(Numbers(dice=0.5, dice_cases=4)), reply_to=message)
        instructions = unpack_instructions(message.content)
        received = unpack_weights(message.content, RECEIVED)
        trained = {name: array + np.asarray(self.change(instructions.round), array.dtype) for name, array in received.items()}
        return Message(pack_reply(Numbers(cases=self.cases, loss=0.25, seconds=3.0, dice=0.5, dice_cases=4), trained), reply_to=message)


__all__ = ["DELIVER", "STEP", "TRAIN"]
