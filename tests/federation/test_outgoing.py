"""What leaves a site in one packet: clipped and noised before it is rounded, never above the bound, and what rounding takes away comes later."""

from pathlib import Path

import numpy as np
import pytest

from fedliver.federation.codec import decode
from fedliver.federation.outgoing import Leaving, Rounding, as_packet, as_weights
from fedliver.site.egress import TensorKind, filter_update
from fedliver.site.ledger import content_hash
from fedliver.site.rules import EgressRules

KINDS = {"kernel": TensorKind((8, 40), np.dtype(np.float32)), "counter": TensorKind((), np.dtype(np.int64))}
RECEIVED = {"kernel": np.ones((8, 40), np.float32), "counter": np.array(3)}
MOVED = np.random.default_rng(0).normal(size=(8, 40)).astype(np.float32)
NORM = float(np.linalg.norm(MOVED))


@pytest.fixture
def rounding(tmp_path: Path) -> Rounding:
    return Rounding(tmp_path / "rounding.npz", "this federation")


def leave(rounding: Rounding, rules: EgressRules, keep: bool = True) -> Leaving:
    trained = {"kernel": RECEIVED["kernel"] + MOVED, "counter": np.array(4)}
    update = filter_update(rules, trained, RECEIVED, KINDS, np.random.default_rng(5))
    leaving = as_packet(update, RECEIVED, KINDS, rules, rounding)
    if keep:
        rounding.write(leaving.kept)
    return leaving


def arrived(leaving: Leaving) -> np.ndarray:
    assert isinstance(leaving.payload, bytes)
    return decode(leaving.payload, KINDS)["kernel"]


def test_what_rounding_takes_away_leaves_later(rounding: Rounding) -> None:
    rules = EgressRules(norm_bound=100.0)
    total = np.sum([arrived(leave(rounding, rules)) for _ in range(10)], axis=0, dtype=np.float64)
    off = np.linalg.norm(total - 10 * MOVED)
    alone = np.linalg.norm(arrived(leave(Rounding(Path("/nonexistent/file"), ""), rules, keep=False)) - MOVED)
    assert 0 < off < 2 * alone


@pytest.mark.parametrize("bound", [0.1 * NORM, 0.999 * NORM, NORM, 1.001 * NORM])
def test_what_leaves_is_never_longer_than_the_bound_whatever_was_kept(rounding: Rounding, bound: float) -> None:
    for _ in range(5):
        leaving = leave(rounding, EgressRules(norm_bound=bound))
        length = np.linalg.norm(arrived(leaving).astype(np.float64))
        assert length <= bound
        assert leaving.norm == pytest.approx(length, rel=1e-6)


def test_the_hash_is_of_the_bytes_that_leave(rounding: Rounding) -> None:
    leaving = leave(rounding, EgressRules(norm_bound=100.0))
    assert isinstance(leaving.payload, bytes)
    assert leaving.content == content_hash({"packet": np.frombuffer(leaving.payload, np.uint8)})
    update = filter_update(EgressRules(), {**RECEIVED}, RECEIVED, KINDS, np.random.default_rng(5))
    assert as_weights(update).content == content_hash(update.weights)


def test_noise_is_in_what_leaves_and_its_rounding_is_no_more_than_any_other(rounding: Rounding) -> None:
    noisy = leave(rounding, EgressRules(norm_bound=1.0, noise_multiplier=3.0))
    assert np.std(arrived(noisy)) == pytest.approx(3.0, rel=0.15)
    assert noisy.norm == pytest.approx(1.0)


def test_what_was_kept_in_another_federation_is_not_sent_in_this_one(rounding: Rounding, tmp_path: Path) -> None:
    rules = EgressRules(norm_bound=100.0)
    first = arrived(leave(rounding, rules))
    second = arrived(leave(rounding, rules, keep=False))
    elsewhere = arrived(leave(Rounding(tmp_path / "rounding.npz", "another"), rules, keep=False))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, elsewhere)


@pytest.mark.parametrize("damage", [b"", b"garbage", b"PK\x03\x04"])
def test_a_damaged_file_is_as_none(rounding: Rounding, tmp_path: Path, damage: bytes) -> None:
    rules = EgressRules(norm_bound=100.0)
    first = arrived(leave(rounding, rules))
    (tmp_path / "rounding.npz").write_bytes(damage)
    np.testing.assert_array_equal(arrived(leave(rounding, rules)), first)
