"""FedProx's term: its gradient is mu (w - w0), of trained weights alone, and it does what it is for."""

import numpy as np
import pytest
import torch

from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.proximal import Proximal
from fedliver.training.settings import TrainingSettings
from fedliver.training.sources import Patch
from fedliver.training.student import train_on_patches

PLAN = TeacherPlan.tiny()


def test_the_gradient_is_mu_times_the_way_from_the_start_and_frozen_parts_and_statistics_have_none() -> None:
    network = torch.nn.ModuleDict({"trained": torch.nn.Conv3d(2, 3, 1), "norm": torch.nn.BatchNorm3d(3), "frozen": torch.nn.Linear(2, 2).requires_grad_(False)})
    start = {name: value.detach().clone() for name, value in network.state_dict().items()}
    term = Proximal(network, 0.3)
    assert float(term.loss().detach()) == 0
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn_like(parameter)
        network["norm"].running_mean += 5
    term.loss().backward()
    for name, parameter in network.named_parameters():
        if name.startswith("frozen"):
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, 0.3 * (parameter.detach() - start[name]))
    moved = sum(float((value.detach() - start[name]).square().sum()) for name, value in network.named_parameters() if not name.startswith("frozen"))
    assert float(term.loss().detach()) == pytest.approx(0.15 * moved, rel=1e-5)


class OnePatch:
    def draw(self, rng: np.random.Generator) -> Patch:
        labels = np.zeros((1, *PLAN.patch_size), np.uint8)
        labels[:, 8:24, 8:24, 8:24] = 1
        return Patch(labels.astype(np.float32) * 0.6, labels, True)


def trained(mu: float) -> tuple[float, float]:
    """How far a training moves the weights, and the loss of its only step."""
    torch.manual_seed(0)
    network = build_network(PLAN)
    start = [parameter.detach().clone() for parameter in network.parameters()]
    settings = TrainingSettings(steps=15, learning_rate=1e-3, weight_decay=0.0, augment=False, proximal=mu, threads=1, final_learning_rate_fraction=1.0)
    outcome = train_on_patches(network, OnePatch(), settings)
    moved = sum(float((one - other).detach().square().sum()) for one, other in zip(outcome.network.parameters(), start, strict=True)) ** 0.5
    return moved, outcome.loss


def test_a_student_that_is_held_stays_nearer_and_the_loss_that_is_told_is_still_that_of_its_cases() -> None:
    free, held = trained(0.0), trained(100.0)
    assert held[0] < 0.7 * free[0]
    assert held[1] < 3, "the term itself would be far more"


def federated(mu: float, rounds: int = 300) -> float:
    """Two sites that would pull one weight to 0, steeply, and to 1, gently; each trains to its end in every round. The best for both is 0.1."""
    shared = 0.5
    for _ in range(rounds):
        ends = []
        for steep, goal in ((9.0, 0.0), (1.0, 1.0)):
            weight = torch.nn.Linear(1, 1, bias=False)
            torch.nn.init.constant_(weight.weight, shared)
            term = Proximal(weight, mu)
            optimiser = torch.optim.SGD(weight.parameters(), lr=0.1)
            for _ in range(60):
                optimiser.zero_grad()
                (steep / 2 * (weight.weight - goal).square().sum() + term.loss()).backward()
                optimiser.step()
            ends.append(float(weight.weight.detach()))
        if abs(np.mean(ends) - shared) < 1e-5:
            break
        shared = float(np.mean(ends))
    return shared


def test_sites_that_differ_and_train_long_agree_on_something_nearer_to_the_best_for_all() -> None:
    """FedAvg ends at the mean of where each site alone would go; FedProx nearer to where their losses together are smallest."""
    assert federated(0.0) == pytest.approx(0.5, abs=0.02)
    assert abs(federated(4.0) - 0.1) < 0.5 * abs(federated(0.0) - 0.1)
