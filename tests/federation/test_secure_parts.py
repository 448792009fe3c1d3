"""The parts of secure aggregation: sharing secrets, masks that look like chance, and fixed point that cannot run over."""

import secrets

import numpy as np
import pytest
from secure_kit import SMALL, numbers

from fedliver.federation.secure.keys import agreed_key, fresh_private_key, opened, public_key_of, sealed
from fedliver.federation.secure.masks import add_mask
from fedliver.federation.secure.ring import contribution, numbers_in, read_sum
from fedliver.federation.secure.shamir import WrongSharesError, recover, split
from fedliver.federation.secure.words import Masking, threshold_of
from fedliver.site.egress import AgreedNumbers, TensorKind

SESSION = "0" * 32


def masking(capacity: int = 3, largest: float = 30.0) -> Masking:
    return Masking(session=SESSION, capacity=capacity, largest=largest, weight_cap_cases=200, unlabelled_share=0.1)


def some(seed: int, scale: float = 1e-2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, scale, kind.shape).astype(np.float32) for name, kind in SMALL.items() if name != "counter"}


def test_any_threshold_of_shares_gives_the_secret_and_one_fewer_does_not() -> None:
    secret = secrets.token_bytes(32)
    shares = dict(enumerate(split(secret, 3, 5), start=1))
    for chosen in ((1, 2, 3), (5, 1, 4), (1, 2, 3, 4, 5)):
        assert recover({point: shares[point] for point in chosen}, 3, lambda found: found == secret).secret == secret
    for chosen in ((1, 2), (4, 5), ()):
        with pytest.raises(WrongSharesError):
            recover({point: shares[point] for point in chosen}, 3, lambda found: found == secret)


def test_fewer_shares_than_the_threshold_fit_every_secret() -> None:
    """Two shares of three and any secret whatever lie on one parabola: nobody who has two can rule a secret out."""
    from fedliver.federation.secure.shamir import PRIME, _interpolated

    shares = [int.from_bytes(share, "big") for share in split(secrets.token_bytes(32), 3, 3)]
    for guess in (0, 1, 2**255, secrets.randbelow(2**256)):
        parabola = {0: guess, 1: shares[0], 2: shares[1]}
        third = _interpolated(parabola, [0, 1, 2], 3)
        assert 0 <= third < PRIME
        assert recover({1: split_bytes(shares[0]), 2: split_bytes(shares[1]), 3: split_bytes(third)}, 3, lambda _: True).secret == guess.to_bytes(32, "big")


def split_bytes(number: int) -> bytes:
    return number.to_bytes(66, "big")


@pytest.mark.parametrize("wrong", [(1,), (6,), (2, 5)])
def test_wrong_shares_are_gone_without_and_named(wrong: tuple[int, ...]) -> None:
    secret = secrets.token_bytes(32)
    shares = dict(enumerate(split(secret, 4, 6), start=1))
    spoilt = {**shares, **{point: secrets.token_bytes(66) for point in wrong}}
    found = recover(spoilt, 4, lambda one: one == secret)
    assert (found.secret, found.wrong) == (secret, frozenset(wrong))


@pytest.mark.parametrize("share", [b"", b"short", bytes([255]) * 66, bytes(67)])
def test_what_is_no_share_at_all_is_a_wrong_one(share: bytes) -> None:
    secret = secrets.token_bytes(32)
    shares = dict(enumerate(split(secret, 2, 3), start=1))
    assert recover({**shares, 1: share}, 2, lambda one: one == secret).wrong == {1}


def test_a_letter_opens_with_its_key_at_its_place_only() -> None:
    one, other = fresh_private_key(), fresh_private_key()
    key = agreed_key(one, public_key_of(other), b"letter")
    assert key == agreed_key(other, public_key_of(one), b"letter")
    assert key != agreed_key(other, public_key_of(one), b"mask")
    envelope = sealed(key, b"share", b"1 to 2")
    assert opened(key, envelope, b"1 to 2") == b"share"
    for wrong_key, wrong_envelope, place in (
        (key, envelope, b"2 to 1"),
        (bytes(32), envelope, b"1 to 2"),
        (key, envelope[:-1], b"1 to 2"),
        (key, b"", b"1 to 2"),
    ):
        with pytest.raises(ValueError, match=r"not sealed|[Nn]once"):
            opened(wrong_key, wrong_envelope, place)


def chi_squared(vector: np.ndarray) -> float:
    """How far the bytes of the numbers are from equally frequent, in standard deviations of chi-squared with 255 degrees of freedom; the worst of the four."""
    byte = vector.view(np.uint8).reshape(-1, 4)
    counts = np.stack([np.bincount(byte[:, place], minlength=256) for place in range(4)])
    expected = len(vector) / 256
    return float((np.abs(((counts - expected) ** 2 / expected).sum(axis=1) - 255) / np.sqrt(2 * 255)).max())


