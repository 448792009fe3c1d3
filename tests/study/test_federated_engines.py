"""Flower's simulation engine and the one in this process are the same federation: the same weights, to the last bit, for the same seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_studies import hearts

from fedliver.federation.networks import weights_of
from fedliver.study.federated.engine import Engine, Exchange, InProcess
from fedliver.study.federated.prepared import prepare
from fedliver.study.federated.reading import reader_of
from fedliver.study.federated.site_work import SiteWork, Update
from fedliver.study.federated.task import Arm, Privacy
from fedliver.watch import Silent

pytest.importorskip("ray", reason="the extra 'study' is not installed")
NOISY = Arm(way="federated", clients=3, active=2, compressed=True, privacy=Privacy(norm_bound=1.0, noise_multiplier=0.01))


@pytest.fixture
def work(tmp_path: Path) -> SiteWork:
    task = hearts((Arm(way="centralised"), NOISY))
    prepare(task, lambda: reader_of(task), tmp_path / "prepared", Silent())
    return SiteWork(task, NOISY, 0, tmp_path / "prepared", tmp_path / "scratch")


@pytest.mark.processes
def test_both_engines_give_the_same_weights_in_the_order_asked_for(work: SiteWork, tmp_path: Path):
    from fedliver.study.federated.flower_engine import FlowerSimulation

    start = weights_of(work.network())

    def session(exchange: Exchange) -> list[Update]:
        first = list(exchange.updates(1, start, [2, 0, 1]))
        return [*first, *exchange.updates(2, first[0].weights, [2])]

    def run(engine: Engine) -> list[Update]:
        return engine.run(replace(work, scratch=tmp_path / f"scratch-{engine.name}"), session)

    here, there = run(InProcess()), run(FlowerSimulation())
    assert [update.site for update in there] == [2, 0, 1, 2]
    for one, other in zip(here, there, strict=True):
        assert (one.cases, one.loss, one.bytes_up) == (other.cases, other.loss, other.bytes_up)
        assert one.weights.keys() == other.weights.keys()
        assert all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)
