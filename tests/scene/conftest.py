"""Scene tests use the real MRML of 3D Slicer, from the wheel slicer-core. Volumes are oblique and anisotropic unless a test says otherwise."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fedliver.image import Geometry, Volume

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install '.[scene]')")


def oblique_geometry(size: tuple[int, int, int] = (23, 19, 13)) -> Geometry:
    """Turned about all three axes, with three different spacings, far from the origin, left-handed in k."""
    a, b, c = 0.31, -0.22, 0.17
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_y = np.array([[np.cos(c), 0, np.sin(c)], [0, 1, 0], [-np.sin(c), 0, np.cos(c)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ about_y @ np.diag([0.73, 0.91, -3.1])
    affine[:3, 3] = [-112.4, 33.7, -1204.9]
    return Geometry.from_affine_ras(affine, size)


@pytest.fixture
def scene() -> Iterator[Any]:
    import slicer

    from fedliver.slicer import headless

    application = headless.start()
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(1)
    del application


@pytest.fixture
def ct() -> Volume:
    geometry = oblique_geometry()
    return Volume(np.random.default_rng(1).integers(-1024, 1500, geometry.shape).astype(np.int16), geometry)


@pytest.fixture
def labels(ct: Volume) -> Volume:
    array = np.zeros(ct.array.shape, np.uint8)
    array[2:11, 3:16, 4:20] = 1
    array[5:8, 6:10, 9:14] = 2
    array[0, 0, 0] = 1  # a corner of the grid, where an off-by-one extent shows
    array[-1, -1, -1] = 2
    return ct.with_array(array)
