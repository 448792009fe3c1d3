"""The global model at the coordinator, and how it gets to the sites in few bytes.

With compression, the model that the coordinator holds is the one that the sites can build: after every round it moves by the rounded change that is sent, not
by the exact one, so nobody drifts. What rounding took away is kept in the checkpoint and added to the next round's change. So are the changes of the rounds
before, for a site that has missed a few, as long as all of them together are much less than the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from flwr.app import RecordDict

from fedliver.coordinator.checkpoints import Weights
from fedliver.federation.codec import Change, applied, decode, encode
from fedliver.federation.messages import MOST_PACKETS, Payload, Shipment, unpack_packet, unpack_weights
from fedliver.site.egress import TensorKind, averaged
from fedliver.site.ledger import content_hash
from fedliver.site.policy import Compression

_KEPT, _CHANGE, _BASE = "rounding/", "shipping/change/", "shipping/base/"
_CHANGES_BYTES = 0.5
"""Of the whole model's: as many bytes the changes may have together."""


@dataclass(frozen=True)
class GlobalModel:
    """The aggregate of one round; 0 is the first teacher. ``state`` goes into its checkpoint: the strategy's, and what is needed here."""

    number: int
    weights: Weights
    state: Weights = field(default_factory=dict)

    @cached_property
    def content(self) -> str:
        """Its :func:`~fedliver.site.ledger.content_hash`."""
        return content_hash(self.weights)

    def moved(self, step: Mapping[str, np.ndarray], state: Weights, kinds: Mapping[str, TensorKind], compression: Compression) -> "GlobalModel":
        """The next round's model: this one, moved by ``step``. ``state`` is the strategy's."""
        wanted = {name: way + self._kept(name, way) for name, way in step.items()}
        if compression == "none":
            return GlobalModel(self.number + 1, applied(wanted, self.weights), state)
        data, sent = encode(wanted, kinds)
        kept = {f"{_KEPT}{name}": (way - sent[name]).astype(np.float32) for name, way in wanted.items()}
        return GlobalModel(self.number + 1, applied(sent, self.weights), {**state, **kept, **self._changes_with(data)})

    def unmoved(self, kinds: Mapping[str, TensorKind], compression: Compression) -> "GlobalModel":
        """The next round's model where the round came to nothing: the same weights, to the last bit, under the next number."""
        if compression == "none":
            return GlobalModel(self.number + 1, self.weights, self.state)
        still = {name: np.zeros(kind.shape, np.float32) for name, kind in averaged(kinds).items()}
        remembered = {name: array for name, array in self.state.items() if not name.startswith((_CHANGE, _BASE))}
        return GlobalModel(self.number + 1, self.weights, {**remembered, **self._changes_with(encode(still, kinds)[0])})

    def shipment(self, held: int | None, compression: Compression) -> tuple[Shipment, Payload]:
        """What is sent to a site that is believed to have the model ``held``. It says so if it has not, and gets the whole one (``held`` None)."""
        if compression == "none":
            return Shipment(), self.weights
        if held == self.number:
            return Shipment(form="nothing", content=self.content, base=self.number, base_content=self.content), {}
        if held is not None and (packets := self._changes_since(held)):
            base = self.state[f"{_BASE}{held + 1}"].tobytes().hex()
            return Shipment(form="change", content=self.content, base=held, base_content=base), packets
        return Shipment(content=self.content), self.weights

    def _changes_since(self, held: int) -> tuple[bytes, ...]:
        """The packed changes from the model ``held`` to this one; none if one of them is not kept any more."""
        changes = [self.state.get(f"{_CHANGE}{number}") for number in range(held + 1, self.number + 1)]
        known = tuple(change.tobytes() for change in changes if change is not None)
        return known if len(known) == len(changes) else ()

    def _changes_with(self, newest: bytes) -> Weights:
        """The packed change that leads away from this model, and those that led to it without a gap, as far as there is room; each with its base's hash."""
        base = np.frombuffer(bytes.fromhex(self.content), np.uint8)
        found = {f"{_CHANGE}{self.number + 1}": np.frombuffer(newest, np.uint8), f"{_BASE}{self.number + 1}": base}
        room = _CHANGES_BYTES * sum(array.nbytes for array in self.weights.values()) - len(newest)
        for number in range(self.number, max(0, self.number + 1 - MOST_PACKETS), -1):
            change = self.state.get(f"{_CHANGE}{number}")
            if change is None or change.nbytes > room:
                break
            room -= change.nbytes
            found |= {name: self.state[name] for name in (f"{_CHANGE}{number}", f"{_BASE}{number}")}
        return found

    def _kept(self, name: str, like: np.ndarray) -> np.ndarray | float:
        kept = self.state.get(f"{_KEPT}{name}")
        return kept if kept is not None and kept.shape == like.shape else 0.0


def unpack_change(content: RecordDict, sent: Weights, kinds: Mapping[str, TensorKind], compression: Compression) -> Change:
    """By how much a site moved the weights that it was ``sent``; floating-point tensors only.

    Raises
    ------
    FedLiverError
        ``weights-do-not-fit``.
    """
    if compression == "int8":
        return decode(unpack_packet(content), kinds)
    trained = unpack_weights(content, kinds)
    return {name: trained[name].astype(np.float64) - sent[name] for name in averaged(kinds)}


def is_shipped_teacher(model: GlobalModel) -> bool:
    """Whether it is the starter that every site has from its installation, so that it need not travel."""
    from fedliver.errors import FedLiverError
    from fedliver.federation.networks import weights_of
    from fedliver.teacher.bundle import STARTER, load_bundle

    try:
        return model.content == content_hash(weights_of(load_bundle(STARTER).network))
    except FedLiverError:
        return False
