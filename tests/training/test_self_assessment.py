"""Scans made worse on purpose, and what a teacher's own expectation of its answer is worth."""

import numpy as np
import pytest

from fedliver.image import Volume
from fedliver.phantom import PhantomSettings, generate
from fedliver.teacher.inference import LOW_CONFIDENCE, Segmentation
from fedliver.training.corruption import CORRUPTIONS
from fedliver.training.self_assessment import Assessed, calibrated_by_others, fitted_calibration, self_knowledge


@pytest.fixture(scope="module")
def ct() -> Volume:
    return generate(PhantomSettings(seed=1, spacing_mm=(5.0, 5.0, 5.0)))[0]


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "as it is"])
def test_every_corruption_changes_the_scan_and_keeps_its_grid(ct: Volume, name: str) -> None:
    before = ct.array.copy()
    worse = CORRUPTIONS[name](ct)
    assert worse.geometry.same_grid(ct.geometry)
    assert np.abs(worse.array.astype(float) - before).mean() > 1
    assert np.array_equal(ct.array, before)


def test_the_correlation_and_the_worth_of_the_warning_are_counted() -> None:
    low, high = LOW_CONFIDENCE - 0.05, LOW_CONFIDENCE + 0.05
    pairs = [(high, 0.97), (high, 0.96), (low, 0.80), (low, 0.95), (high, 0.85)]
    known = self_knowledge([Assessed("x", "y", expected, true) for expected, true in pairs])
    assert (known.answers, known.poor, known.poor_warned, known.good_warned) == (5, 2, 1, 1)
    assert known.correlation == pytest.approx(np.corrcoef(np.array(pairs).T)[0, 1])


def test_low_confidence_is_said_in_words(ct: Volume) -> None:
    from fedliver.teacher.doubt import Doubt

    labels = ct.with_array(np.zeros(ct.array.shape, np.uint8))
    unsure, sure = (Segmentation(labels, 1400.0, 0.0, 1.0, Doubt(ct, (), expected)) for expected in (LOW_CONFIDENCE - 0.01, LOW_CONFIDENCE + 0.01))
    assert "unsure" in unsure.sentence
    assert "unsure" not in sure.sentence


def test_the_calibration_is_the_line_through_promise_and_truth_and_an_answer_without_a_liver_has_no_say() -> None:
    answers = [Assessed(f"patient {n}", "as it is", 0.9 + 0.01 * n, 0.1 + 0.8 * (0.9 + 0.01 * n)) for n in range(10)]
    assert fitted_calibration([*answers, Assessed("none", "as it is", 0.0, 0.0)]) == pytest.approx((0.1, 0.8))
    assert fitted_calibration(answers[:3]) == (0.0, 1.0), "too few to tell"
    assert fitted_calibration([Assessed("x", "y", 0.9 + 0.01 * n, 0.9 - 0.01 * n) for n in range(12)]) == (0.0, 1.0), "surer where it is worse: no line helps"


def test_an_image_is_judged_by_a_calibration_that_has_not_seen_it() -> None:
    honest = [Assessed(f"patient {n}", "as it is", 0.80 + 0.01 * n, 0.80 + 0.01 * n) for n in range(12)]
    strange = Assessed("strange", "as it is", 0.95, 0.85)
    judged = calibrated_by_others([*honest, strange])
    assert judged[-1].expected == pytest.approx(0.95)
    assert judged[-1].true == 0.85
    assert judged[0].expected != pytest.approx(0.80, abs=0.005), "the strange one bends everybody else's line"
