"""Whole rounds with the sites' real filters: models and updates travel as rounded changes, and both ends hold the same model to the last bit."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from federation_kit import tiny_bundle
from stage import Hospital, Stage, events, run

from fedliver.coordinator.checkpoints import Weights, load_checkpoint
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import RoundRecord, Site, Sites, read_rounds
from fedliver.federation.networks import agreed_tensors, trained_tensors, weights_of
from fedliver.site.ledger import Ledger, UpdateOut
from fedliver.site.rules import changed_rules
from fedliver.site.strategy import FedAdam, FedAvgM, FedProx
from fedliver.teacher.bundle import load_bundle, save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import StagePlan, TeacherPlan

TINY = TeacherPlan.tiny()
WITH_FINDER = TINY.model_copy(update={"finder": StagePlan(network=TINY.network, spacing_mm=(16.0, 16.0, 16.0), patch_size=(32, 32, 32))})


def towards(seed: int, plan: TeacherPlan = TINY, part: float = 0.2) -> Callable[[int, Weights], Weights]:
    """Training that goes a part of the way to weights of the site's own, a little differently every round."""
    rng = np.random.default_rng(seed)
    goal = {name: rng.normal(0, 0.1, kind.shape) for name, kind in trained_tensors(plan).items()}

    def train(number: int, weights: Weights) -> Weights:
        rng = np.random.default_rng([seed, number])
        return {
            name: (array + part * (goal[name] - array) + rng.normal(0, 1e-3, array.shape)).astype(array.dtype) if name in goal else array
            for name, array in weights.items()
        }

    return train


class World:
    def __init__(self, root: Path, plan: TeacherPlan = TINY) -> None:
        self.home = CoordinatorHome(root / "C")
        if plan is TINY:
            tiny_bundle(self.home.teacher_of(0))
        else:
            torch.manual_seed(0)
            save_bundle(build_network(plan), plan, self.home.teacher_of(0), name="tiny", version="0")
        self.home.save_sites(Sites(sites=(Site(name="A", public_key="a", node_id=1), Site(name="B", public_key="b", node_id=2))))
        self.plan = plan
        self.sites = {1: Hospital(root / "A", towards(1, plan), plan), 2: Hospital(root / "B", towards(2, plan), plan)}
        self.stage = Stage(dict(self.sites), weights_of(load_bundle(self.home.teacher_of(0)).network))

    def run(self, rounds: int = 1, compression: str = "int8", **policy: object) -> None:
        run(self.home, self.stage, rounds, plan=self.plan, compression=compression, **policy)

    def weights(self, number: int) -> Weights:
        return load_checkpoint(self.home.checkpoints / f"round-{number:03d}.npz")

    @property
    def records(self) -> list[RoundRecord]:
        return read_rounds(self.home.rounds_file)


def distance(one: Weights, other: Weights) -> float:
    return math.sqrt(sum(float(np.sum((one[name].astype(float) - other[name]) ** 2)) for name in one))


