"""The traffic benchmark: its ratios are of what it measured, and its federation is a real one."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from records import Machine
from traffic_record import Arm, Experiment, SlowLink, Traffic
from traffic_sites import Federation, Patients

from fedliver.phantom import PhantomSettings
from fedliver.teacher.bundle import load_bundle, save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import TrainingSettings

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_ratios_are_of_the_bytes_that_were_measured() -> None:
    without = [Arm(compression="none", dice=dice, up=20, down=24, first_down=24, plain=24) for dice in (0.90, 0.92)]
    with_ = [Arm(compression="int8", dice=dice, up=2, down=3, first_down=18, plain=24) for dice in (0.89, 0.93)]
    machine = Machine(processor="P", cores=1, usable_cores=1, memory_gb=1, system="S", python="3", load_before=0.1)
    at = datetime(2026, 11, 22, tzinfo=UTC)
    one = Experiment(network="net", at=at, machine=machine, versions={}, rounds=10, steps=5, sites=2, without=tuple(without), with_=tuple(with_))
    assert (one.times_fewer_up, one.times_fewer_down) == (12, 10)
    assert one.dice_lost == pytest.approx(0)
    assert one.dice_spread == pytest.approx(0.01)
    newer = one.model_copy(update={"rounds": 11})
    assert Traffic(quick=False, experiments=(one,)).with_(newer).experiments == (newer,)
    page = Traffic(quick=True, experiments=(one,)).markdown()
    assert "12.0 times fewer bytes up and 10.0 times fewer down" in page
    assert "| Flower's own, fp32 | 24 | 48 | 48 | 64 s |  |" in page
    assert "| int8 | 2 | 18 | 3 | 5.3 s | 0.9100 |" in page
    assert "its numbers mean nothing" in page


def test_the_federation_trains_and_counts_what_travels(tmp_path: Path) -> None:
    plan = TeacherPlan.tiny()
    torch.manual_seed(0)
    save_bundle(build_network(plan), plan, tmp_path / "first", name="tiny", version="0")
    coarse = PhantomSettings(spacing_mm=(8.0, 8.0, 8.0))
    patients = Patients.of({"A": coarse, "B": replace(coarse, phase="plain")}, 2, tmp_path / "patients")
    federation = Federation(tmp_path / "federation", tmp_path / "first", patients, TrainingSettings(steps=2, threads=1))
    federation.run(2, "int8")
    (first_up, second_up), (first_down, second_down, delivery) = federation.megabytes()
    assert first_down == pytest.approx(federation.plain, rel=0.05)
    assert 0 < max(first_up, second_up, second_down, delivery) < federation.plain / 6
    before, after = (next(load_bundle(bundle).network.parameters()) for bundle in (tmp_path / "first", federation.teacher(2)))
    assert not torch.equal(before, after)
    assert len(patients.held_out) == 2


def test_the_page_in_the_documentation_is_made_of_the_records_beside_the_benchmark() -> None:
    results = REPOSITORY / "benchmarks" / "results"
    traffic = Traffic.model_validate_json((results / "traffic.json").read_bytes())
    slow = SlowLink.model_validate_json((results / "slow_link.json").read_bytes())
    assert not traffic.quick
    assert (REPOSITORY / "docs" / "traffic.md").read_text() == traffic.markdown(slow), "run: python benchmarks/traffic.py --page-only"
