"""What of a round's updates is taken, with which weight, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from fedliver.federation.strategies import Intake, UpdateRefusedError
from fedliver.federation.strategies.intake import longest_norm
from fedliver.site.egress import TensorKind
from fedliver.site.policy import Policy, contract_of
from fedliver.site.rules import PrivacyMinimums
from fedliver.site.strategy import MultiKrum, TrimmedMean
from fedliver.teacher.plan import TeacherPlan

POLICY = Policy(contract=contract_of(TeacherPlan.tiny()), weight_cap_cases=10, plausible_cases=1000, quorum=1)
KINDS = {"weight": TensorKind((2, 2), np.dtype(np.float32)), "batches": TensorKind((), np.dtype(np.int64))}


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    return Intake(POLICY, KINDS, tmp_path)


def change(value: float) -> dict[str, np.ndarray]:
    return {"weight": np.full((2, 2), value, np.float32)}


def test_the_mean_is_weighted_by_cases(intake: Intake) -> None:
    intake.add("A", change(1.0), 1)
    intake.add("B", change(4.0), 2)
    result = intake.result()
    np.testing.assert_allclose(result.change["weight"], 3.0)
    assert result.shares == {"A": 1 / 3, "B": 2 / 3}
    assert intake.norms == {"A": 2.0, "B": 8.0}


def test_no_site_weighs_more_than_the_cap(intake: Intake) -> None:
    intake.add("A", change(1.0), 999)
    intake.add("B", change(0.0), 10)
    np.testing.assert_allclose(intake.result().change["weight"], 0.5)


def test_a_scan_without_labels_counts_as_the_policys_part_of_a_case_and_under_the_same_cap(intake: Intake, tmp_path: Path) -> None:
    intake.add("A", change(0.0), 1)
    intake.add("B", change(2.0), 0, 20)
    np.testing.assert_allclose(intake.result().change["weight"], 4 / 3, rtol=1e-6)
    capped = Intake(POLICY, KINDS, tmp_path)
    capped.add("A", change(0.0), 9, 900)
    capped.add("B", change(1.0), 10)
    assert capped.result().shares == {"A": 0.5, "B": 0.5}


def test_an_update_of_scans_that_count_for_nothing_is_refused(tmp_path: Path) -> None:
    intake = Intake(POLICY.model_copy(update={"unlabelled_share": 0.0}), KINDS, tmp_path)
    with pytest.raises(UpdateRefusedError, match="nothing that counts"):
        intake.add("A", change(1.0), 0, 5)
    assert not intake.norms


def test_an_update_longer_than_the_policys_norm_bound_is_refused_and_rounding_is_forgiven(tmp_path: Path) -> None:
    intake = Intake(POLICY.model_copy(update={"privacy": PrivacyMinimums(norm_bound=2.0)}), KINDS, tmp_path)
    intake.add("A", change(1.0005), 1)
    with pytest.raises(UpdateRefusedError, match=r"1\.1 times as long as the policy's norm bound allows"):
        intake.add("B", change(1.1), 1)
    assert list(intake.norms) == ["A"]


def test_where_the_policy_asks_for_noise_an_update_may_be_as_long_as_noise_makes_it_and_no_longer(tmp_path: Path) -> None:
    numbers, rng = 10_000, np.random.default_rng(1)
    kinds = {"weight": TensorKind((numbers,), np.dtype(np.float32))}
    intake = Intake(POLICY.model_copy(update={"privacy": PrivacyMinimums(norm_bound=2.0, noise_multiplier=0.5)}), kinds, tmp_path)
    honest = rng.normal(0, 0.5 * 2.0, numbers)
    honest[0] += 2.0
    intake.add("A", {"weight": honest.astype(np.float32)}, 1)
    with pytest.raises(UpdateRefusedError, match="norm bound"):
        intake.add("B", {"weight": (1.2 * honest).astype(np.float32)}, 1)


def test_the_longest_update_has_room_for_the_noise_on_few_numbers_too() -> None:
    rng = np.random.default_rng(2)
    for numbers in (1, 4, 50, 1000):
        longest = longest_norm(PrivacyMinimums(norm_bound=1.0, noise_multiplier=3.0), numbers)
        assert longest is not None
        noised = np.eye(1, numbers) + rng.normal(0, 3.0, (2000, numbers))
        assert np.linalg.norm(noised, axis=1).max() < longest
    assert longest_norm(PrivacyMinimums(noise_multiplier=3.0), 5) is None


def test_counters_take_no_part(intake: Intake) -> None:
    intake.add("A", change(1.0), 1)
    assert intake.result().change.keys() == {"weight"}
    with pytest.raises(UpdateRefusedError, match="another network"):
        intake.add("B", {**change(1.0), "batches": np.array(1)}, 1)


def test_the_sum_is_kept_in_double_precision(intake: Intake) -> None:
    """In half precision a thousand updates of 1 and one of 1 + 2**-10 would lose the difference; in single precision nearly."""
    for number in range(1000):
        intake.add(f"site {number}", change(1.0), 1)
    intake.add("last", change(1.0 + 2**-10), 1)
    assert abs(float(intake.result().change["weight"][0, 0]) - (1 + 2**-10 / 1001)) < 1e-12


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_is_refused_and_the_rest_stays(intake: Intake, bad: float) -> None:
    intake.add("A", change(1.0), 1)
    with pytest.raises(UpdateRefusedError, match="not finite"):
        intake.add("B", {"weight": np.array([[1, 2], [3, bad]], np.float32)}, 5)
    np.testing.assert_array_equal(intake.result().change["weight"], 1.0)


@pytest.mark.parametrize("cases", [0, -3, 1001, 1_000_000])
def test_an_impossible_number_of_cases_is_refused(intake: Intake, cases: int) -> None:
    with pytest.raises(UpdateRefusedError, match="number of cases"):
        intake.add("A", change(1.0), cases)
    with pytest.raises(UpdateRefusedError, match="number of cases"):
        intake.add("A", change(1.0), 0, cases)


@pytest.mark.parametrize("other", [{"weight": np.zeros((2, 3), np.float32)}, {}, {**change(0.0), "extra": np.zeros(1, np.float32)}])
def test_tensors_of_another_network_are_refused(intake: Intake, other: dict[str, np.ndarray]) -> None:
    with pytest.raises(UpdateRefusedError, match="another network"):
        intake.add("A", other, 1)


def test_an_update_much_longer_than_was_usual_is_refused_if_the_policy_says_so(tmp_path: Path) -> None:
    strict = POLICY.model_copy(update={"outlier_norm": 5.0})
    intake = Intake(strict, KINDS, tmp_path, usual_norm=2.0)
    intake.add("A", change(4.9), 1)
    with pytest.raises(UpdateRefusedError, match="8 times as long as was usual"):
        intake.add("B", change(8.0), 1)
    assert list(intake.norms) == ["A"]
    Intake(strict, KINDS, tmp_path, usual_norm=None).add("B", change(8.0), 1)
    Intake(POLICY, KINDS, tmp_path, usual_norm=2.0).add("B", change(8.0), 1)


def test_a_round_needs_the_quorum_and_what_the_strategy_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too few"):
        Intake(POLICY, KINDS, tmp_path).result()
    assert Intake(POLICY.model_copy(update={"quorum": 4}), KINDS, tmp_path).enough == 4
    assert Intake(POLICY.model_copy(update={"strategy": TrimmedMean()}), KINDS, tmp_path).enough == 3


def test_a_policy_whose_quorum_is_too_small_for_its_strategy_is_refused_in_words() -> None:
    for strategy, quorum in ((TrimmedMean(hostile_sites=2), 5), (MultiKrum(), 5)):
        assert Policy(contract=POLICY.contract, quorum=quorum, strategy=strategy).strategy == strategy
        with pytest.raises(ValueError, match=f"{strategy.name} needs a quorum of {quorum} or more"):
            Policy(contract=POLICY.contract, quorum=quorum - 1, strategy=strategy)


def test_a_strategy_is_read_by_its_name_and_an_unknown_one_or_parameter_is_refused() -> None:
    text = POLICY.model_dump_json()
    assert '"strategy":{"name":"fedavg"}' in text
    read = Policy.model_validate_json(text.replace('{"name":"fedavg"}', '{"name":"fedprox","mu":0.1}'))
    assert read.strategy.proximal == 0.1
    for wrong in ('{"name":"best"}', '{"name":"fedprox","mu":-1}', '{"name":"fedavg","mu":0.1}', '{"name":"trimmed-mean","hostile_sites":0}'):
        with pytest.raises(ValueError, match="strategy"):
            Policy.model_validate_json(text.replace('{"name":"fedavg"}', wrong))


def test_a_mean_of_nothing_is_an_error(intake: Intake) -> None:
    with pytest.raises(ValueError, match="too few"):
        intake.result()
