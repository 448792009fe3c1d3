"""Who tests and who sits where: by patient, whole, and the same for everybody who must be compared."""

from collections import Counter

import numpy as np
import pytest

from fedliver.errors import FedLiverError
from fedliver.site.strategy import FedProx
from fedliver.study.federated.division import Record, divide, hold_out
from fedliver.study.federated.task import Arm, DataSettings

SCANNERS = ("arterial", "late", "venous")
RECORDS = [Record(f"p{n}-{visit}", f"p{n}", SCANNERS[n % 3], n % 2) for n in range(60) for visit in range(1 + n % 2)]
QUARTER = DataSettings(reader="csv")
FIFTHS = DataSettings(reader="csv", folds=5)
EVERY_DIVISION = [
    Arm(way="federated", clients=4),
    Arm(way="federated", clients=16),
    Arm(way="federated", clients=8, division="unbalanced"),
    Arm(way="federated", clients=3, division="sizes", sizes=(8, 2, 1)),
    Arm(way="federated", clients=4, division="by-label"),
    Arm(way="federated", clients=4, division="by-group"),
    Arm(way="centralised"),
]


def _patients(indexes: list[int]) -> set[str]:
    return {RECORDS[index].patient for index in indexes}


def test_nobody_both_trains_and_tests_and_every_class_and_scanner_is_tested():
    training, test = hold_out(RECORDS, QUARTER, 0)
    assert not _patients(training) & _patients(test)
    assert sorted(training + test) == list(range(len(RECORDS)))
    assert len(_patients(test)) == 15
    assert {RECORDS[index].group for index in test} == set(SCANNERS)
    assert abs(np.mean([RECORDS[index].label for index in test]) - np.mean([record.label for record in RECORDS])) < 0.1


def test_without_folds_every_seed_has_the_same_test_patients():
    assert hold_out(RECORDS, QUARTER, 0) == hold_out(RECORDS, QUARTER, 3)


def test_with_folds_everybody_is_tested_in_exactly_one_seed_and_trains_in_the_others():
    parts = [hold_out(RECORDS, FIFTHS, seed) for seed in range(5)]
    assert sorted(index for _, test in parts for index in test) == list(range(len(RECORDS)))
    for training, test in parts:
        assert not _patients(training) & _patients(test)
        assert sorted(training + test) == list(range(len(RECORDS)))
        assert {RECORDS[index].group for index in test} == set(SCANNERS)
    assert hold_out(RECORDS, FIFTHS, 5) == parts[0]


def test_fewer_patients_than_folds_are_refused():
    with pytest.raises(FedLiverError, match="at least 5 patients, here are 4"):
        hold_out([Record(name, name) for name in "abcd"], FIFTHS, 0)


@pytest.mark.parametrize("arm", EVERY_DIVISION, ids=lambda arm: arm.name)
@pytest.mark.parametrize("seed", [0, 5])
def test_every_training_patient_is_at_exactly_one_site_and_no_site_is_empty(arm: Arm, seed: int):
    training, _ = hold_out(RECORDS, QUARTER, 0)
    sites = divide(RECORDS, training, arm, seed)
    assert len(sites) == arm.clients
    assert all(sites)
    assert sorted(index for site in sites for index in site) == sorted(training)
    assert sum(len(_patients(site)) for site in sites) == len(_patients(training))


def test_balanced_sites_are_equal_and_unbalanced_ones_are_not():
    training, _ = hold_out(RECORDS, QUARTER, 0)

    def sizes(arm: Arm) -> list[int]:
        return [len(_patients(site)) for site in divide(RECORDS, training, arm, 1)]

    assert max(sizes(Arm(way="federated", clients=4))) - min(sizes(Arm(way="federated", clients=4))) <= 1
    uneven = sizes(Arm(way="federated", clients=4, division="unbalanced"))
    assert max(uneven) >= 2 * min(uneven)
    assert sizes(Arm(way="federated", clients=3, division="sizes", sizes=(6, 2, 1))) == [30, 10, 5]


def _scanners(hospitals: dict[str, int], clients: int) -> list[dict[str, int]]:
    records = [Record(f"{group}{n}", f"{group}{n}", group) for group, count in hospitals.items() for n in range(count)]
    sites = divide(records, list(range(len(records))), Arm(way="federated", clients=clients, division="by-group"), 0)
    return [dict(Counter(records[index].group for index in site)) for site in sites]


def test_divided_by_hospital_every_site_is_a_hospital_however_unequal_they_are():
    assert _scanners({"a": 50, "b": 30, "c": 20}, 3) == [{"a": 50}, {"b": 30}, {"c": 20}]


def test_more_sites_than_hospitals_cut_the_largest_and_mix_none():
    assert _scanners({"a": 50, "b": 30, "c": 20}, 5) == [{"a": 25}, {"a": 25}, {"b": 15}, {"b": 15}, {"c": 20}]


def test_fewer_sites_than_hospitals_bring_whole_hospitals_together():
    assert _scanners({"a": 50, "b": 30, "c": 20}, 2) == [{"a": 50}, {"b": 30, "c": 20}]


@pytest.mark.parametrize("seed", range(20))
def test_of_few_patients_unequal_sites_are_not_equal(seed: int):
    records = [Record(name, name) for name in "abcdefgh"]
    for clients in (2, 4):
        sites = divide(records, list(range(8)), Arm(way="federated", clients=clients, division="unbalanced"), seed)
        assert max(map(len, sites)) - min(map(len, sites)) > 1


def test_divided_by_label_the_sites_mixtures_differ_more_than_by_chance():
    training, _ = hold_out(RECORDS, QUARTER, 0)

    def spread(arm: Arm) -> float:
        means = [np.mean([RECORDS[index].label for index in site]) for seed in range(5) for site in divide(RECORDS, training, arm, seed)]
        return float(np.std(means))

    assert spread(Arm(way="federated", clients=4, division="by-label")) > 2 * spread(Arm(way="federated", clients=4))


def test_a_lone_site_holds_what_it_holds_in_the_federation_and_another_seed_divides_anew():
    training, _ = hold_out(RECORDS, QUARTER, 0)
    alone, together = Arm(way="alone", clients=4), Arm(way="federated", clients=4, strategy=FedProx())
    assert divide(RECORDS, training, alone, 3) == divide(RECORDS, training, together, 3)
    assert divide(RECORDS, training, together, 3) != divide(RECORDS, training, together, 4)


@pytest.mark.parametrize(
    ("records", "arm", "code"),
    [
        ([Record(f"{n}", f"{n}") for n in range(6)], Arm(way="federated", clients=8), "too-few-patients"),
        ([Record(f"{n}", f"{n}") for n in range(12)], Arm(way="federated", clients=2, division="by-label"), "no-labels"),
        ([Record(f"{n}", f"{n}") for n in range(12)], Arm(way="federated", clients=2, division="by-group"), "no-groups"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_words(records: list[Record], arm: Arm, code: str):
    with pytest.raises(FedLiverError) as refusal:
        divide(records, hold_out(records, QUARTER, 0)[0], arm, 0)
    assert refusal.value.code == code


def test_too_few_patients_for_a_test_are_refused():
    with pytest.raises(FedLiverError) as refusal:
        hold_out([Record("a", "a"), Record("b", "b")], QUARTER, 0)
    assert refusal.value.code == "too-few-patients"
