"""The coordinator's memory in a round does not grow with the number of sites: updates are taken, added and let go one by one."""

import gc
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from federation_kit import TRAINING
from flwr.app import RecordDict

from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import Job, Site, Sites, read_rounds
from fedliver.federation.codec import encode
from fedliver.federation.links import Reply
from fedliver.federation.messages import TRAIN, Numbers, pack_reply
from fedliver.federation.networks import trained_tensors
from fedliver.federation.rounds import Rounds
from fedliver.site.policy import Compression, Policy, contract_of
from fedliver.site.strategy import FedAdam, FedAvg, MultiKrum, Strategy
from fedliver.teacher.bundle import save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import NetworkPlan, TeacherPlan

PLAN = TeacherPlan.tiny().model_copy(update={"network": NetworkPlan(channels=(64, 128), strides=(2,), residual_units=0)})
KINDS = trained_tensors(PLAN)


class Links:
    """Sites that answer at once; their answers come into being when they are taken."""

    def __init__(self, sites: int, compression: Compression) -> None:
        self._sites = sites
        self._compression = compression

    def online(self) -> set[int]:
        return set(range(self._sites))

    def send(self, nodes: Sequence[int], content: RecordDict, kind: str, round_number: int, seconds_to_live: float) -> dict[str, int]:
        return {f"{kind} {node}": node for node in nodes}

    def receive(self, messages: Iterable[str]) -> Iterator[Reply]:
        for message in list(messages):
            kind, node = message.split()
            yield Reply(message, self._update(int(node)) if kind == TRAIN else pack_reply(Numbers()))

    def _update(self, node: int) -> RecordDict:
        rng = np.random.default_rng(node)
        change = {name: rng.normal(0, 1e-3, kind.shape).astype(np.float32) for name, kind in KINDS.items()}
        return pack_reply(Numbers(cases=1), encode(change, KINDS)[0] if self._compression == "int8" else change)


def peak(root: Path, sites: int, compression: Compression, strategy: Strategy) -> int:
    home = CoordinatorHome(root)
    torch.manual_seed(0)
    save_bundle(build_network(PLAN), PLAN, home.teacher_of(0), name="m", version="0")
    home.save_sites(Sites(sites=tuple(Site(name=f"Site {number}", public_key=str(number), node_id=number) for number in range(sites))))
    policy = Policy(contract=contract_of(PLAN), training=TRAINING, compression=compression, strategy=strategy, quorum=8)
    rounds = Rounds(home, Job(job="job", rounds=1, policy=policy, plan=PLAN), Links(sites, compression), sleep=lambda _: None)
    gc.collect()
    gc.disable()  # nothing may wait for the garbage collector: beside torch's million objects it comes seldom
    tracemalloc.start()
    try:
        rounds.run()
        found = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert len([update for update in read_rounds(home.rounds_file)[0].updates if update.norm is not None]) == sites
    return found


@pytest.mark.parametrize(
    ("compression", "strategy"), [("int8", FedAvg()), ("none", FedAdam()), ("int8", MultiKrum())], ids=lambda value: getattr(value, "name", value)
)
def test_a_round_of_64_sites_takes_no_more_memory_than_one_of_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: Compression, strategy: Strategy
) -> None:
    monkeypatch.setattr("fedliver.federation.strategies.robust._PIECE_NUMBERS", 100_000)  # as few beside this network as the default beside the shipped one
    monkeypatch.setattr("fedliver.federation.rounds.is_shipped_teacher", lambda model: False)  # it reads the shipped teacher, which is larger than this one
    peak(tmp_path / "warm-up", 8, compression, strategy)
    few, many = peak(tmp_path / "8", 8, compression, strategy), peak(tmp_path / "64", 64, compression, strategy)
    assert few > 4 * sum(kind.nbytes for kind in KINDS.values()), "it was the round that was measured"
    assert many < 1.1 * few, f"{few / 1e6:.1f} MB at 8 sites, {many / 1e6:.1f} MB at 64"
