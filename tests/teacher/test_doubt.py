"""Doubt points where the teacher wavers, and expects less of an answer that wavers more."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedliver.image import Geometry, Volume
from fedliver.teacher.doubt import doubt_of, expected_dice
from fedliver.teacher.inference import segment
from networks import BandNetwork, band_teacher

GEOMETRY = Geometry((60, 60, 60), (2.0, 2.0, 2.0), (-60.0, -60.0, 100.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
_K, _J, _I = np.indices(GEOMETRY.shape)


def _ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    return (_K - centre[0]) ** 2 + (_J - centre[1]) ** 2 + (_I - centre[2]) ** 2 < radius**2


ORGAN = _ball((30, 30, 30), 22)


def _probability(sure: float = 0.99) -> np.ndarray:
    return np.where(ORGAN, sure, 1 - sure).astype(np.float32)


def test_a_sure_answer_has_no_place_worth_a_look() -> None:
    doubt = doubt_of(ORGAN, Volume(_probability(), GEOMETRY), np.zeros(GEOMETRY.shape, np.float32))
    assert doubt.places == ()
    assert doubt.map.array.max() < 0.1


def test_the_most_doubtful_place_comes_first_and_says_what_it_is_about() -> None:
    liver = _probability()
    liver[_ball((30, 30, 48), 5)] = 0.55
    tumour = np.zeros(GEOMETRY.shape, np.float32)
    tumour[_ball((30, 30, 18), 4)] = 0.35
    places = doubt_of(ORGAN, Volume(liver, GEOMETRY), tumour).places
    assert [place.about for place in places] == ["liver", "tumour"]
    assert places[0].doubt > places[1].doubt
    assert places[0].position_mm == pytest.approx((-60 + 2 * 48, 0, 160), abs=4)
    assert places[1].position_mm == pytest.approx((-60 + 2 * 18, 0, 160), abs=4)


def test_there_are_five_places_at_most_and_they_lie_apart() -> None:
    rng = np.random.default_rng(0)
    liver = rng.uniform(0.3, 0.7, GEOMETRY.shape).astype(np.float32)
    places = doubt_of(ORGAN, Volume(liver, GEOMETRY), np.zeros(GEOMETRY.shape, np.float32)).places
    positions = np.array([place.position_mm for place in places])
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)[~np.eye(len(places), dtype=bool)]
    assert len(places) == 5
    assert apart.min() >= 24.9


def test_the_expected_dice_falls_with_the_probability_of_the_answer() -> None:
    dice = [expected_dice(ORGAN, _probability(sure)) for sure in (1.0, 0.9, 0.7)]
    assert dice[0] == 1.0
    assert dice[0] > dice[1] > dice[2]


def test_the_expected_dice_is_the_dice_where_probabilities_tell_the_truth() -> None:
    rng = np.random.default_rng(1)
    liver = np.clip(_probability(0.95) + rng.normal(0, 0.2, GEOMETRY.shape), 0, 1).astype(np.float32)
    truth = rng.uniform(size=GEOMETRY.shape) < liver
    mask = liver >= 0.5
    assert expected_dice(mask, liver) == pytest.approx(2 * (mask & truth).sum() / (mask.sum() + truth.sum()), abs=0.01)


def test_a_filled_hole_is_doubtful() -> None:
    liver = _probability()
    liver[_ball((30, 30, 30), 4)] = 0.02
    doubt = doubt_of(ORGAN, Volume(liver, GEOMETRY), np.zeros(GEOMETRY.shape, np.float32))
    assert doubt.places[0].position_mm == pytest.approx((0, 0, 160), abs=4)


def test_every_segmentation_carries_its_doubt_and_none_where_there_is_no_liver() -> None:
    hu = np.where(ORGAN, 100, -100).astype(np.int16)
    assert (segment(band_teacher(), Volume(hu, GEOMETRY)).expected_dice or 0) > 0.99
    assert segment(band_teacher(), Volume(np.full(GEOMETRY.shape, -100, np.int16), GEOMETRY)).expected_dice is None


class _Wavering(BandNetwork):
    """Calls the band liver with 80 % only."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image) * (1.4 / 20) + torch.tensor([0.0, 0.0, -20.0]).reshape(1, 3, 1, 1, 1)


@pytest.mark.parametrize(("whole_liver_ml", "found"), [(800.0, False), (100.0, True)])
def test_a_part_of_a_liver_of_which_the_teacher_is_not_sure_is_no_liver(whole_liver_ml: float, found: bool) -> None:
    hu = np.where(ORGAN, 100, -100).astype(np.int16)
    bands = band_teacher()
    unsure = replace(bands, network=_Wavering(), plan=bands.plan.model_copy(update={"whole_liver_ml": whole_liver_ml}))
    assert segment(unsure, Volume(hu, GEOMETRY)).found == found
    assert segment(replace(bands, plan=unsure.plan), Volume(hu, GEOMETRY)).found
