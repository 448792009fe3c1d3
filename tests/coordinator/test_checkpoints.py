"""Checkpoints are whole or passed over."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from fedliver.coordinator.checkpoints import load_checkpoint, newest_checkpoint, save_checkpoint

WEIGHTS = {"model.0.weight": np.arange(4, dtype=np.float32), "file": np.array(2, np.int64)}


def test_a_checkpoint_reads_back_as_it_was_written(tmp_path: Path) -> None:
    found = load_checkpoint(save_checkpoint(tmp_path, 3, WEIGHTS))
    assert found.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)


def test_the_newest_usable_one_is_found_by_number(tmp_path: Path) -> None:
    for number in (2, 9, 10, 1000):
        save_checkpoint(tmp_path, number, WEIGHTS)
    (tmp_path / "round-1001.npz").write_bytes((tmp_path / "round-1000.npz").read_bytes()[:-40])
    save_checkpoint(tmp_path, 1002, {"other": np.zeros(1)})
    (tmp_path / ".part-round-1003.npz").write_bytes(b"")
    damaged: list[int] = []
    found = newest_checkpoint(tmp_path, WEIGHTS, damaged.append)
    assert found is not None
    assert found.number == 1000
    assert damaged == [1002, 1001]


def test_what_the_strategy_remembers_comes_back_and_must_be_finite(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, WEIGHTS, {"fedadam/steps": np.array(3, np.int64), "fedadam.first/a": np.ones(2, np.float32)})
    found = newest_checkpoint(tmp_path, WEIGHTS)
    assert found is not None
    assert found.weights.keys() == WEIGHTS.keys()
    assert {name: array.tolist() for name, array in found.state.items()} == {"fedadam/steps": 3, "fedadam.first/a": [1.0, 1.0]}
    save_checkpoint(tmp_path, 2, WEIGHTS, {"fedadam.first/a": np.full(2, np.nan, np.float32)})
    found = newest_checkpoint(tmp_path, WEIGHTS)
    assert found is not None
    assert found.number == 1


def test_without_any_there_is_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "nothing", WEIGHTS) is None


def test_a_pickle_that_poses_as_a_checkpoint_is_not_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (marker,))

    (tmp_path / "round-001.npz").write_bytes(pickle.dumps(Bomb()))
    np.savez(tmp_path / "round-002.npz", allow_pickle=True, **{"weights/a": np.array([Bomb()], dtype=object)})
    for name in ("round-001.npz", "round-002.npz"):
        with pytest.raises(ValueError):  # noqa: PT011 numpy's or ours
            load_checkpoint(tmp_path / name)
    assert not marker.exists()
