"""From a filtered update to what leaves the site: clipped and noised before, rounded and packed here.

What rounding takes away stays in a file of the site and is added to its next update (error feedback). It is made of clipped and noised updates alone, so what
leaves later is no less protected; and without noise, what leaves is shortened once more, so that rounding and what was kept never lengthen it beyond the bound.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedliver.coordinator.array_file import DamagedFileError, read_arrays, write_arrays
from fedliver.federation.codec import Change, encode
from fedliver.federation.messages import Payload
from fedliver.site.egress import FilteredUpdate, TensorKind, averaged
from fedliver.site.ledger import content_hash
from fedliver.site.rules import EgressRules

_OWNER, _KEPT = "federation", "kept/"


@dataclass(frozen=True)
class Leaving:
    """An update as it leaves."""

    payload: Payload
    content: str
    """Hash of what really leaves: of every tensor, or of the packet's bytes."""
    norm: float
    """Euclidean norm of the change as the coordinator will see it, less the noise: never above the bound."""
    kept: Change
    """What rounding took away from it."""


class Rounding:
    """The file in which a site keeps what rounding took away from its last update.

    Parameters
    ----------
    federation:
        A name of the federation: what was kept in another one is not added to this one's updates.
    """

    def __init__(self, file: Path, federation: str) -> None:
        self._file = file
        self._federation = federation

    def read(self, kinds: Mapping[str, TensorKind]) -> dict[str, np.ndarray]:
        """What was kept; zeros where there is nothing, or something else."""
        kept = self._stored()
        found = {}
        for name, kind in averaged(kinds).items():
            fits = name in kept and kept[name].shape == kind.shape
            found[name] = kept[name] if fits else np.zeros(kind.shape, np.float32)
        return found

    def write(self, kept: Change) -> None:
        """Keep it (FedLiverError ``disk-full``, ``not-writable``)."""
        write_arrays(self._file, {_OWNER: np.array(self._federation), **{f"{_KEPT}{name}": array for name, array in kept.items()}})

    def _stored(self) -> dict[str, np.ndarray]:
        try:
            stored = read_arrays(self._file)
        except DamagedFileError:
            return {}  # a little exactness is lost, no more
        if str(stored.get(_OWNER)) != self._federation:
            return {}
        found = {name.removeprefix(_KEPT): array for name, array in stored.items() if name.startswith(_KEPT)}
        return {name: array for name, array in found.items() if array.dtype == np.float32 and np.isfinite(array).all()}


def as_weights(update: FilteredUpdate) -> Leaving:
    """The update as the weights themselves."""
    return Leaving(update.weights, content_hash(update.weights), update.sent_norm, {})


def as_packet(update: FilteredUpdate, received: Mapping[str, np.ndarray], kinds: Mapping[str, TensorKind], rules: EgressRules, rounding: Rounding) -> Leaving:
    """The update as a packed change of what was received (FedLiverError ``training-diverged``)."""
    kept = rounding.read(kinds)
    wanted = {name: update.weights[name].astype(np.float32) - received[name].astype(np.float32) + kept[name] for name in kept}
    data, sent = encode(wanted, kinds, shortened_to=None if rules.noisy else rules.norm_bound)
    norm = update.sent_norm if rules.noisy else math.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in sent.values()))
    return Leaving(data, content_hash({"packet": np.frombuffer(data, np.uint8)}), norm, {name: wanted[name] - sent[name] for name in wanted})
