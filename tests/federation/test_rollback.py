"""After a round that made the model worse the federation goes back, with the sites' real filters: nothing is deleted, and everybody holds the same model."""

from pathlib import Path

import numpy as np
import pytest
from test_compressed_rounds import World

from fedliver.coordinator.checkpoints import Weights
from fedliver.coordinator.rollback import roll_back
from fedliver.errors import FedLiverError
from fedliver.federation.networks import weights_of
from fedliver.site.strategy import FedAdam
from fedliver.teacher.bundle import load_bundle


def assert_same(one: Weights, other: Weights) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array)


@pytest.mark.parametrize("compression", ["none", "int8"])
def test_after_going_back_the_sites_train_the_old_model_under_a_new_number(tmp_path: Path, compression: str) -> None:
    world = World(tmp_path)
    world.run(3, compression, strategy=FedAdam(learning_rate=0.01))
    old, bad = world.weights(1), world.weights(3)
    record = roll_back(world.home, 1)
    assert (record.kind, record.round, record.back_to, record.teacher) == ("rollback", 4, 1, "round-004")
    assert_same(old, world.weights(4))
    received: list[Weights] = []
    world.sites[1]._train = lambda number, weights: received.append(weights) or weights  # type: ignore[func-returns-value]
    world.run(1, compression, strategy=FedAdam(learning_rate=0.01))
    assert_same(old, received[0])
    assert_same(world.weights(5), world.sites[2].model(5))
    assert world.records[-1].round == 5
    assert all(not update.refused for record in world.records for update in record.updates)
    assert_same(bad, weights_of(load_bundle(world.home.teacher_of(3)).network))


def test_going_back_to_the_beginning_forgets_what_the_strategy_remembered(tmp_path: Path) -> None:
    again, fresh = World(tmp_path / "again"), World(tmp_path / "fresh")
    first = again.stage.like
    again.run(2, "none", strategy=FedAdam(learning_rate=0.01))
    assert roll_back(again.home, 0).round == 3
    assert_same(first, again.weights(3))
    for world in (again, fresh):
        for site in world.sites.values():
            site._train = lambda number, weights: {name: array + np.asarray(1, array.dtype) for name, array in weights.items()}
        world.run(1, "none", strategy=FedAdam(learning_rate=0.01))
    assert_same(fresh.weights(1), again.weights(4))


def test_no_number_is_used_twice_where_the_newest_checkpoint_is_gone(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(2)
    (world.home.checkpoints / "round-002.npz").unlink()
    assert roll_back(world.home, 1).round == 3
    assert roll_back(world.home, 1).round == 4


def test_a_round_that_never_was_or_whose_teacher_is_damaged_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(2)
    (world.home.teacher_of(1) / "models" / "model.pt").write_bytes(b"PK")
    for number, code in ((7, "no-such-round"), (1, "weights-unsafe")):
        with pytest.raises(FedLiverError) as caught:
            roll_back(world.home, number)
        assert caught.value.code == code
    assert not world.home.teacher_of(3).exists()
    assert world.records[-1].kind == "delivery"
