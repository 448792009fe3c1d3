"""A change of weights travels as few bytes, says the same on both sides to the last bit, and takes no more memory than the network that was agreed."""

import tracemalloc
import zlib

import numpy as np
import pytest

from fedliver.errors import FedLiverError
from fedliver.federation.codec import applied, decode, encode, largest
from fedliver.site.egress import TensorKind

FLOAT = np.dtype(np.float32)
KINDS = {
    "kernel": TensorKind((32, 16, 3, 3, 3), FLOAT),
    "bias": TensorKind((32,), FLOAT),
    "counter": TensorKind((), np.dtype(np.int64)),
    "scale": TensorKind((), FLOAT),
}
RAW = 4 * (32 + 1 + 1) + 32 * 16 * 27 + 32 + 1


def change(seed: int = 0, spread: float = 1e-3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, spread, kind.shape).astype(np.float32) for name, kind in KINDS.items() if kind.dtype == FLOAT}


def norm(tensors: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(array, dtype=np.float64)) for array in tensors.values())))


def test_both_sides_see_the_same_change_to_the_last_bit() -> None:
    data, sent = encode(change(), KINDS)
    arrived = decode(data, KINDS)
    assert arrived.keys() == {"kernel", "bias", "scale"}
    for name, array in sent.items():
        np.testing.assert_array_equal(arrived[name], array)
        assert (arrived[name].shape, arrived[name].dtype) == (KINDS[name].shape, FLOAT)


def test_it_takes_a_seventh_of_the_bytes_even_where_there_are_few_and_is_nearly_right() -> None:
    data, sent = encode(change(), KINDS)
    whole = sum(array.nbytes for array in change().values())
    assert len(data) < whole / 7
    assert norm({name: array - sent[name] for name, array in change().items()}) < 0.08 * norm(change())


def test_a_channel_that_moves_little_is_as_exact_as_one_that_moves_much() -> None:
    moved = change()
    moved["kernel"][3] *= 1e-6
    sent = encode(moved, KINDS)[1]
    for channel in (3, 4):
        assert np.linalg.norm(sent["kernel"][channel] - moved["kernel"][channel]) < 0.1 * np.linalg.norm(moved["kernel"][channel])


def test_one_number_far_from_the_others_arrives() -> None:
    moved = change()
    moved["kernel"][5, 0, 0, 0, 0] = 9.0
    assert encode(moved, KINDS)[1]["kernel"][5, 0, 0, 0, 0] == pytest.approx(9.0, rel=0.01)


def test_no_change_is_no_change() -> None:
    data, sent = encode({name: np.zeros_like(array) for name, array in change().items()}, KINDS)
    assert norm(sent) == 0
    assert norm(decode(data, KINDS)) == 0


def test_with_error_feedback_what_rounding_took_away_arrives_later() -> None:
    """Ten times the same change: the sum of what arrived is off by one rounding, not by ten."""
    moved, kept = change(), {name: np.zeros_like(array) for name, array in change().items()}
    arrived = {name: np.zeros(array.shape) for name, array in moved.items()}
    for _ in range(10):
        wanted = {name: moved[name] + kept[name] for name in moved}
        sent = encode(wanted, KINDS)[1]
        kept = {name: wanted[name] - sent[name] for name in moved}
        arrived = {name: arrived[name] + sent[name] for name in moved}
    off = norm({name: arrived[name] - 10 * moved[name] for name in moved})
    assert off < 0.1 * norm(moved)
    assert off == pytest.approx(norm(kept), rel=1e-3)


def test_rounding_never_lengthens_a_change_beyond_its_bound() -> None:
    for seed in range(20):
        moved = change(seed)
        bound = norm(moved)
        assert norm(encode(moved, KINDS, shortened_to=bound)[1]) <= bound
        assert norm(encode(moved, KINDS, shortened_to=bound / 3)[1]) <= bound / 3


def test_applied_moves_the_floating_point_weights_and_nothing_else() -> None:
    weights = {name: np.ones(kind.shape, kind.dtype) for name, kind in KINDS.items()}
    moved = applied(change(), weights)
    np.testing.assert_array_equal(moved["kernel"], (weights["kernel"] + change()["kernel"]))
    assert (moved["counter"], moved["counter"].dtype) == (1, np.int64)
    assert moved["bias"].dtype == FLOAT


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_change_that_is_not_finite_is_not_encoded(value: float) -> None:
    moved = change()
    moved["bias"][0] = value
    with pytest.raises(FedLiverError) as caught:
        encode(moved, KINDS)
    assert caught.value.code == "training-diverged"


def packed(raw: bytes) -> bytes:
    return zlib.compress(raw)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        packed(b""),
        packed(bytes(RAW - 1)),
        packed(bytes(RAW + 1)),
        packed(bytes(RAW)) + b"more",
        packed(bytes(RAW))[:-3],
        packed(np.full(RAW // 4, np.nan, "<f4").tobytes() + bytes(RAW % 4)),
        packed(np.full(34, 3e38, "<f4").tobytes() + b"\x7f" * (RAW - 136)),
        packed(np.full(34, -1.0, "<f4").tobytes() + b"\x7f" * (RAW - 136)),
    ],
    ids=["empty", "garbage", "nothing inside", "too short", "too long", "more behind", "cut off", "NaN", "overflow", "a negative step"],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(FedLiverError) as caught:
        decode(data, KINDS)
    assert caught.value.code == "weights-do-not-fit"


def test_the_right_length_of_zeros_is_a_change() -> None:
    """So that the refusals above are for what they say."""
    assert norm(decode(packed(bytes(RAW)), KINDS)) == 0


def test_a_bomb_takes_no_memory() -> None:
    """A hundred megabytes of zeros in a hundred kilobytes: it is not unpacked beyond what the tensors need."""
    coder = zlib.compressobj(9)
    bomb = b"".join(coder.compress(bytes(1 << 20)) for _ in range(100)) + coder.flush()
    small = bomb[: largest(KINDS)]
    tracemalloc.start()
    for data in (bomb, small):
        with pytest.raises(FedLiverError):
            decode(data, KINDS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * RAW


def test_what_cannot_be_shortened_still_fits() -> None:
    assert len(zlib.compress(np.random.default_rng(0).bytes(RAW))) <= largest(KINDS)
