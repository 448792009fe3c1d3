"""What is said about arms follows from their numbers: checked on results made by hand."""

from pathlib import Path

import numpy as np
import pytest

from fedliver.study.federated.comparison import gains, summarise
from fedliver.study.federated.measures import measures
from fedliver.study.federated.results import ArmResult, Model, Point, ResultFolder, SiteFacts
from fedliver.study.federated.scores import CaseScore, StructureScore
from fedliver.study.federated.tables import arms_table, published_table
from fedliver.study.federated.task import Arm, DataSettings, Privacy, Published, PublishedNumber, ResNetSettings, Structure, Task, UNetSettings
from fedliver.study.federated.verdict import verdict

CENTRALISED, ALONE, FEDERATED = Arm(way="centralised"), Arm(way="alone", clients=2), Arm(way="federated", clients=2)
PROX = Arm.model_validate({"way": "federated", "clients": 2, "strategy": {"name": "fedprox"}})
CLIPPED = Arm(way="federated", clients=2, privacy=Privacy(norm_bound=1.0, noise_multiplier=0.1))
PAPER = Published(
    source="A paper",
    numbers=(
        PublishedNumber(arm="centralised", measure="Dice wall", value=0.9),
        PublishedNumber(arm=FEDERATED.name, measure="Dice wall", value=0.88),
        PublishedNumber(arm="federated-8-balanced", measure="Dice wall", value=0.87),
    ),
)


def _task(*arms: Arm) -> Task:
    return Task(
        name="made-up",
        title="Made up",
        kind="segmentation",
        real=False,
        about="",
        seeds=2,
        data=DataSettings(reader="heart-phantom", generated=9),
        network=UNetSettings(kind="unet"),
        structures=(Structure(name="wall", labels=(1,)),),
        arms=arms,
        published=(PAPER,),
    )


def _case(number: int, dice: float, patient: int | None = None, hd95: float | None = 3.0) -> CaseScore:
    return CaseScore(case=number, patient=patient, structures={"wall": StructureScore(dice=dice, hd95_mm=hd95, sensitivity=dice, specificity=1, f1=dice)})


def _result(arm: Arm, seed: int, *models: list[float], curve: tuple[float, ...] = (0.5, 0.9), epsilon: float | None = None) -> ArmResult:
    points = [Point(round=n, steps=n, score=value, megabytes=10.0 * n, seconds=n) for n, value in enumerate(curve, start=1)]
    scored = [
        Model(site=site if arm.way == "alone" else None, cases=tuple(_case(case, dice) for case, dice in enumerate(values)))
        for site, values in enumerate(models)
    ]
    return ArmResult(
        arm=arm.name,
        seed=seed,
        sites=tuple(SiteFacts(images=3 + site) for site in range(arm.clients)),
        curve=tuple(points),
        models=tuple(scored),
        loss=0.1,
        parameters=10,
        computed_seconds=5,
        wall_seconds=6,
        epsilon=epsilon,
        engine="in-process",
        machine="a machine",
    )


def _near(base: float, spread: float, patients: int = 12) -> list[float]:
    return [base + spread * np.sin(n) for n in range(patients)]


def test_a_difference_is_of_patients_paired_over_seeds():
    task = _task(CENTRALISED, FEDERATED)
    pooled = [_result(CENTRALISED, seed, _near(0.9, 0.05)) for seed in (0, 1)]
    ours = [_result(FEDERATED, 0, [value - 0.02 for value in _near(0.9, 0.05)]), _result(FEDERATED, 1, [value - 0.04 for value in _near(0.9, 0.05)])]
    found = summarise(task, [*pooled, *ours])[1]
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(-0.03)
    assert (found.difference.low, found.difference.high) == (pytest.approx(-0.03), pytest.approx(-0.03))
    assert found.difference.p is not None
    assert found.difference.p < 0.001
    assert found.within is False


