"""The fine network may look at the liver's box more than once, on grids of several spacings: what counts is the mean."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stopping_watch import StoppingWatch

from fedliver.datasets.evaluation import DatasetScores
from fedliver.image import Geometry, Volume
from fedliver.labels import TUMOUR
from fedliver.teacher.bundle import Teacher, load_bundle, save_bundle
from fedliver.teacher.inference import segment
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.teacher.preparation import scaled_grid
from fedliver.training.ablation import ONE_LOOK, Judged, ablation, without
from fedliver.watch import Silent
from networks import band_teacher

GRID = Geometry((90, 90, 60), (2.0, 2.0, 3.0), (-80.0, -120.0, 40.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
THREE = (1.0, 0.9, 0.83)


def _ball() -> tuple[Volume, np.ndarray]:
    """A ball of liver with a smaller one of tumour in a body of fat."""
    k, j, i = np.indices(GRID.shape)
    distance = np.sqrt((i * 2 - 90.0) ** 2 + (j * 2 - 84.0) ** 2 + (k * 3 - 95.0) ** 2)
    truth = np.where(distance < 50, 1, 0) + np.where(distance < 20, 1, 0)
    return Volume(np.choose(truth, (-100, 100, 170)).astype(np.int16), GRID), truth


def _seeing(teacher: Teacher, scales: tuple[float, ...]) -> Teacher:
    return replace(teacher, plan=teacher.plan.model_copy(update={"scales": scales}))


class _Undecided(torch.nn.Module):
    """Gives what is brighter than fat one probability of liver at the first call, another at the second."""

    def __init__(self, *liver: float) -> None:
        super().__init__()
        self._liver = list(liver)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        liver = torch.where(image > 0.4, self._liver.pop(0), 1e-6)
        return torch.cat([1 - liver, liver, torch.full_like(liver, 1e-6)], dim=1).log()


@pytest.mark.parametrize(("answers", "found"), [((0.9, 0.2), True), ((0.2, 0.9), True), ((0.6, 0.3), False), ((0.3, 0.6), False)])
def test_where_two_looks_disagree_their_mean_decides(answers: tuple[float, float], found: bool) -> None:
    plan = TeacherPlan.tiny().model_copy(update={"scales": (1.0, 0.8), "sure_of_part": 0.0})
    assert segment(Teacher(_Undecided(*answers), plan, "undecided", "0", "none"), _ball()[0]).found is found


def test_liver_and_tumour_lie_where_they_are_with_every_scale() -> None:
    ct, truth = _ball()
    for scales in (THREE, (0.83,), (1.3,)):
        labels = segment(_seeing(band_teacher(3.0), scales), ct).labels.array
        for mask, there in ((labels > 0, truth > 0), (labels == TUMOUR, truth == TUMOUR)):
            assert 2 * (mask & there).sum() / (mask.sum() + there.sum()) > 0.95
            centre, wanted = (np.argwhere(one).mean(axis=0) for one in (mask, there))
            assert np.abs(centre - wanted).max() < 0.15, "a grid beside its place would move everything"


@pytest.mark.parametrize("scale", [0.83, 0.9, 1.0, 1.3])
def test_a_scaled_grid_covers_the_same_box_about_the_same_centre(scale: float) -> None:
    turned = replace(GRID, direction=(0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    grid = scaled_grid(turned, scale)
    middle = [g.affine_lps @ [*((np.array(g.size) - 1) / 2), 1.0] for g in (turned, grid)]
    assert middle[0] == pytest.approx(middle[1])
    for one, whole in zip(zip(grid.size, grid.spacing, strict=True), zip(turned.size, turned.spacing, strict=True), strict=True):
        assert whole[0] * whole[1] - 1e-6 <= one[0] * one[1] < whole[0] * whole[1] + one[1]


def test_progress_only_grows_over_all_looks() -> None:
    watch = StoppingWatch()
    segment(_seeing(band_teacher(2.0), THREE), _ball()[0], watch)
    assert watch.fractions == sorted(watch.fractions)
    assert watch.fractions[-1] == 1.0


def test_a_plan_that_looks_once_is_written_as_before_so_that_contracts_still_hold() -> None:
    assert "scales" not in TeacherPlan.tiny().model_dump(mode="json")
    assert "scales" not in TeacherPlan.tiny().model_dump_json()
    assert TeacherPlan.tiny().model_copy(update={"scales": THREE}).model_dump(mode="json")["scales"] == list(THREE)


def test_the_scales_travel_in_the_bundle(tmp_path: Path) -> None:
    plan = TeacherPlan.tiny().model_copy(update={"scales": THREE})
    save_bundle(build_network(plan), plan, tmp_path / "bundle", name="three looks", version="0")
    assert load_bundle(tmp_path / "bundle").plan == plan


@pytest.mark.parametrize("scales", [(), (0.4,), (3.0,), (1.0,) * 6, (float("nan"),)])
def test_no_bundle_asks_for_absurd_grids(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="scales"):
        TeacherPlan.model_validate({**TeacherPlan.tiny().model_dump(), "scales": scales})


def test_no_scale_makes_a_grid_finer_than_a_plan_may_have() -> None:
    with pytest.raises(ValueError, match="finer than"):
        TeacherPlan.model_validate({**TeacherPlan.tiny().model_dump(), "spacing_mm": (0.7, 0.7, 0.7), "scales": (0.5,)})


def test_the_card_says_what_several_looks_are_worth_only_where_there_are_several() -> None:
    several = _seeing(band_teacher(), THREE)
    assert without(several, ONE_LOOK).plan.scales == (1.0,)
    nobody = DatasetScores.of("nobody", 0, [])
    assert ONE_LOOK in ablation([Judged(several, [])], nobody, Silent())
    assert ONE_LOOK not in ablation([Judged(band_teacher(), [])], nobody, Silent())
