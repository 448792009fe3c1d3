"""What one site does in one round of a simulated federation: train from the weights that it was sent, and let the egress filter see what leaves.

The filter, the codec and the strategies are the federation's own code.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedliver.coordinator.checkpoints import Weights, load_checkpoint, save_checkpoint
from fedliver.federation.codec import applied, encode
from fedliver.federation.networks import load_weights, weights_of
from fedliver.site.egress import TensorKind, filter_update
from fedliver.site.rules import EgressRules
from fedliver.study.federated.batches import batches_of
from fedliver.study.federated.division import Indexes, divide, hold_out
from fedliver.study.federated.learner import Learner
from fedliver.study.federated.networks import output_classes, untrained
from fedliver.study.federated.prepared import Prepared
from fedliver.study.federated.task import Arm, Task
from fedliver.teacher.device import PROCESSOR, Device, network_on

if TYPE_CHECKING:
    import torch

_NOISE, _BATCHES = 1, 2


@dataclass(frozen=True)
class Update:
    """What leaves a site: its weights as they arrive, and how many cases they were trained on."""

    site: int
    weights: Weights
    cases: int
    loss: float
    seconds: float
    """Of processor time, so that a busy machine does not count."""
    bytes_up: int
    taken: int
    """Gradient steps."""


@dataclass(frozen=True)
class SiteWork:
    """The sites of one arm and seed. It can be sent to another process: it holds paths and settings, no image and no network.

    ``scratch`` is a folder for what a site keeps from one round to the next (the codec's rounding errors). ``device`` is where networks run.
    """

    task: Task
    arm: Arm
    seed: int
    prepared: Path
    scratch: Path
    device: Device = PROCESSOR

    @property
    def images(self) -> Prepared:
        """The prepared images."""
        return _opened(self.prepared)

    @property
    def test(self) -> Indexes:
        """The test cases: the same for every arm of this seed."""
        return hold_out(self.images.records, self.task.data, self.seed)[1]

    @property
    def curve(self) -> Indexes:
        """The test cases that a learning curve is scored on. Of images to classify every so many: they lie class by class."""
        test, most = self.test, self.task.training.curve_cases
        if self.task.kind == "segmentation" or len(test) <= most:
            return test[:most]
        return [test[place * len(test) // most] for place in range(most)]

    @property
    def sites(self) -> list[Indexes]:
        """The training images of every site."""
        records = self.images.records
        return divide(records, hold_out(records, self.task.data, self.seed)[0], self.arm, self.seed)

    @property
    def steps(self) -> int:
        """Gradient steps of a site in a round."""
        sharers = (self.arm.active or self.arm.clients) if self.arm.steps_shared else 1
        return max(1, self.task.training.steps // self.task.training.rounds // sharers)

    def network(self) -> "torch.nn.Module":
        """The network that every arm of this seed starts from."""
        return network_on(untrained(self.task, output_classes(self.task, self.images.classes), self.seed), self.device.name)

    def learner(self, network: "torch.nn.Module", site: int, begun: int, proximal: float = 0.0) -> Learner:
        """One that trains ``network`` on the site's images; ``begun`` is the round it begins in."""
        seed = (_BATCHES, self.seed, self.arm.clients, site, begun)
        return Learner(self.task, network, batches_of(self.task, self.images, self.sites[site], seed), proximal)

    def __call__(self, site: int, number: int, received: Weights) -> Update:
        """Train from ``received`` on, in round ``number`` (1-based)."""
        started = time.process_time()
        network = self.network()
        load_weights(network, received)
        learner = self.learner(network, site, number, self.arm.strategy.proximal)
        loss = learner.learn((number - 1) * self.steps, self.steps, self.task.training.rounds * self.steps)
        weights, sent = self._leaving(site, number, weights_of(network), received)
        return Update(site, weights, len(self.sites[site]), loss, time.process_time() - started, sent, learner.taken)

    def _leaving(self, site: int, number: int, trained: Weights, received: Weights) -> tuple[Weights, int]:
        """The weights as the coordinator gets them, and the bytes that travel."""
        kinds = {name: TensorKind(array.shape, array.dtype) for name, array in received.items()}
        privacy = self.arm.privacy
        if privacy is not None:
            rules = EgressRules(minimum_cases=1, minimum_metric_cases=1, norm_bound=privacy.norm_bound, noise_multiplier=privacy.noise_multiplier)
            noise = np.random.default_rng([_NOISE, self.seed, self.arm.clients, site, number])
            trained = dict(filter_update(rules, trained, received, kinds, noise).weights)
        if not self.arm.compressed:
            return trained, bytes_of(trained)
        return self._compressed(site, trained, received, kinds)

    def _compressed(self, site: int, trained: Weights, received: Weights, kinds: Mapping[str, TensorKind]) -> tuple[Weights, int]:
        """As the codec packs a change; what rounding took away is added to the site's next one."""
        kept = self.scratch / f"site-{site:04d}" / "round-000.npz"
        owed = load_checkpoint(kept) if kept.is_file() else {}
        floating = [name for name, kind in kinds.items() if np.issubdtype(kind.dtype, np.floating)]
        wish = {name: trained[name] - received[name] + owed.get(name, np.float32(0)) for name in floating}
        data, change = encode(wish, kinds, self.arm.privacy.norm_bound if self.arm.privacy else None)
        save_checkpoint(kept.parent, 0, {name: wish[name] - change[name] for name in floating})
        return applied(change, received), len(data)


def digest_of(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of weights, to see whether two networks are the same."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()


def bytes_of(weights: Mapping[str, np.ndarray]) -> int:
    """What weights weigh uncompressed."""
    return sum(array.nbytes for array in weights.values())


@cache
def _opened(folder: Path) -> Prepared:
    return Prepared(folder)