def test_noise_alone_is_not_significant_and_the_same_is_exactly_the_same():
    task = _task(CENTRALISED, FEDERATED)
    values = _near(0.9, 0.05)
    swapped = [value + (0.01 if n % 2 else -0.01) for n, value in enumerate(values)]
    noisy = summarise(task, [_result(CENTRALISED, 0, values), _result(FEDERATED, 0, swapped)])[1].difference
    assert noisy is not None
    assert noisy.p is not None
    assert noisy.p > 0.5
    assert noisy.low is not None
    assert noisy.high is not None
    assert noisy.low < 0 < noisy.high
    same = summarise(task, [_result(CENTRALISED, 0, values), _result(FEDERATED, 0, values)])[1]
    assert same.difference is not None
    assert (same.difference.mean, same.difference.p, same.within) == (0.0, 1.0, True)


def test_seeds_without_a_centralised_partner_are_not_compared():
    task = _task(CENTRALISED, FEDERATED)
    results = [_result(CENTRALISED, 0, _near(0.9, 0.05)), _result(FEDERATED, 0, _near(0.9, 0.05)), _result(FEDERATED, 1, _near(0.2, 0.05))]
    found = summarise(task, results)[1].difference
    assert found is not None
    assert found.mean == 0


def test_a_patient_with_several_cases_counts_once():
    task = _task(CENTRALISED, FEDERATED)
    cases = [_case(0, 0.9, 0), _case(1, 0.9, 0), _case(2, 0.9, 0), _case(3, 0.9, 1)]
    worse = [_case(0, 0.9, 0), _case(1, 0.9, 0), _case(2, 0.9, 0), _case(3, 0.7, 1)]
    results = [
        _result(arm, 0, [0.0]).model_copy(update={"models": (Model(cases=tuple(scored)),)}) for arm, scored in ((CENTRALISED, cases), (FEDERATED, worse))
    ]
    found = summarise(task, results)[1].difference
    assert found is not None
    assert found.mean == pytest.approx(-0.1)


def test_rounds_and_bytes_to_reach_centralised_are_of_the_first_round_that_does_in_every_seed():
    task = _task(CENTRALISED, FEDERATED)
    pooled = [_result(CENTRALISED, seed, _near(0.9, 0.05), curve=(0.6, 0.8, 0.9, 0.9)) for seed in (0, 1)]
    reach = [_result(FEDERATED, seed, _near(0.9, 0.05), curve=curve) for seed, curve in ((0, (0.5, 0.86, 0.9, 0.9)), (1, (0.5, 0.6, 0.7, 0.88)))]
    cost = summarise(task, [*pooled, *reach])[1].cost
    assert (cost.rounds_to_part, cost.megabytes_to_part) == (3.0, 30.0)
    never = [reach[0], _result(FEDERATED, 1, _near(0.9, 0.05), curve=(0.5, 0.6, 0.7, 0.8))]
    cost = summarise(task, [*pooled, *never])[1].cost
    assert (cost.rounds_to_part, cost.megabytes_to_part) == (None, None)


def test_each_site_is_compared_with_its_own_lone_model():
    task = _task(CENTRALISED, ALONE, FEDERATED)
    results = [_result(CENTRALISED, 0, _near(0.9, 0.01)), _result(ALONE, 0, _near(0.7, 0.01), _near(0.95, 0.01)), _result(FEDERATED, 0, _near(0.9, 0.01))]
    first, second = gains(task, results)
    assert (first.site, first.images, round(first.gain.mean, 3)) == (0, 3, 0.2)
    assert (second.site, second.images, round(second.gain.mean, 3)) == (1, 4, -0.05)
    said = " ".join(verdict(task, summarise(task, results), gains(task, results)))
    assert "1 of 2 sites" in said
    assert "site 2 of seed 0 (4 images, -0.0500)" in said


def test_a_site_that_shares_its_steps_is_compared_with_a_lone_one_of_as_many_steps_only():
    shared, lone = (arm.model_copy(update={"steps_shared": True}) for arm in (FEDERATED, ALONE))
    results = [_result(arm, 0, _near(0.8, 0.01), *([_near(0.7, 0.01)] if arm.way == "alone" else [])) for arm in (CENTRALISED, ALONE, lone, FEDERATED, shared)]
    assert {one.arm for one in gains(_task(CENTRALISED, ALONE, shared), results)} == set()
    assert {one.arm for one in gains(_task(CENTRALISED, lone, FEDERATED), results)} == set()
    task = _task(CENTRALISED, lone, shared)
    assert {one.arm for one in gains(task, results)} == {shared.name}
    assert "steps shared: 1 of 2 sites" in " ".join(verdict(task, summarise(task, results), gains(task, results)))


