"""Geometry and frames: the only place where LPS and RAS, (i, j, k) and (k, j, i) meet."""

import numpy as np
import pytest
import SimpleITK as sitk

from fedliver.image import Geometry, Volume, axis_aligned_grid, box_of, from_monai, from_sitk, geometry_of, resample, to_monai, to_sitk


def turned(size: tuple[int, int, int] = (11, 13, 17), flip: float = 1.0) -> Geometry:
    angle = np.radians(25)
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.diag([1, flip, 1])
    return Geometry(size, (0.7, 1.3, 4.0), (-100.5, 20.25, -700.125), tuple(matrix.ravel()))


STRAIGHT = Geometry((11, 13, 17), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def numbered(geometry: Geometry) -> Volume:
    return Volume(np.arange(np.prod(geometry.size), dtype=np.int16).reshape(geometry.shape), geometry)


@pytest.mark.parametrize("grid", [STRAIGHT, turned(), turned(flip=-1)])
def test_the_affine_sends_every_index_where_simpleitk_sends_it(grid: Geometry) -> None:
    image = to_sitk(numbered(grid))
    for index in [(0, 0, 0), (10, 0, 0), (3, 12, 5), (10, 12, 16)]:
        np.testing.assert_allclose((grid.affine_lps @ [*index, 1])[:3], image.TransformIndexToPhysicalPoint(index), atol=1e-9)
        np.testing.assert_allclose((grid.affine_ras @ [*index, 1])[:3], np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1], atol=1e-9)


@pytest.mark.parametrize("grid", [STRAIGHT, turned(), turned(flip=-1)])
def test_a_volume_survives_simpleitk_and_the_ras_affine(grid: Geometry) -> None:
    volume = numbered(grid)
    back = from_sitk(to_sitk(volume))
    assert back.geometry.same_grid(grid, 1e-9)
    np.testing.assert_array_equal(back.array, volume.array)
    assert Geometry.from_affine_ras(grid.affine_ras, grid.size).same_grid(grid, 1e-9)
    assert geometry_of(to_sitk(volume)).size == grid.size


def test_the_first_array_axis_is_the_slice() -> None:
    volume = numbered(STRAIGHT)
    assert volume.array[5, 3, 2] == to_sitk(volume)[2, 3, 5]
    assert STRAIGHT.shape == (17, 13, 11)


def test_an_array_of_another_shape_is_no_volume_on_the_grid() -> None:
    with pytest.raises(ValueError, match="shape"):
        Volume(np.zeros(STRAIGHT.size), STRAIGHT)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Geometry((11, 13, 17), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0 + 5e-4), STRAIGHT.direction), True),
        (Geometry((11, 13, 17), (1.0, 2.0, 3.0), (5.0, 6.0, 7.01), STRAIGHT.direction), False),
        (Geometry((11, 13, 17), (1.0, 2.0, 3.001), (5.0, 6.0, 7.0), STRAIGHT.direction), False),
        (Geometry((11, 13, 18), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), STRAIGHT.direction), False),
        (Geometry((11, 13, 17), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), (1, 0, 0, 0, -1, 0, 0, 0, 1)), False),
        (Geometry((11, 13, 17), (1.0, 2.0, 3.0), (5.0, 6.0, float("nan")), STRAIGHT.direction), False),
    ],
)
def test_the_same_grid_means_the_same_corners(other: Geometry, same: bool) -> None:
    assert STRAIGHT.same_grid(other) is same
    assert other.same_grid(STRAIGHT) is same


def test_a_voxel_has_its_volume_however_it_is_turned() -> None:
    assert turned().voxel_ml == pytest.approx(0.7 * 1.3 * 4.0 / 1000)
    assert turned(flip=-1).voxel_ml == pytest.approx(turned().voxel_ml)


class TestResampling:
    def ramp(self, grid: Geometry) -> Volume:
        """HU that grow by 10 per millimetre towards the head."""
        k, j, i = np.indices(grid.shape)
        points = np.einsum("rc,ckji->rkji", grid.affine_lps, np.stack([i, j, k, np.ones_like(i)]))
        return Volume((10 * points[2]).astype(np.float32), grid)

    def test_a_point_keeps_its_value_on_another_grid(self) -> None:
        source = self.ramp(turned((40, 40, 20)))
        centre = tuple((source.geometry.affine_lps @ [20, 20, 10, 1])[:3] - 4)
        onto = Geometry((4, 4, 4), (2.0, 2.0, 2.0), centre, (1, 0, 0, 0, 1, 0, 0, 0, 1))
        np.testing.assert_allclose(resample(source, onto).array, self.ramp(onto).array, atol=0.1)

    def test_outside_there_is_air_for_a_ct_and_zero_for_labels(self) -> None:
        far = Geometry((3, 3, 3), (1.0, 1.0, 1.0), (900.0, 900.0, 900.0), STRAIGHT.direction)
        assert (resample(numbered(STRAIGHT), far).array == -1024).all()
        assert (resample(Volume(np.ones(STRAIGHT.shape, np.uint8), STRAIGHT), far, order=0, outside=0).array == 0).all()

    def test_labels_stay_labels(self) -> None:
        labels = Volume((np.indices(STRAIGHT.shape).sum(axis=0) % 3).astype(np.uint8), STRAIGHT)
        onto = axis_aligned_grid(turned(), (0.9, 0.9, 0.9))
        assert set(np.unique(resample(labels, onto, order=0, outside=0).array)) <= {0, 1, 2}
        assert resample(labels, onto, order=0, outside=0).array.dtype == np.uint8


@pytest.mark.parametrize("grid", [STRAIGHT, turned(), turned(flip=-1)])
def test_the_axis_aligned_grid_covers_the_whole_scan(grid: Geometry) -> None:
    cover = axis_aligned_grid(grid, (1.5, 1.5, 2.0))
    assert cover.spacing == (1.5, 1.5, 2.0)
    assert cover.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    corners = np.array([[i, j, k, 1] for i in (0, grid.size[0] - 1) for j in (0, grid.size[1] - 1) for k in (0, grid.size[2] - 1)]).T
    inside = np.linalg.inv(cover.affine_lps) @ grid.affine_lps @ corners
    assert inside[:3].min() >= -0.5
    assert (np.array(cover.size) - 0.5 >= inside[:3].T).all()
    assert axis_aligned_grid(cover, (1.5, 1.5, 2.0)).size == cover.size


def test_monais_order_is_channel_i_j_k_and_back() -> None:
    array = numbered(STRAIGHT).array
    assert to_monai(array).shape == (1, 11, 13, 17)
    assert to_monai(array)[0, 2, 3, 5] == array[5, 3, 2]
    assert to_monai(array).flags.c_contiguous
    np.testing.assert_array_equal(from_monai(to_monai(array)[0]), array)


def test_what_simpleitk_lends_is_copied() -> None:
    image = to_sitk(numbered(STRAIGHT))
    volume = from_sitk(image)
    volume.array[...] = -5
    assert sitk.GetArrayViewFromImage(image)[1, 1, 1] != -5


def test_the_box_of_a_mask_is_the_smallest_and_its_margin_stays_in_the_array_unless_asked() -> None:
    mask = np.zeros((6, 7, 8), bool)
    mask[2, 3, 1] = mask[4, 3, 5] = True
    assert box_of(mask) == (slice(2, 5), slice(3, 4), slice(1, 6))
    assert box_of(mask, [1, 0, 2]) == (slice(1, 6), slice(3, 4), slice(0, 8))
    assert box_of(mask, 3, beyond=True) == (slice(-1, 8), slice(0, 7), slice(-2, 9))
