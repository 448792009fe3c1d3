"""A bench for the page's tools on real MRML, with Slicer's own effects. It needs trame-slicer, which has an environment of its own."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fedliver.image import Geometry, Volume

SHAPE = (16, 48, 48)
SIDE_MM = 2.0


@dataclass
class Bench:
    """A stage with one CT, a box of liver in it and a box of tumour in that, and the tools in hand."""

    stage: Any
    tools: Any
    ct: Any
    node: Any

    def labels(self) -> np.ndarray:
        from fedliver.slicer.scene import labels_from_segmentation

        return labels_from_segmentation(self.node, self.ct).array

    def apply(self, what: str) -> None:
        """Press, and wait until it is done."""

        async def pressed() -> None:
            self.tools.apply(what)
            await self.tools.until_done()

        asyncio.get_event_loop().run_until_complete(pressed())

    def dab(self, k: int, j: int, i: int) -> None:
        """One dab of the brush at a voxel, in the axial view."""
        view = self.stage.view("Axial")
        place = (i * SIDE_MM, j * SIDE_MM, k * SIDE_MM)
        self.stage.go("Axial", place[2])
        self.tools.stamp(place, view)


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Any]:
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    from trame.app import get_server

    from fedliver.web.stage import Stage
    from fedliver.web.tools import Tools

    stage = Stage(get_server(request.module.__name__, client_type="vue3"), lambda name: None)
    yield stage, Tools(stage.editor, stage.scene, lambda: None)
    for task in asyncio.all_tasks(loop):
        task.cancel()


@pytest.fixture
def bench(made: Any) -> Iterator[Bench]:
    from fedliver.slicer import scene

    stage, tools = made
    geometry = Geometry.from_affine_ras(np.diag([SIDE_MM, SIDE_MM, SIDE_MM, 1.0]), SHAPE[::-1])
    values = np.full(SHAPE, -100, np.int16)
    values[4:12, 10:38, 10:38] = 100
    values[6:10, 20:30, 20:30] = 20
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:12, 10:38, 10:38] = 1
    labels[6:8, 20:24, 20:24] = 2
    ct = scene.node_from_volume(Volume(values, geometry), "CT")
    node = scene.segmentation_from_labels(Volume(labels, geometry), ct, "by hand")
    scene.show_in_slices(ct)
    tools.refine.keep_inside(True)
    tools.refine.soft_tissue_only(False)
    tools.refine.bind(node, ct)
    tools.set("brush_mm", 8.0)
    tools.set("ball", False)
    yield Bench(stage, tools, ct, node)
    tools.refine.bind(None, None)
    for each in (node, ct):
        stage.scene.RemoveNode(each)