def test_the_verdict_names_the_arm_that_missed_and_the_strategy_that_reached_it():
    task = _task(CENTRALISED, FEDERATED, PROX)
    results = [_result(CENTRALISED, 0, _near(0.9, 0.01)), _result(FEDERATED, 0, _near(0.85, 0.01)), _result(PROX, 0, _near(0.895, 0.01))]
    said = " ".join(verdict(task, summarise(task, results), []))
    assert "It missed in: federated, 2 sites, equal sizes (-0.0500, target 0.01)" in said
    assert "fedprox reached the target: -0.0050" in said
    worse = [*results[:2], _result(PROX, 0, _near(0.8, 0.01))]
    assert "none of the strategies tried reached the target: fedprox -0.1000" in " ".join(verdict(task, summarise(task, worse), []))


def test_better_numbers_than_the_centralised_arms_are_not_told_as_a_gain_over_pooling_and_equal_ones_need_no_word():
    shared = FEDERATED.model_copy(update={"steps_shared": True})
    pooled = _result(CENTRALISED, 0, _near(0.8, 0.01))
    for arm, dice, warned in ((FEDERATED, 0.86, True), (FEDERATED, 0.805, False), (shared, 0.86, False)):
        task, results = _task(CENTRALISED, arm), [pooled, _result(arm, 0, _near(dice, 0.01))]
        said = " ".join(verdict(task, summarise(task, results), []))
        assert ("1 arm (up to +0.0600)" in said, "no gain over pooling" in said) == (warned, warned)


def test_a_miss_that_the_interval_does_not_show_is_called_so_and_a_clear_one_is_not():
    task = _task(CENTRALISED, FEDERATED)
    pooled = _result(CENTRALISED, 0, [0.9, 0.8, 0.9, 0.8, 0.9, 0.8])
    unclear = _result(FEDERATED, 0, [0.95, 0.7, 0.95, 0.7, 0.93, 0.75])
    clear = _result(FEDERATED, 0, [0.8, 0.7, 0.81, 0.7, 0.8, 0.69])
    said, clearly = (" ".join(verdict(task, summarise(task, [pooled, one]), [])) for one in (unclear, clear))
    assert "It missed in" in said
    assert "so that such a loss is not shown: federated, 2 sites, equal sizes." in said
    assert "It missed in" in clearly
    assert "not shown" not in clearly


def test_arms_that_share_the_steps_are_judged_apart_from_those_that_do_not():
    shared = Arm(way="federated", clients=2, steps_shared=True)
    task = _task(CENTRALISED, FEDERATED, shared)
    results = [_result(CENTRALISED, 0, _near(0.9, 0.01)), _result(FEDERATED, 0, _near(0.9, 0.01)), _result(shared, 0, _near(0.7, 0.01))]
    said = verdict(task, summarise(task, results), [])
    assert "in 1 of 1 arms (1 seed)" in said[0]
    assert "in 0 of 1 arms" in said[1]
    assert any("only its site's part" in line for line in said)
    assert "No other strategy was tried for: federated, 2 sites, equal sizes, steps shared." in said


def test_the_verdict_says_what_noise_costs_and_that_a_huge_epsilon_guarantees_nothing():
    task = _task(CENTRALISED, FEDERATED, CLIPPED)
    results = [_result(CENTRALISED, 0, _near(0.9, 0.01)), _result(FEDERATED, 0, _near(0.9, 0.01)), _result(CLIPPED, 0, _near(0.8, 0.01), epsilon=4000.0)]
    said = " ".join(verdict(task, summarise(task, results), []))
    assert "Clipping and noise" in said
    assert "by -0.1000 (1 seed); epsilon 4e+03, which guarantees nothing" in said


