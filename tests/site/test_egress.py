"""The egress filter's arithmetic: only what was agreed, never longer than the bound, never a mean over too few."""

import math

import numpy as np
import pytest

from fedliver.errors import FedLiverError
from fedliver.site.accountant import epsilon
from fedliver.site.egress import AgreedNumbers, PatientCount, TensorKind, admit, filter_numbers, filter_update
from fedliver.site.rules import EgressRules

AGREED = {"a": TensorKind((40, 25), np.dtype(np.float32)), "b": TensorKind((), np.dtype(np.float32)), "steps": TensorKind((1,), np.dtype(np.int64))}
MANY = PatientCount(10, 10)
NUMBERS = AgreedNumbers(cases=12, loss=0.123456789, seconds=61.7, dice=0.987654321, dice_cases=4)


def received() -> dict[str, np.ndarray]:
    return {"a": np.ones((40, 25), np.float32), "b": np.array(2, np.float32), "steps": np.array([5])}


def trained(length: float) -> dict[str, np.ndarray]:
    """An update of that Euclidean norm."""
    step = np.random.default_rng(0).normal(size=(40, 25))
    return {"a": (1 + step * length / np.linalg.norm(step)).astype(np.float32), "b": np.array(2, np.float32), "steps": np.array([999])}


def filtered(weights: dict[str, np.ndarray], **rules: float):
    return filter_update(EgressRules(**rules), weights, received(), AGREED, np.random.default_rng(7))


def norm_of(weights: dict[str, np.ndarray]) -> float:
    return math.sqrt(sum(float(np.sum((weights[name].astype(np.float64) - received()[name]) ** 2)) for name in ("a", "b")))


def test_an_update_within_the_bound_leaves_as_it_is() -> None:
    update = filtered(trained(1.0), norm_bound=2.0)
    np.testing.assert_array_equal(update.weights["a"], trained(1.0)["a"])
    assert update.norm == pytest.approx(1.0, rel=1e-4)
    assert update.sent_norm == update.norm


def test_a_longer_update_is_shortened_to_the_bound_in_its_own_direction() -> None:
    update = filtered(trained(8.0), norm_bound=2.0)
    assert norm_of(update.weights) == pytest.approx(2.0, rel=1e-4)
    assert (update.norm, update.sent_norm) == (pytest.approx(8.0, rel=1e-4), pytest.approx(2.0, rel=1e-4))
    np.testing.assert_allclose(update.weights["a"] - 1, (trained(8.0)["a"] - 1) / 4, rtol=1e-3, atol=1e-6)


def test_counters_leave_as_they_came() -> None:
    assert filtered(trained(1.0)).weights["steps"] == 5


def test_noise_has_the_standard_deviation_that_the_rules_say() -> None:
    update = filtered(trained(8.0), norm_bound=2.0, noise_multiplier=3.0)
    quiet = filtered(trained(8.0), norm_bound=2.0)
    assert np.std(update.weights["a"] - quiet.weights["a"]) == pytest.approx(6.0, rel=0.1)
    assert update.weights["b"] != quiet.weights["b"], "every number is noised, those that did not move too"


def test_the_types_and_the_order_are_those_agreed() -> None:
    update = filtered(trained(8.0), norm_bound=2.0, noise_multiplier=0.1)
    assert list(update.weights) == list(AGREED)
    for name, kind in AGREED.items():
        assert (update.weights[name].shape, update.weights[name].dtype) == (kind.shape, kind.dtype)


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.zeros(3, np.float32)},
        {"a": np.zeros((25, 40), np.float32)},
        {"a": np.zeros((40, 25), np.float64)},
        {"steps": np.array([1.0])},
    ],
)
def test_any_other_tensor_is_stopped(change: dict[str, np.ndarray]) -> None:
    with pytest.raises(FedLiverError) as caught:
        filtered({**trained(1.0), **change})
    assert caught.value.code == "not-agreed"


def test_a_tensor_that_is_missing_is_stopped() -> None:
    with pytest.raises(FedLiverError):
        filtered({name: array for name, array in trained(1.0).items() if name != "b"})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_stopped(value: float) -> None:
    weights = trained(1.0)
    weights["a"][3, 3] = value
    with pytest.raises(FedLiverError) as caught:
        filtered(weights)
    assert caught.value.code == "training-diverged"


def test_a_single_patients_update_is_refused_in_words() -> None:
    with pytest.raises(FedLiverError, match=r"1 patient's cases .* ask for 2 patients") as caught:
        admit(EgressRules(), 1)
    assert caught.value.code == "too-few-cases"
    admit(EgressRules(), 2)


def test_numbers_leave_with_few_digits_only() -> None:
    assert filter_numbers(EgressRules(), NUMBERS, MANY) == AgreedNumbers(12, 0.1235, 62.0, 0.9877, 4)


def test_a_mean_over_too_few_patients_is_withheld() -> None:
    few_held_out = filter_numbers(EgressRules(minimum_metric_cases=5), NUMBERS, PatientCount(5, 4))
    assert (few_held_out.loss, few_held_out.dice, few_held_out.dice_cases) == (0.1235, 0.0, 0)
    few_trained = filter_numbers(EgressRules(minimum_metric_cases=5), NUMBERS, PatientCount(4, 5))
    assert math.isnan(few_trained.loss)
    assert few_trained.dice == 0.9877


def test_with_noise_on_neither_loss_nor_dice_leaves() -> None:
    told = filter_numbers(EgressRules(noise_multiplier=1.0), NUMBERS, MANY)
    assert math.isnan(told.loss)
    assert (told.dice, told.dice_cases) == (0.0, 0)


@pytest.mark.parametrize(
    "change", [{"cases": -1}, {"cases": 10**9}, {"dice": 1.5}, {"dice": math.nan}, {"seconds": -1.0}, {"seconds": 1e12}, {"loss": math.inf}]
)
def test_a_number_that_cannot_be_what_it_is_called_is_stopped(change: dict) -> None:
    with pytest.raises(FedLiverError) as caught:
        filter_numbers(EgressRules(), AgreedNumbers(**{**vars(NUMBERS), **change}), MANY)
    assert caught.value.code == "not-agreed"


def test_epsilon_is_that_of_the_gaussian_mechanism_at_a_sensitivity_of_two_bounds() -> None:
    """Between the exact value of the Gaussian mechanism (Balle and Wang 2018, theorem 8, solved here by bisection) and 15 % above it."""
    from statistics import NormalDist

    def delta_of(epsilon_: float, spread: float) -> float:
        half = 1 / (2 * spread)
        return NormalDist().cdf(half - epsilon_ * spread) - math.exp(epsilon_) * NormalDist().cdf(-half - epsilon_ * spread)

    for multiplier, rounds in ((4.0, 1), (20.0, 100)):
        spread = multiplier / 2 / math.sqrt(rounds)  # n releases of the Gaussian mechanism are one with the noise divided by the root of n
        low, high = 0.0, 100.0
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if delta_of(middle, spread) > 1e-5 else (low, middle)
        assert high <= epsilon([multiplier] * rounds, 1e-5) <= 1.15 * high


def test_epsilon_grows_with_every_update_and_is_infinite_without_noise() -> None:
    assert epsilon([], 1e-5) == 0
    one, two, mixed = epsilon([3.0], 1e-5), epsilon([3.0, 3.0], 1e-5), epsilon([3.0, 6.0], 1e-5)
    assert 0 < one < mixed < two
    assert epsilon([3.0, 0.0], 1e-5) == math.inf
