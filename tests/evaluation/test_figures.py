"""The pictures: which side is right, what is up, true proportions, whatever the scan's grid; lines with gaps."""

import io

import numpy as np
import pytest
from PIL import Image

from fedliver.evaluation.figures import Outline, Series, crossing, lines, three_planes
from fedliver.image import Geometry, Volume

STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0)
TURNED = tuple(
    (
        np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]])
        @ np.array([[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]])
    ).ravel()
)
GREEN, RED = (0, 255, 0), (255, 0, 0)
# A cube of 60 mm in the patient's right, front and upper part; LPS millimetres from the body's centre.
CENTRE, HALF = np.array([-50.0, -40.0, 60.0]), 30.0


def _scene(direction: tuple[float, ...]) -> tuple[Volume, Volume]:
    size, spacing = (90, 80, 60), (3.0, 3.0, 5.0)
    turn = np.reshape(direction, (3, 3))
    origin = -turn @ ((np.array(size) - 1) / 2 * np.array(spacing))
    geometry = Geometry(size, spacing, (float(origin[0]), float(origin[1]), float(origin[2])), tuple(float(v) for v in direction))
    k, j, i = np.indices(geometry.shape)
    points = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ geometry.affine_lps.T
    body = (points[..., 0] / 120) ** 2 + (points[..., 1] / 100) ** 2 < 1
    cube = (np.abs(points[..., :3] - CENTRE) <= HALF).all(axis=-1)
    return Volume(np.where(body, 50, -1024).astype(np.int16), geometry), Volume(cube.astype(np.uint8), geometry)


def _panels(png: bytes, colour: tuple[int, int, int]) -> list[tuple[float, float, float, float]]:
    """Per panel (left, right, top, bottom) of what has about this colour, in pixels; panels are told by the gaps between them."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    pixels = pixels[: int(pixels.shape[0] * 0.9)]  # without the legend
    rows, columns = np.nonzero((np.abs(pixels - np.array(colour)) < 110).all(axis=-1))
    filled = np.unique(columns)
    groups = np.split(filled, np.flatnonzero(np.diff(filled) > 60) + 1)
    found = []
    for group in groups:
        here = (columns >= group[0]) & (columns <= group[-1])
        found.append((float(group[0]), float(group[-1]), float(rows[here].min()), float(rows[here].max())))
    return found


@pytest.mark.parametrize("direction", [STRAIGHT, FLIPPED, TURNED], ids=["straight", "flipped", "oblique"])
def test_the_planes_are_the_patient_s_in_radiological_convention_and_true_proportions(direction: tuple[float, ...]):
    ct, cube = _scene(direction)
    png = three_planes(ct, [Outline(cube, "Reference", "#00ff00")])
    width, height = Image.open(io.BytesIO(png)).size
    axial, coronal, sagittal = _panels(png, GREEN)
    body = _bright_extents(png)
    for outline, extent in zip((axial, coronal, sagittal), body, strict=True):
        assert outline[1] - outline[0] == pytest.approx(outline[3] - outline[2], rel=0.16), "a cube must look square"
        assert extent[0] < outline[0]
        assert outline[1] < extent[1]

    def across(outline, extent):
        return ((outline[0] + outline[1]) / 2 - extent[0]) / (extent[1] - extent[0])

    assert across(axial, body[0]) < 0.42, "the patient's right is on the picture's left"
    assert across(coronal, body[1]) < 0.42, "the patient's right is on the picture's left"
    assert across(sagittal, body[2]) < 0.42, "the front is on the picture's left"
    assert (axial[2] + axial[3]) / 2 < height * 0.5, "the front is up"
    assert (coronal[2] + coronal[3]) / 2 < height * 0.45, "the head is up"
    assert (sagittal[2] + sagittal[3]) / 2 < height * 0.45, "the head is up"
    assert width == 1650


def _bright_extents(png: bytes) -> list[tuple[float, float]]:
    """First and last column of the grey body in each panel."""
    grey = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    body = (np.abs(grey - grey.mean(axis=-1, keepdims=True)) < 12).all(axis=-1) & (grey.mean(axis=-1) > 90) & (grey.mean(axis=-1) < 180)
    columns = np.flatnonzero(body.sum(axis=0) > 40)
    groups = np.split(columns, np.flatnonzero(np.diff(columns) > 20) + 1)
    return [(float(group[0]), float(group[-1])) for group in groups]


def test_liver_and_tumour_have_outlines_of_their_own():
    ct, cube = _scene(STRAIGHT)
    with_tumour = cube.array.copy()
    middle = np.argwhere(with_tumour).mean(axis=0).astype(int)
    with_tumour[tuple(slice(m - 2, m + 3) for m in middle)] = 2
    outline = Outline(cube.with_array(with_tumour), "Reference", "#00ff00", tumour_colour="#ff0000")
    png = three_planes(ct, [outline])
    livers, tumours = _panels(png, GREEN), _panels(png, RED)
    assert len(livers) == len(tumours) == 3
    for liver, tumour in zip(livers, tumours, strict=True):
        assert liver[0] < tumour[0] < tumour[1] < liver[1]


def test_the_planes_cross_in_the_largest_tumour_else_in_the_liver():
    _, cube = _scene(TURNED)
    assert crossing(cube) == pytest.approx(CENTRE, abs=8)
    with_tumours = cube.array.copy()
    first, last = np.argwhere(cube.array)[0], np.argwhere(cube.array)[-1]
    with_tumours[tuple(first)] = 2
    with_tumours[last[0] - 1 : last[0] + 2, last[1] - 1 : last[1] + 2, last[2] - 1 : last[2] + 2] = 2
    expected = (cube.geometry.affine_lps @ [*last[::-1], 1])[:3]
    assert crossing(cube.with_array(with_tumours)) == pytest.approx(expected, abs=4)
    assert crossing(cube.with_array(np.zeros_like(cube.array))) is None


@pytest.mark.parametrize("array", ["air", "empty labels"])
def test_a_picture_is_made_even_where_there_is_nothing_to_see(array: str):
    ct, cube = _scene(STRAIGHT)
    if array == "air":
        ct = ct.with_array(np.full_like(ct.array, -1024))
    png = three_planes(ct, [Outline(cube.with_array(np.zeros_like(cube.array)), "Empty")], title="Nothing")
    assert Image.open(io.BytesIO(png)).size[0] == 1650


def test_lines_have_their_legend_and_leave_gaps_open():
    full = lines([Series("A", [0, 1, 2], [0.5, 0.7, 0.9]), Series("B", [0, 1, 2], [0.4, 0.6, 0.8])], title="Dice")
    gap = lines([Series("A", [0, 1, 2], [0.5, None, 0.9]), Series("B", [0, 1, 2], [0.4, 0.6, 0.8])], title="Dice")

    def blue(png: bytes) -> int:
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        return int((np.abs(pixels - np.array([0, 0x72, 0xB2])) < 20).all(axis=-1).sum())

    assert blue(gap) < 0.6 * blue(full)


def test_lines_without_any_series_or_value_still_give_a_picture():
    assert lines([]).startswith(b"\x89PNG")
    assert lines([Series("A", [0, 1], [None, None])]).startswith(b"\x89PNG")
