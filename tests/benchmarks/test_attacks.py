"""The attacks: they succeed where they must, or a low number would prove nothing."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from attack_inversion import OpenBook, Victim, gradient_of, invert, likeness, likeness_beyond_anatomy
from attack_membership import Patient, Seen, area_under_curve, interval, look
from attacks import Attacks, Inversion, Membership
from records import Machine, now

from fedliver.federation.networks import weights_of
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan


def _victim(seed: int, side: int = 8) -> Victim:
    """A bright ball at a place of its own on a slope that all have in common."""
    at = torch.stack(torch.meshgrid(*[torch.arange(side)] * 3, indexing="ij")).float()
    centre = torch.tensor(np.random.default_rng(seed).uniform(2, side - 2, (3, 1, 1, 1))).float()
    ball = ((at - centre).square().sum(0) < 5).float()
    return Victim((0.3 * at[0] / side + 0.4 * ball)[None, None], ball.long()[None])


def test_inversion_sees_the_patient_in_the_gradient_of_a_network_that_is_known_to_leak() -> None:
    torch.manual_seed(0)
    victim, others, network = _victim(0), [_victim(seed) for seed in (1, 2, 3)], OpenBook()
    found = invert(network, gradient_of(network, victim.image, victim.labels), victim.labels, steps=800, seed=0)
    assert likeness(found, victim.image) > 0.8
    other = {name: torch.randn_like(value) for name, value in gradient_of(network, victim.image, victim.labels).items()}
    assert likeness(invert(network, other, victim.labels, steps=50, seed=0), victim.image) < 0.5
    assert likeness_beyond_anatomy(victim.image, victim, others) == pytest.approx(1)
    assert abs(likeness_beyond_anatomy(torch.stack([one.image for one in others]).mean(0), victim, others)) < 1e-6


def test_membership_is_plain_where_an_update_remembers_a_patient_by_heart() -> None:
    torch.manual_seed(0)
    plan = TeacherPlan.tiny()
    network = build_network(plan)
    received = weights_of(network)
    patients = [Patient((_victim(seed, 16),), member=seed < 2) for seed in range(4)]
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        for patient in patients[:2]:
            torch.nn.functional.cross_entropy(network(patient.patches[0].image), patient.patches[0].labels).backward()
        optimiser.step()
    seen = look(network, received, weights_of(network), patients)
    assert area_under_curve(seen) == 1.0
    assert area_under_curve(look(network, received, received, patients)) == 0.5
    assert interval([seen, seen]) == (1.0, 1.0)


def test_the_area_is_the_chance_that_a_member_fell_more() -> None:
    assert area_under_curve([Seen(True, 3, 0), Seen(True, 1, 0), Seen(False, 2, 0), Seen(False, 0, 0)]) == 0.75


def test_the_page_says_what_was_measured() -> None:
    machine = Machine(processor="P", cores=1, usable_cores=1, memory_gb=1, system="S", python="3", load_before=0.1)
    page = Attacks(
        at=now(),
        quick=True,
        machine=machine,
        versions={},
        members=3,
        steps=60,
        trials=2,
        inversions=(Inversion(what="control", likeness=(0.8, 0.9), beyond_anatomy=(0.5, 0.7)),),
        memberships=(Membership(rules="as trained", area=0.7, low=0.6, high=0.8, dice_others=0.9, epsilon=None),),
    ).markdown()
    assert "| control | 0.85 | 0.60 | 0.70 |" in page
    assert "| as trained | 0.70 | 0.60 to 0.80 | 0.900 | – |" in page
    assert "its numbers mean nothing" in page
