"""A masked sum with the real thing: one SuperLink, four SuperNodes, TLS and node keys; one site's machine is shut down when it is to send its masked update."""

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from federation_kit import TRAINING, approve_patients, processes_under, tiny_bundle

from fedliver.coordinator.checkpoints import load_checkpoint
from fedliver.coordinator.coordinator import Coordinator
from fedliver.federation.networks import weights_of
from fedliver.site.federation import SiteFederation
from fedliver.site.home import SiteHome
from fedliver.site.ledger import UpdateOut
from fedliver.site.policy import contract_of
from fedliver.site.rules import PrivacyMinimums
from fedliver.teacher.bundle import load_bundle
from fedliver.training.savepoint import Savepoint

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1200), pytest.mark.xdist_group("federation")]

PATIENTS = {"A": (1, 2, 8), "B": (3, 4, 5, 9), "C": (6, 7, 10), "D": (11, 12, 13)}


@pytest.fixture
def environment() -> Iterator[None]:
    before = {key: os.environ.get(key) for key in ("OMP_NUM_THREADS", "PYTHONPATH")}
    os.environ["OMP_NUM_THREADS"] = "1"  # four sites train at once
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), before["PYTHONPATH"]]))
    yield
    for key, value in before.items():
        if value is None:
            os.environ.pop(key)
        else:
            os.environ[key] = value


@pytest.mark.usefixtures("environment")
def test_the_sum_of_the_others_is_opened_when_a_site_dies_in_the_middle_and_the_next_round_goes_on(tmp_path: Path) -> None:
    privacy = PrivacyMinimums(require_secure_aggregation=True)
    coordinator = Coordinator.create(
        tmp_path / "coordinator",
        host="127.0.0.1",
        teacher=tiny_bundle(tmp_path / "tiny"),
        policy=lambda policy: policy.model_copy(
            update={
                "deadline_seconds": 300.0,
                "gather_seconds": 60.0,
                "sum_step_seconds": 300.0,
                "training": TRAINING,
                "quorum": 3,
                "privacy": privacy,
                "compression": "none",
            }
        ),
    )
    sites = {name: SiteFederation(tmp_path / name, **({"launcher": "secure_dying_site"} if name == "D" else {})) for name in PATIENTS}
    with contextlib.ExitStack() as at_the_end:
        at_the_end.callback(coordinator.stop)
        for name, site in sites.items():
            approve_patients(tmp_path / name, PATIENTS[name])
            coordinator.invite(f"Hospital {name}", tmp_path / f"{name}.json")
            coordinator.approve(site.enrol(tmp_path / f"{name}.json"))
            at_the_end.callback(site.leave)
        coordinator.start()
        with ThreadPoolExecutor(len(sites)) as pool:
            list(pool.map(SiteFederation.join, sites.values()))
        coordinator.run(2)
        first, second = (load_checkpoint(coordinator.home.checkpoints / f"round-{number:03d}.npz") for number in (1, 2))
    records = [record for record in coordinator.rounds() if record.kind == "round"]
    assert [record.aggregated for record in records] == [True, True]
    assert {update.site for update in records[0].updates if update.refused} == {"Hospital D"}
    assert {update.site for update in records[1].updates if not update.refused} >= {"Hospital A", "Hospital B", "Hospital C"}
    start = load_bundle(coordinator.home.teacher_of(0))
    trained = {}
    for name in "ABC":
        examples = SiteHome.open(tmp_path / name).store().training_examples()
        kept_weights = Savepoint(sites[name].files.student, contract_of(start.plan)).read()  # a site draws by a seed of its own, and keeps what it trained last
        assert kept_weights is not None
        trained[name] = (len(examples), {tensor: weights.numpy() for tensor, weights in kept_weights.network.items()})
    begun = weights_of(start.network)
    whole = sum(cases for cases, _ in trained.values())
    for name, array in second.items():
        if array.dtype == np.float32:
            mean = sum(cases * (weights[name].astype(np.float64) - first[name]) for cases, weights in trained.values()) / whole
            np.testing.assert_allclose(array - first[name], mean, rtol=1e-3, atol=2e-6)  # fixed point, and the last digits of single precision
    assert any(not np.array_equal(first[name], second[name]) for name in first)
    assert any(not np.array_equal(first[name], begun[name]) for name in first)
    for name in "ABC":
        left = [entry for entry in sites[name].ledger().entries() if isinstance(entry, UpdateOut)]
        assert [entry.masked_among for entry in left] == [4, 3]
        kept = sites[name].files.masked_round
        assert [path.name for path in kept.iterdir()] == ["state.json"]
        assert '"seed":""' in (kept / "state.json").read_text()
    assert [entry for entry in sites["D"].ledger().entries() if isinstance(entry, UpdateOut)] == []
    assert processes_under(tmp_path) == []
