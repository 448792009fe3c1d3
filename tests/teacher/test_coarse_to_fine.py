"""The finder looks for the liver in the whole scan; the fine network sees its box only."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedliver.image import Geometry, Volume
from fedliver.labels import TUMOUR
from fedliver.teacher.bundle import Teacher
from fedliver.teacher.coarse_to_fine import CoarseToFine
from fedliver.teacher.inference import segment
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import NetworkPlan, StagePlan, TeacherPlan
from fedliver.training.ablation import WITHOUT_FINDER, without
from networks import BandNetwork

SPACING = (2.0, 2.0, 3.0)
PLAN = TeacherPlan.tiny().model_copy(
    update={
        "spacing_mm": (3.0, 3.0, 3.0),
        "patch_size": (32, 32, 32),
        "minimum_liver_ml": 5.0,
        "margin_mm": 12.0,
        "finder": StagePlan(network=NetworkPlan(channels=(8, 16), strides=(2,), residual_units=0), spacing_mm=(8.0, 8.0, 8.0), patch_size=(32, 32, 32)),
    }
)


def _bands() -> Teacher:
    return Teacher(CoarseToFine(BandNetwork(), BandNetwork()), PLAN, "bands", "0", "none")


def _scan(length_mm: float, balls: list[tuple[tuple[float, float, float], float, int]]) -> Volume:
    """A body of fat, 150 mm wide; ``balls`` are (centre in mm along i, j, k; radius in mm; HU)."""
    geometry = Geometry((75, 75, round(length_mm / 3)), SPACING, (-75.0, -75.0, 100.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    k, j, i = np.indices(geometry.shape)
    hu = np.full(geometry.shape, -100, np.int16)
    for centre, radius, value in balls:
        hu[(i * 2 - centre[0]) ** 2 + (j * 2 - centre[1]) ** 2 + (k * 3 - centre[2]) ** 2 < radius**2] = value
    return Volume(hu, geometry)


LIVER = ((75.0, 75.0, 90.0), 40.0, 100)


def test_coarse_to_fine_finds_liver_and_tumour_on_the_grid_of_the_ct() -> None:
    ct = _scan(180, [LIVER, ((75.0, 75.0, 90.0), 15.0, 170)])
    labels = segment(_bands(), ct).labels.array
    liver, tumour = (ct.array == 100) | (ct.array == 170), ct.array == 170
    assert 2 * ((labels > 0) & liver).sum() / ((labels > 0).sum() + liver.sum()) > 0.96
    assert 2 * ((labels == TUMOUR) & tumour).sum() / ((labels == TUMOUR).sum() + tumour.sum()) > 0.85


def test_a_scan_twice_as_long_costs_the_fine_network_nothing_more() -> None:
    calls = []
    for length in (180, 420):
        teacher = _bands()
        segment(teacher, _scan(length, [LIVER]))
        calls.append(teacher.network.fine.calls)  # type: ignore[union-attr]
    assert calls[0] == calls[1] > 0


def test_what_lies_far_from_the_liver_is_never_shown_to_the_fine_network() -> None:
    ct = _scan(420, [LIVER, ((75.0, 75.0, 330.0), 25.0, 170)])
    labels = segment(_bands(), ct).labels.array
    assert not labels[(ct.array == 170)].any()


@pytest.mark.parametrize("height", [0.0, 20.0, 179.0])
def test_a_liver_cut_off_by_the_end_of_the_scan_is_found_up_to_there(height: float) -> None:
    ct = _scan(180, [((75.0, 75.0, height), 40.0, 100)])
    labels = segment(_bands(), ct).labels.array
    liver = ct.array == 100
    assert 2 * ((labels > 0) & liver).sum() / ((labels > 0).sum() + liver.sum()) > 0.95


def test_without_a_liver_the_fine_network_is_not_asked() -> None:
    teacher = _bands()
    result = segment(teacher, _scan(180, []))
    assert result.sentence == "No liver was found in this scan."
    assert teacher.network.fine.calls == 0  # type: ignore[union-attr]


def test_a_liver_that_the_fine_network_does_not_confirm_is_no_liver() -> None:
    class Nothing(BandNetwork):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return super().forward(torch.zeros_like(image))

    result = segment(replace(_bands(), network=CoarseToFine(Nothing(), BandNetwork())), _scan(180, [LIVER]))
    assert not result.found


def test_the_finder_takes_no_gradient_and_the_fine_part_does() -> None:
    network = build_network(PLAN)
    trained = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {"fine"}


def test_a_folded_network_answers_at_full_resolution() -> None:
    plan = TeacherPlan.tiny().model_copy(update={"network": NetworkPlan(channels=(8, 16), strides=(2,), residual_units=1, fold=2, activation="LEAKYRELU")})
    assert plan.network.divisor == 4
    assert build_network(plan)(torch.zeros(1, 1, 16, 8, 12)).shape == (1, 3, 16, 8, 12)


def test_every_step_after_the_network_can_be_left_out_to_see_what_it_is_worth() -> None:
    ct = _scan(180, [LIVER, ((75.0, 75.0, 90.0), 8.0, -80), ((75.0, 128.0, 90.0), 8.0, 100)])
    hole, stray = _scan(180, [((75.0, 75.0, 90.0), 6.0, 1)]).array == 1, _scan(180, [((75.0, 128.0, 90.0), 6.0, 1)]).array == 1
    shipped = segment(_bands(), ct).labels.array
    assert shipped[hole].all()
    assert not shipped[stray].any()
    with_holes = segment(without(_bands(), "without filling holes"), ct).labels.array
    assert not with_holes[hole].any()
    with_strays = segment(without(_bands(), "without keeping the largest liver only"), ct).labels.array
    assert with_strays[stray].all()
    everywhere = without(_bands(), WITHOUT_FINDER)
    assert everywhere.plan.finder is None
    assert (segment(everywhere, ct).labels.array > 0).sum() == pytest.approx((shipped > 0).sum(), rel=0.02)