def test_every_site_holds_the_coordinators_model_to_the_last_bit_after_every_round(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(1, 5):
        world.run()
        for site in world.sites.values():
            for name, array in world.weights(number).items():
                np.testing.assert_array_equal(site.model(number)[name], array)
        assert all(not update.refused for record in world.records for update in record.updates)


def test_a_model_comes_whole_once_then_as_changes_and_never_twice(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(3)
    world.run(1)
    forms = {(record.kind, record.round): record.updates[0].megabytes_down for record in world.records}
    whole = sum(array.nbytes for array in world.weights(1).values()) / 1e6
    assert forms["round", 1] == pytest.approx(whole, rel=0.1)
    assert forms["round", 4] == 0, "it came with the delivery of the run before"
    for arrived in (("round", 2), ("round", 3), ("delivery", 3), ("delivery", 4)):
        assert 0 < forms[arrived] < whole / 6
    assert all(0 < update.megabytes_up < whole / 6 for record in world.records if record.kind == "round" for update in record.updates)


def test_ten_rounds_of_rounded_changes_end_where_exact_ones_end(tmp_path: Path) -> None:
    exact, rounded = World(tmp_path / "exact"), World(tmp_path / "rounded")
    exact.run(10, "none")
    rounded.run(10)
    way = distance(exact.weights(10), exact.stage.like)
    assert distance(exact.weights(10), rounded.weights(10)) < 0.02 * way


@pytest.mark.parametrize("strategy", [FedAdam(learning_rate=0.01), FedAvgM(momentum=0.8)], ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("compression", ["none", "int8"])
def test_a_run_that_goes_on_ends_where_one_that_never_stopped_ends(tmp_path: Path, compression: str, strategy: object) -> None:
    """The optimiser's state and what rounding took away are in the checkpoint."""
    through, halved = World(tmp_path / "through"), World(tmp_path / "halved")
    through.run(4, compression, strategy=strategy)
    halved.run(2, compression, strategy=strategy)
    halved.run(2, compression, strategy=strategy)
    for name, array in through.weights(4).items():
        np.testing.assert_array_equal(halved.weights(4)[name], array)
    plain = World(tmp_path / "plain")
    plain.run(4, compression)
    assert distance(plain.weights(4), through.weights(4)) > 0.01


def test_a_site_that_has_lost_its_models_is_sent_the_whole_one_in_the_same_round_and_nobody_is_alarmed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(1)
    a = world.sites[1]
    shutil.rmtree(a.files.candidates)
    world.run(1)
    updates = {update.site: update for update in next(record for record in world.records if record.round == 2).updates}
    assert not updates["A"].refused
    assert updates["A"].megabytes_down > 0.9 * sum(array.nbytes for array in world.weights(1).values()) / 1e6
    assert updates["B"].megabytes_down == 0
    for name, array in world.weights(2).items():
        np.testing.assert_array_equal(a.model(2)[name], array)
    assert "failed" not in a.files.progress.read_text()


def test_a_site_whose_model_is_another_than_the_coordinator_believes_is_sent_the_whole_one(tmp_path: Path) -> None:
    """As when the coordinator's newest checkpoint was lost, and a round was done again with another outcome."""
    world = World(tmp_path)
    world.run(2)
    (world.home.checkpoints / "round-002.npz").unlink()
    world.sites[2]._train = towards(7)
    world.run(2)
    assert all(not update.refused for record in world.records for update in record.updates)
    for name, array in world.weights(3).items():
        np.testing.assert_array_equal(world.sites[1].model(3)[name], array)


def test_a_site_that_was_installed_with_the_first_teacher_is_not_sent_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    for module in ("fedliver.federation.incoming", "fedliver.teacher.bundle"):
        monkeypatch.setattr(f"{module}.STARTER", world.home.teacher_of(0))
    world.run(1)
    assert [update.megabytes_down for update in world.records[0].updates] == [0, 0]
    np.testing.assert_array_equal(world.sites[1].model(0)["model.0.conv.weight"], world.stage.like["model.0.conv.weight"])


def test_a_site_that_comes_in_the_third_round_or_missed_some_is_sent_no_whole_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    for module in ("fedliver.federation.incoming", "fedliver.teacher.bundle"):
        monkeypatch.setattr(f"{module}.STARTER", world.home.teacher_of(0))
    world.stage.present = {1}
    world.run(2, quorum=1)
    world.stage.present = {1, 2}
    world.run(1)
    world.stage.present = {1}
    world.run(1, quorum=1)
    world.stage.present = {1, 2}
    world.run(1)
    whole = sum(array.nbytes for array in world.weights(1).values()) / 1e6
    came = {record.round: update.megabytes_down for record in world.records for update in record.updates if record.kind == "round" and update.site == "B"}
    assert came.keys() == {3, 5}
    assert all(0 < megabytes < whole / 3 for megabytes in came.values())
    for number in (3, 5):
        for name, array in world.weights(number).items():
            np.testing.assert_array_equal(world.sites[2].model(number)[name], array)


def test_the_part_that_sites_never_train_never_travels_up_nor_changes(tmp_path: Path) -> None:
    for compression in ("none", "int8"):
        world = World(tmp_path / compression, WITH_FINDER)
        sizes = [sum(kind.nbytes for kind in kinds(WITH_FINDER).values()) / 1e6 for kinds in (agreed_tensors, trained_tensors)]
        assert sizes[1] == pytest.approx(sizes[0] / 2)
        world.run(2, compression)
        assert all(update.megabytes_up < 1.2 * sizes[1] for record in world.records for update in record.updates)
        first, last = world.stage.like, world.weights(2)
        assert all(np.array_equal(first[name], last[name]) == name.startswith("finder.") for name in first)


def test_what_a_site_kept_of_rounding_may_be_lost_or_damaged(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(1)
    a, b = world.sites.values()
    a.files.rounding.write_bytes(b"half a fi")
    b.files.rounding.unlink()
    world.run(1)
    assert all(not update.refused for record in world.records for update in record.updates)
    assert a.files.rounding.stat().st_size > 1000


def test_what_leaves_is_never_longer_than_the_bound_and_the_ledger_has_it_as_it_left(tmp_path: Path) -> None:
    world = World(tmp_path)
    changed_rules(tmp_path / "A", norm_bound=0.5)
    before = world.stage.like
    for number in range(1, 5):
        world.run(1, quorum=1, weight_cap_cases=1)
        world.stage.present = {1}
        entry = [entry for entry in Ledger(world.sites[1].files.ledger).entries() if isinstance(entry, UpdateOut)][-1]
        assert entry.norm > 0.5 >= entry.sent_norm > 0.49
        told = {update.site: update for update in world.records[-2].updates}["A"]
        assert told.norm == pytest.approx(entry.sent_norm, rel=1e-6)
        assert told.megabytes_up == entry.bytes / 1e6
        if number > 1:  # A was alone: the coordinator's own rounding is all that comes on top
            assert distance(world.weights(number), before) < 0.6
        before = world.weights(number)


def test_noise_is_added_before_rounding(tmp_path: Path) -> None:
    world = World(tmp_path)
    changed_rules(tmp_path / "A", norm_bound=0.5, noise_multiplier=2.0)
    world.run(1)
    entry = Ledger(world.sites[1].files.ledger).entries()[1]
    assert isinstance(entry, UpdateOut)
    assert entry.sent_norm == pytest.approx(0.5, rel=1e-4)
    count = sum(array.size for array in world.stage.like.values())
    assert world.records[0].updates[0].norm == pytest.approx(math.sqrt(count) * 1.0, rel=0.05), "2 bounds of 0.5 on every number"


def test_the_sites_are_told_how_strongly_to_stay_near_the_global_model(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(1, strategy=FedProx(mu=0.07))
    assert [site.seen[0].training.proximal for site in world.sites.values()] == [0.07, 0.07]
    world.run(1)
    assert [site.seen[-1].training.proximal for site in world.sites.values()] == [0.0, 0.0]


def test_an_update_far_longer_than_was_usual_is_refused_by_the_sites_name(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(1, outlier_norm=4.0)
    honest = world.sites[2]._train
    world.sites[2]._train = lambda number, weights: {name: array + 8 * (honest(number, weights)[name] - array) for name, array in weights.items()}
    changed_rules(tmp_path / "B", norm_bound=1e6)
    world.run(1, quorum=1, outlier_norm=4.0)
    assert any("Round 2 of 2: B: not used: sent an update" in sentence for sentence in events(world.home))
    told = {update.site: update for update in world.records[-2].updates}
    assert (told["A"].weight, told["B"].weight) == (1.0, 0.0)
