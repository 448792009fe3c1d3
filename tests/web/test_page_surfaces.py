"""The outlines in 3D: in the right place, the right way round, made anew after a change, and never inside a stroke. They need trame-slicer."""

import asyncio
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fedliver.image import Geometry, Volume

pytest.importorskip("trame_slicer", reason="trame-slicer is not installed in this Python: “make test” runs this in .venv-app")
SHAPE = (20, 40, 40)
RADIUS_MM = 24.0


@dataclass
class Bench:
    scene: Any
    ct: Any
    node: Any
    surfaces: Any
    centre: np.ndarray
    firsts: list[str]

    def made(self) -> dict[str, Any]:
        """Look until nothing is left to be made; the surfaces by the models' names."""

        async def looked() -> None:
            self.surfaces._edited_at = 0.0  # the outlines rest
            self.surfaces.look()
            await self.surfaces.until_made()

        asyncio.get_event_loop().run_until_complete(looked())
        models = [self.scene.GetNthNodeByClass(number, "vtkMRMLModelNode") for number in range(self.scene.GetNumberOfNodesByClass("vtkMRMLModelNode"))]
        return {model.GetName(): model for model in models if model.GetName().endswith(" in 3D")}


def _geometry(mirrored: bool) -> Geometry:
    affine = np.diag([-2.0 if mirrored else 2.0, 2.0, 4.0, 1.0])
    affine[:3, 3] = (10.0, -20.0, 30.0)
    return Geometry.from_affine_ras(affine, SHAPE[::-1])


def _ball() -> np.ndarray:
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    labels = ((((k - 10) * 4.0) ** 2 + ((j - 20) * 2.0) ** 2 + ((i - 20) * 2.0) ** 2) < RADIUS_MM**2).astype(np.uint8)
    labels[9:11, 18:22, 18:22] = 2
    return labels


@pytest.fixture(scope="module")
def stage() -> Iterator[Any]:
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    from trame.app import get_server

    from fedliver.web.stage import Stage

    yield Stage(get_server("surfaces", client_type="vue3"), lambda name: None)
    for task in asyncio.all_tasks(loop):
        task.cancel()


@pytest.fixture(params=[False, True], ids=["as it is", "mirrored"])
def bench(stage: Any, request: pytest.FixtureRequest) -> Iterator[Bench]:
    from fedliver.slicer import scene
    from fedliver.web.surfaces import Surfaces

    geometry = _geometry(request.param)
    ct = scene.node_from_volume(Volume(np.zeros(SHAPE, np.int16), geometry), "CT")
    node = scene.segmentation_from_labels(Volume(_ball(), geometry), ct, "by hand")
    firsts: list[str] = []
    surfaces = Surfaces(stage.scene, lambda: None, lambda: firsts.append("first"))
    surfaces.follow(node)
    centre = (geometry.affine_ras @ (20.0, 20.0, 10.0, 1.0))[:3]
    bench = Bench(stage.scene, ct, node, surfaces, centre, firsts)
    yield bench
    surfaces.follow(None)
    for each in (node, ct):
        stage.scene.RemoveNode(each)


def _volume_ml(surface: Any) -> float:
    from vtkmodules.vtkFiltersCore import vtkMassProperties, vtkTriangleFilter

    triangles = vtkTriangleFilter()
    triangles.SetInputData(surface)
    mass = vtkMassProperties()
    mass.SetInputConnection(triangles.GetOutputPort())
    return float(mass.GetVolume() / 1000.0)


def test_a_surface_lies_where_the_segment_lies_has_its_size_and_looks_outwards(bench: Bench) -> None:
    bench.surfaces.show(True)
    made = bench.made()
    assert set(made) == {"Liver in 3D", "Tumour in 3D"}
    liver = made["Liver in 3D"]
    surface = liver.GetPolyData()
    centre = np.mean(np.reshape(surface.GetBounds(), (3, 2)), axis=1)
    np.testing.assert_allclose(centre, bench.centre, atol=2.0)
    half = np.diff(np.reshape(surface.GetBounds(), (3, 2)), axis=1) / 2
    np.testing.assert_allclose(half.ravel(), RADIUS_MM, atol=4.0)
    assert _volume_ml(surface) == pytest.approx(4 / 3 * math.pi * RADIUS_MM**3 / 1000.0, rel=0.15)
    from vtkmodules.util.numpy_support import vtk_to_numpy

    points, normals = vtk_to_numpy(surface.GetPoints().GetData()), vtk_to_numpy(surface.GetPointData().GetNormals())
    outer = np.linalg.norm(points - centre, axis=1) > RADIUS_MM / 2
    assert (((points - centre) * normals).sum(axis=1) > 0)[outer].mean() > 0.99, "light falls on its outside"
    assert liver.GetDisplayNode().GetOpacity() == 0.5, "a liver of glass, so that what lies in it is seen"
    assert made["Tumour in 3D"].GetDisplayNode().GetOpacity() == 1.0
    assert liver.GetDisplayNode().GetColor() == pytest.approx(bench.node.GetSegmentation().GetSegment("Liver").GetColor())


def test_nothing_is_made_until_it_is_wanted_and_hiding_it_takes_it_out_of_the_scene(bench: Bench) -> None:
    assert bench.made() == {}
    bench.surfaces.show(True)
    assert bench.made()
    before = bench.scene.GetNumberOfNodes()
    bench.surfaces.show(False)
    assert bench.scene.GetNumberOfNodes() == before - 4, "two models, and what displayed them"
    assert bench.made() == {}


def test_a_change_makes_them_anew_once_it_rests_and_the_segmentation_itself_keeps_no_surface(bench: Bench) -> None:
    import slicer

    bench.surfaces.show(True)
    before = _volume_ml(bench.made()["Liver in 3D"].GetPolyData())
    model = bench.made()["Liver in 3D"]
    half = (_ball() == 1).astype(np.uint8)
    half[SHAPE[0] // 2 :] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(half, bench.node, "Liver", bench.ct)
    bench.surfaces.look()
    assert not bench.surfaces.being_made, "while somebody draws, nothing is made"
    after = _volume_ml(bench.made()["Liver in 3D"].GetPolyData())
    assert after < 0.75 * before
    assert bench.made()["Liver in 3D"] is model
    assert bench.firsts == ["first"], "the view is turned to them once, and not while somebody looks"
    assert not bench.node.GetSegmentation().ContainsRepresentation("Closed surface"), "it would be made anew within every stroke"


def test_a_segment_that_has_gone_takes_its_surface_along_and_so_does_the_segmentation(bench: Bench) -> None:
    bench.surfaces.show(True)
    assert set(bench.made()) == {"Liver in 3D", "Tumour in 3D"}
    bench.node.GetSegmentation().RemoveSegment("Tumour")
    assert set(bench.made()) == {"Liver in 3D"}
    bench.surfaces.follow(None)
    assert bench.made() == {}


def test_where_making_fails_the_page_lives_on_and_the_next_change_tries_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench.surfaces.show(True)
    with monkeypatch.context() as broken:
        broken.setattr("fedliver.web.surfaces.surface_of", lambda image: 1 / 0)
        assert bench.made() == {}
    assert "ZeroDivisionError" in caplog.text
    assert not bench.surfaces.being_made
    bench.node.GetSegmentation().RemoveSegment("Tumour")
    assert set(bench.made()) == {"Liver in 3D"}