def test_a_papers_numbers_stand_beside_ours_with_their_own_gaps_and_are_called_real_where_ours_are_generated():
    task = _task(CENTRALISED, FEDERATED)
    results = [_result(CENTRALISED, 0, _near(0.8, 0.0)), _result(FEDERATED, 0, _near(0.79, 0.0))]
    table = published_table(task, PAPER, summarise(task, results), ())
    assert table.headers[2:] == ("paper (real)", "paper: to centralised", "ours (generated)", "ours: to centralised")
    assert table.rows[1][2:] == (0.88, "-0.020", 0.79, "-0.0100")
    assert table.rows[2][2:] == (0.87, "-0.030", None, None)


def test_both_of_our_ways_to_count_steps_stand_beside_a_papers_arm():
    shared = FEDERATED.model_copy(update={"steps_shared": True})
    task = _task(CENTRALISED, FEDERATED, shared)
    results = [_result(CENTRALISED, 0, _near(0.8, 0.0)), _result(FEDERATED, 0, _near(0.79, 0.0)), _result(shared, 0, _near(0.77, 0.0))]
    rows = published_table(task, PAPER, summarise(task, results), ()).rows
    assert [(row[0], row[-1]) for row in rows[1:3]] == [
        ("federated, 2 sites, equal sizes", "-0.0100"),
        ("federated, 2 sites, equal sizes, steps shared", "-0.0300"),
    ]
    only = published_table(_task(CENTRALISED, shared), PAPER, summarise(_task(CENTRALISED, shared), results), ()).rows
    assert [row[0] for row in only] == ["centralised", "federated, 2 sites, equal sizes, steps shared", "federated-8-balanced"]


def test_our_gap_beside_the_papers_is_of_the_same_seeds_even_where_an_arm_has_fewer():
    task = _task(CENTRALISED, FEDERATED)
    results = [_result(CENTRALISED, 0, _near(0.8, 0.0)), _result(CENTRALISED, 1, _near(0.9, 0.0)), _result(FEDERATED, 0, _near(0.79, 0.0))]
    assert published_table(task, PAPER, summarise(task, results), ()).rows[1][-1] == "-0.0100"
    assert "(1 seed)" in verdict(task, summarise(task, results), [])[0]


def test_a_structure_that_was_never_found_has_no_distance_and_is_counted():
    task = _task(CENTRALISED)
    result = _result(CENTRALISED, 0, [0.5]).model_copy(update={"models": (Model(cases=(_case(0, 0.8), _case(1, 0.0, hd95=None))),)})
    found = measures(task, [result], ())
    assert (found["Dice wall"], found["HD95 wall"], found["without HD95 wall"]) == (0.4, 3.0, 1.0)
    assert "3 (missed 1)" in str(arms_table(task, summarise(task, [result]), ()).rows)


def test_a_result_without_a_distance_is_read_back_as_it_was_written(tmp_path: Path):
    task = _task(CENTRALISED)
    result = _result(CENTRALISED, 0, [0.5]).model_copy(update={"models": (Model(cases=(_case(0, 0.0, hd95=None),)),)})
    ResultFolder(tmp_path, task).put(CENTRALISED, result)
    assert ResultFolder(tmp_path, task).get(CENTRALISED, 0) == result


def test_measures_of_classes_are_those_of_the_confusion_matrix():
    task = Task(
        name="made-up",
        title="Made up",
        kind="classification",
        real=False,
        about="",
        data=DataSettings(reader="class-folders"),
        network=ResNetSettings(kind="resnet18"),
        arms=(CENTRALISED,),
    )
    answers = [(0, (0.9, 0.1)), (0, (0.8, 0.2)), (0, (0.4, 0.6)), (1, (0.3, 0.7)), (1, (0.7, 0.3))]
    cases = tuple(CaseScore(case=n, label=label, probabilities=given) for n, (label, given) in enumerate(answers))
    result = _result(CENTRALISED, 0, [0.5]).model_copy(update={"models": (Model(cases=cases),)})
    found = measures(task, [result], ("ill", "well"))
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["sensitivity ill"] == pytest.approx(2 / 3)
    assert found["specificity ill"] == pytest.approx(1 / 2)
    assert found["F1 well"] == pytest.approx(1 / 2)
    assert found["AUROC well"] == pytest.approx(5 / 6)
    assert found["sensitivity"] == pytest.approx((2 / 3 + 1 / 2) / 2)
