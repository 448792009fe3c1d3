"""The pictures of a model card are made small, and each outline keeps the colour that the legend says."""

from io import BytesIO

import numpy as np
from PIL import Image

from fedliver.evaluation.figures import GREEN, ORANGE, VERMILION, YELLOW, Outline, three_planes
from fedliver.image import Geometry, Volume
from fedliver.training.card import _few_colours

GRID = Geometry((60, 60, 30), (3.0, 3.0, 5.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def _labels(*tumours: tuple[int, int, int]) -> Volume:
    """A block of liver, with specks of tumour."""
    array = np.zeros((30, 60, 60), np.uint8)
    array[8:22, 10:40, 10:40] = 1
    for k, j, i in tumours:
        array[k, j : j + 2, i : i + 2] = 2
    return Volume(array, GRID)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int).reshape(-1, 3)


def test_a_smaller_picture_keeps_every_outlines_colour() -> None:
    outlines = [
        Outline(_labels((10, 14, 14)), "Reference", GREEN, "--", YELLOW),
        Outline(_labels((18, 30, 30)), "Prediction", VERMILION, "-", ORANGE),
    ]
    png = three_planes(Volume(np.zeros((30, 60, 60), np.int16), GRID), outlines)
    small = _few_colours(png)
    assert len(small) < len(png) / 2
    for colour in (GREEN, YELLOW, VERMILION, ORANGE):
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert np.abs(_pixels(small) - wanted).max(axis=1).min() <= 2, f"no line is {colour} any more"