def test_a_masked_vector_is_like_chance_whatever_is_under_the_mask_and_the_mask_comes_off() -> None:
    plain = np.arange(200_001, dtype=np.uint32) % 7
    assert chi_squared(plain) > 1000
    key = secrets.token_bytes(32)
    hidden = plain.copy()
    add_mask(hidden, key)
    assert chi_squared(hidden) < 8, "a chance of one in a million million"
    assert abs(float(np.corrcoef(plain.astype(float), hidden.astype(float))[0, 1])) < 8 / np.sqrt(len(plain))
    again = plain.copy()
    add_mask(again, secrets.token_bytes(32))
    assert np.mean(again == hidden) < 0.001
    add_mask(hidden, key, subtract=True)
    np.testing.assert_array_equal(hidden, plain)


def test_a_sum_of_the_largest_updates_does_not_run_over() -> None:
    how = masking(capacity=1000, largest=0.5)
    for sign in (1.0, -1.0):
        change = {name: np.full(kind.shape, sign * 0.5, np.float32) for name, kind in SMALL.items() if name != "counter"}
        total = np.zeros(numbers_in(SMALL), np.uint32)
        for _ in range(1000):
            total += contribution(change, numbers(1_000), how, SMALL, None)
        summed = read_sum(total, how, SMALL, 1000)
        np.testing.assert_allclose(summed.change["a"], sign * 0.5, rtol=1e-6)
        assert (summed.told.sites, summed.told.cases, summed.told.loss, summed.told.dice) == (1000, 1_000_000, 0.5, 0.25)


def test_what_is_larger_than_agreed_is_cut_off_and_spoils_no_other_number() -> None:
    how = masking(largest=0.5)
    change = {**some(1), "b": np.array([99, -99, 0.1, 0.2, 0.3], np.float32)}
    summed = read_sum(contribution(change, numbers(5), how, SMALL, None), how, SMALL, 1)
    np.testing.assert_allclose(summed.change["b"], [20, -20, 0.1, 0.2, 0.3], rtol=1e-3)
    np.testing.assert_allclose(summed.change["a"], change["a"], atol=1e-5)


def test_fixed_point_never_lengthens_an_update_beyond_the_bound() -> None:
    how = masking(capacity=1000, largest=1e4)  # steps so coarse that rounding shows
    kinds = {"a": TensorKind((4000,), np.dtype(np.float32))}
    change = {"a": np.full(4000, 0.9 * 1e4 / ((2**31 - 1) // 1000), np.float32)}  # rounds up everywhere
    bound = float(np.linalg.norm(change["a"]))
    full = AgreedNumbers(200, float("nan"), 1.0, 0.0, 0)
    free = read_sum(contribution(change, full, how, kinds, None), how, kinds, 1)
    held = read_sum(contribution(change, full, how, kinds, bound), how, kinds, 1)
    assert np.linalg.norm(free.change["a"]) > bound
    assert np.linalg.norm(held.change["a"]) <= bound


def test_a_site_counts_by_its_cases_up_to_the_cap_and_scans_without_approval_count_less() -> None:
    def weight(cases: int, unlabelled: int) -> float:
        told = AgreedNumbers(cases, float("nan"), 1.0, 0.0, 0, unlabelled)
        return float(contribution(some(1), told, masking(), SMALL, None)[-7]) / 2**20 * 200

    assert weight(10, 0) == pytest.approx(10, abs=1e-3)
    assert weight(10, 50) == pytest.approx(15, abs=1e-3)
    assert weight(100_000, 0) == 200
    with pytest.raises(ValueError, match="no weight"):
        weight(0, 0)


def test_numbers_at_random_are_not_taken_for_a_sum() -> None:
    for seed in range(50):
        noise = np.random.default_rng(seed).integers(0, 2**32, numbers_in(SMALL), dtype=np.uint32)
        with pytest.raises(ValueError, match="not a sum"):
            read_sum(noise, masking(), SMALL, 3)


@pytest.mark.parametrize(("sites", "minimum", "threshold"), [(2, 2, 2), (3, 3, 3), (3, 2, 2), (4, 3, 3), (5, 3, 3), (8, 3, 5), (64, 3, 33), (4, 5, 5)])
def test_more_than_half_and_never_fewer_than_the_minimum_open_a_sum(sites: int, minimum: int, threshold: int) -> None:
    assert threshold_of(sites, minimum) == threshold
