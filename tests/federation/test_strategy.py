"""Federated averaging: what enters the mean, with which weight, and what does not."""

import numpy as np
import pytest

from fedliver.federation.strategy import UpdateRefusedError, WeightedMean
from fedliver.site.policy import Policy, contract_of
from fedliver.teacher.plan import TeacherPlan

POLICY = Policy(contract=contract_of(TeacherPlan.tiny()), weight_cap_cases=10, plausible_cases=1000)
REFERENCE = {"weight": np.zeros((2, 2), np.float32), "batches": np.array(7, np.int64)}


def update(value: float) -> dict[str, np.ndarray]:
    return {"weight": np.full((2, 2), value, np.float32), "batches": np.array(9, np.int64)}


def test_the_mean_is_weighted_by_cases() -> None:
    mean = WeightedMean(REFERENCE, POLICY)
    assert (mean.add(update(1.0), 1), mean.add(update(4.0), 2)) == (1, 2)
    np.testing.assert_allclose(mean.mean()["weight"], 3.0)


def test_no_site_weighs_more_than_the_cap() -> None:
    mean = WeightedMean(REFERENCE, POLICY)
    assert mean.add(update(1.0), 999) == 10
    mean.add(update(0.0), 10)
    np.testing.assert_allclose(mean.mean()["weight"], 0.5)


def test_a_scan_without_labels_counts_as_the_policys_part_of_a_case_and_under_the_same_cap() -> None:
    mean = WeightedMean(REFERENCE, POLICY)
    assert (mean.add(update(0.0), 1), mean.add(update(2.0), 0, 20)) == (1.0, pytest.approx(2.0))
    np.testing.assert_allclose(mean.mean()["weight"], 4 / 3, rtol=1e-6)
    assert WeightedMean(REFERENCE, POLICY).add(update(1.0), 9, 900) == POLICY.weight_cap_cases


def test_an_update_of_scans_that_count_for_nothing_is_refused() -> None:
    mean = WeightedMean(REFERENCE, POLICY.model_copy(update={"unlabelled_share": 0.0}))
    with pytest.raises(UpdateRefusedError, match="nothing that counts"):
        mean.add(update(1.0), 0, 5)
    assert not mean.weight


def test_counters_keep_the_value_they_had() -> None:
    mean = WeightedMean(REFERENCE, POLICY)
    mean.add(update(1.0), 1)
    assert mean.mean()["batches"] == 7
    assert mean.mean()["batches"].dtype == np.int64


def test_the_sum_is_kept_in_double_precision() -> None:
    """In half precision a thousand updates of 1 and one of 1 + 2**-10 would lose the difference; in single precision nearly."""
    mean = WeightedMean(REFERENCE, POLICY)
    for _ in range(1000):
        mean.add(update(1.0), 1)
    mean.add(update(1.0 + 2**-10), 1)
    exact = 1 + 2**-10 / 1001
    assert abs(float(mean._sum["weight"][0, 0]) / mean.weight - exact) < 1e-12


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_is_refused_and_the_mean_stays(bad: float) -> None:
    mean = WeightedMean(REFERENCE, POLICY)
    mean.add(update(1.0), 1)
    with pytest.raises(UpdateRefusedError, match="not finite"):
        mean.add({**update(5.0), "weight": np.array([[1, 2], [3, bad]], np.float32)}, 5)
    np.testing.assert_array_equal(mean.mean()["weight"], 1.0)


@pytest.mark.parametrize("cases", [0, -3, 1001, 1_000_000])
def test_an_impossible_number_of_cases_is_refused(cases: int) -> None:
    with pytest.raises(UpdateRefusedError, match="number of cases"):
        WeightedMean(REFERENCE, POLICY).add(update(1.0), cases)
    with pytest.raises(UpdateRefusedError, match="number of cases"):
        WeightedMean(REFERENCE, POLICY).add(update(1.0), 0, cases)


@pytest.mark.parametrize(
    "other",
    [
        {"weight": np.zeros((2, 3), np.float32), "batches": np.array(7, np.int64)},
        {"weight": np.zeros((2, 2), np.float64), "batches": np.array(7, np.int64)},
        {"weight": np.zeros((2, 2), np.float32)},
        {**REFERENCE, "extra": np.zeros(1, np.float32)},
    ],
)
def test_tensors_of_another_network_are_refused(other: dict[str, np.ndarray]) -> None:
    with pytest.raises(UpdateRefusedError, match="another network"):
        WeightedMean(REFERENCE, POLICY).add(other, 1)


def test_a_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no update"):
        WeightedMean(REFERENCE, POLICY).mean()
