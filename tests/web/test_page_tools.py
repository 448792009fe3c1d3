"""The page's tools on real MRML with Slicer's own effects, voxel by voxel. They need trame-slicer, which has an environment of its own."""

import asyncio
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fedliver.image import Geometry, Volume
from fedliver.web import aside

pytest.importorskip("trame_slicer", reason="trame-slicer is not installed in this Python: “make test” runs this in .venv-app")
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
def made() -> Iterator[Any]:
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    from trame.app import get_server

    from fedliver.web.stage import Stage
    from fedliver.web.tools import Tools

    stage = Stage(get_server("tools", client_type="vue3"), lambda name: None)
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


def test_a_dab_of_paint_adds_liver_in_one_slice_and_undo_takes_it_away_and_redo_brings_it_back(bench: Bench) -> None:
    before = bench.labels()
    bench.tools.choose("paint")
    bench.dab(8, 5, 5)
    after = bench.labels()
    added = after != before
    assert after[8, 5, 5] == 1
    assert 8 <= added.sum() <= 16, "a disc of 8 mm is about a dozen voxels of 2 mm"
    assert set(np.nonzero(added)[0]) == {8}
    assert bench.tools.shown()["can_undo"]
    bench.tools.undo()
    assert (bench.labels() == before).all()
    bench.tools.redo()
    assert (bench.labels() == after).all()


def test_undo_keeps_the_liver_of_glass_in_3d(bench: Bench) -> None:
    display = bench.node.GetDisplayNode()
    assert display.GetSegmentOpacity3D("Liver") == 0.5
    bench.tools.choose("paint")
    bench.dab(8, 5, 5)
    bench.tools.undo()
    assert display.GetSegmentOpacity3D("Liver") == 0.5


def test_a_ball_reaches_into_the_neighbouring_slices(bench: Bench) -> None:
    before = bench.labels()
    bench.tools.choose("paint")
    bench.tools.set("ball", True)
    bench.dab(8, 5, 5)
    assert {7, 8, 9} <= set(np.nonzero(bench.labels() != before)[0])


def test_erasing_takes_liver_away(bench: Bench) -> None:
    bench.tools.choose("erase")
    bench.dab(5, 12, 12)
    assert bench.labels()[5, 12, 12] == 0


def test_tumour_stays_inside_the_liver_while_the_box_is_ticked_and_does_not_when_it_is_not(bench: Bench) -> None:
    bench.tools.choose_segment("Tumour")
    bench.tools.choose("paint")
    bench.dab(8, 10, 20)
    painted = bench.labels()
    assert painted[8, 10, 20] == 2, "inside the liver the tumour is drawn"
    assert (painted[8, :10] == 0).all(), "outside it nothing is"
    bench.tools.refine.keep_inside(False)
    bench.dab(8, 5, 20)
    assert bench.labels()[8, 5, 20] == 2


def test_soft_tissue_only_keeps_the_brush_off_fat(bench: Bench) -> None:
    before = bench.labels()
    bench.tools.refine.soft_tissue_only(True)
    bench.tools.choose("paint")
    bench.dab(8, 5, 5)
    assert (bench.labels() == before).all()


def test_islands_keep_the_largest_piece_and_remove_specks(bench: Bench) -> None:
    before = bench.labels()
    bench.tools.choose("paint")
    bench.dab(8, 3, 3)
    bench.tools.choose("islands")
    bench.apply("largest")
    assert (bench.labels() == before).all()
    bench.tools.choose("paint")
    bench.dab(8, 3, 3)
    bench.tools.choose("islands")
    bench.tools.set("island_ml", 0.5)
    bench.apply("specks")
    assert (bench.labels() == before).all()


def test_a_threshold_makes_the_tumour_what_is_dark_in_the_liver(bench: Bench) -> None:
    async def chosen() -> None:  # its blinking needs a running loop
        bench.tools.choose_segment("Tumour")
        bench.tools.choose("threshold")
        bench.tools.set("low", 0)
        bench.tools.set("high", 50)

    asyncio.get_event_loop().run_until_complete(chosen())
    bench.apply("threshold")
    bench.tools.choose("none")
    tumour = bench.labels() == 2
    assert tumour[6:10, 20:30, 20:30].all()
    assert tumour.sum() == 4 * 10 * 10


def test_smoothing_rounds_the_corners(bench: Bench) -> None:
    bench.tools.choose("smoothing")
    bench.tools.set("kernel_mm", 10.0)
    bench.apply("smooth")
    labels = bench.labels()
    assert labels[4, 10, 10] == 0
    assert labels[8, 15, 15] == 1


def test_scissors_cut_in_this_slice_only_and_through_all_when_asked(bench: Bench) -> None:
    from vtkmodules.vtkCommonCore import vtkPoints

    def cut() -> None:
        view = bench.stage.view("Axial")
        view.update_size(400, 400)
        view.fit_view_to_content()
        bench.stage.go("Axial", 8 * SIDE_MM)
        points = vtkPoints()
        for corner in ((0, 0), (400, 0), (400, 400), (0, 400)):
            points.InsertNextPoint(*corner, 0)
        bench.stage.editor.active_effect.apply_points_display_coordinates(points, view)

    bench.tools.choose("scissors")
    bench.tools.set("this_slice", True)
    cut()
    liver = (bench.labels() == 1).any(axis=(1, 2))
    assert not liver[8]
    assert liver[7]
    assert liver[9]
    bench.tools.set("this_slice", False)
    cut()
    assert not (bench.labels() == 1).any()


def test_ten_steps_can_be_undone_and_no_more(bench: Bench) -> None:
    bench.tools.choose("paint")
    for number in range(12):
        bench.dab(number, 5, 5)
    while bench.tools.shown()["can_undo"]:
        bench.tools.undo()
    assert [k for k in range(12) if bench.labels()[k, 5, 5]] == [0, 1]


def test_without_a_segmentation_no_tool_can_be_taken_and_undo_does_nothing(bench: Bench) -> None:
    bench.tools.choose("paint")
    bench.dab(8, 5, 5)
    bench.tools.refine.bind(None, None)
    bench.tools.choose("paint")
    bench.tools.undo()
    assert bench.labels()[8, 5, 5] == 1
    shown = bench.tools.shown()
    assert shown["tool"] == "none"
    assert shown["segments"] == []
    assert not shown["can_undo"]


def test_undo_goes_back_no_further_than_another_segmentation(bench: Bench) -> None:
    bench.tools.choose("paint")
    bench.dab(8, 5, 5)
    bench.tools.refine.bind(None, None)
    bench.tools.refine.bind(bench.node, bench.ct)
    assert not bench.tools.shown()["can_undo"]
    assert bench.labels()[8, 5, 5] == 1


def test_closing_a_ct_takes_its_outlines_along_and_no_others(bench: Bench) -> None:
    from fedliver.slicer import scene

    scans = bench.stage.scene
    other = scene.node_from_volume(scene.volume_from_node(bench.ct), "another CT")
    labels = Volume(bench.labels(), scene.geometry_of_node(bench.ct))
    drawn = scene.segmentation_from_labels(labels, other, "on the other")
    before = scans.GetNumberOfNodes()
    bench.stage.close(other)
    assert other.GetScene() is None
    assert drawn.GetScene() is None
    assert bench.ct.GetScene() is scans
    assert bench.node.GetScene() is scans
    assert scans.GetNumberOfNodes() <= before - 4, "two nodes, and what displayed them"


def test_a_stroke_whose_drawer_has_gone_counts_as_far_as_it_went_and_the_brush_is_lifted(bench: Bench) -> None:
    before = bench.labels()
    bench.tools.choose("paint")
    bench.stage.go("Axial", 8 * SIDE_MM)
    found = [pipeline for weak in bench.stage.editor.active_effect.pipelines if (pipeline := weak()) and pipeline._view is bench.stage.view("Axial")]
    brush = found[0].widget
    brush.update_widget_position([5 * SIDE_MM, 5 * SIDE_MM, 8 * SIDE_MM])
    brush.start_painting()
    brush.update_widget_position([5 * SIDE_MM, 5 * SIDE_MM, 8 * SIDE_MM])
    assert (bench.labels() == before).all(), "a stroke counts at its end"
    bench.tools.lay_down_the_stroke()
    assert bench.labels()[8, 5, 5] == 1
    assert not brush.is_painting()


def _by_the_editors_own_effect(bench: Bench, tool: str) -> np.ndarray:
    """The same on the whole scan and at once, as trame-slicer does it for its own pages; undone again."""
    from trame_slicer import segmentation as effects
    from trame_slicer.segmentation.segmentation_effect_smoothing import SmoothingEffectMode

    kinds = {"smooth": effects.SegmentationEffectSmoothing, "threshold": effects.SegmentationEffectThreshold}
    editor, settings = bench.stage.editor, bench.tools.settings

    async def act() -> None:
        effect = editor.set_active_effect_type(kinds.get(tool, effects.SegmentationEffectIslands))
        effect.set_mode(effects.ModificationMode.Set)
        if tool == "smooth":
            effect.set_smoothing_mode(SmoothingEffectMode.GAUSSIAN)
            effect.set_standard_deviation(settings.kernel_mm / 2)
            effect.apply_smoothing()
        elif tool == "threshold":
            effect.set_threshold_min_max_values((settings.low, settings.high))
            effect.apply()
        elif tool == "largest":
            effect.keep_largest_island()
        else:
            effect.remove_small_islands(bench.tools._voxels(settings.island_ml))
        editor.deactivate_effect()

    asyncio.get_event_loop().run_until_complete(act())
    labels = bench.labels()
    bench.tools.undo()
    return labels


AMIDST, AT_THE_EDGES = ((5, 15, 15), (11, 40, 40), (6, 30, 30)), ((5, 15, 15), (0, 0, 0), (15, 47, 47))


@pytest.mark.parametrize("places", [AMIDST, AT_THE_EDGES], ids=["amidst", "at the edges"])
@pytest.mark.parametrize("soft_tissue", [False, True])
@pytest.mark.parametrize("segment", ["Liver", "Tumour"])
@pytest.mark.parametrize(("tool", "what"), [("smoothing", "smooth"), ("islands", "largest"), ("islands", "specks"), ("threshold", "threshold")])
def test_aside_and_on_a_piece_an_effect_does_what_it_does_at_once_and_on_the_whole(
    bench: Bench, tool: str, what: str, segment: str, soft_tissue: bool, places: tuple[tuple[int, int, int], ...]
) -> None:
    bench.tools.refine.keep_inside(False)
    bench.tools.choose_segment(segment)
    bench.tools.choose("paint")
    for place in places:  # islands
        bench.dab(*place)
    bench.tools.refine.keep_inside(True)
    bench.tools.refine.soft_tissue_only(soft_tissue)
    bench.tools.set("kernel_mm", 6.0)
    bench.tools.set("island_ml", 2.0)
    bench.tools.set("high", 50.0)
    bench.tools.set("low", 0.0)
    before = bench.labels()
    expected = _by_the_editors_own_effect(bench, what)
    assert (bench.labels() == before).all()

    async def chosen() -> None:
        bench.tools.choose(tool)

    asyncio.get_event_loop().run_until_complete(chosen())
    bench.apply(what)
    np.testing.assert_array_equal(bench.labels(), expected)
    if not soft_tissue or segment == "Tumour":
        assert (expected != before).any(), "then this proves nothing"


@dataclass
class _Held:
    """Work that waits in its thread until it is let go."""

    bench: Bench

    def __enter__(self) -> threading.Event:
        go, works = threading.Event(), aside.largest_island
        self._restore = works

        def held() -> aside.Work:
            work = works()
            return aside.Work(lambda piece: work.do(piece) if go.wait(60) else None)

        aside.largest_island = held
        return go

    def __exit__(self, *_: object) -> None:
        aside.largest_island = self._restore


def test_while_a_tool_works_the_page_lives_and_no_other_tool_has_effect(bench: Bench) -> None:
    tools = bench.tools
    tools.choose("paint")
    bench.dab(8, 3, 3)
    before = bench.labels()

    async def scenario() -> None:
        with _Held(bench) as go:
            tools.choose("islands")
            tools.apply("largest")
            await asyncio.sleep(0)
            assert tools.shown()["working"], "the event loop was not held"
            tools.undo()
            tools.choose("paint")
            tools.apply("largest")
            bench.dab(8, 40, 3)
            assert tools.shown()["tool"] == "islands"
            assert (bench.labels() == before).all()
            go.set()
            await tools.until_done()

    asyncio.get_event_loop().run_until_complete(scenario())
    assert not tools.shown()["working"]
    assert not tools.shown()["dropped"]
    assert bench.labels()[8, 3, 3] == 0
    tools.undo()
    assert (bench.labels() == before).all(), "one press is one step"


@pytest.mark.parametrize("why", ["another segmentation", "it is being read"])
def test_what_comes_too_late_is_dropped_and_said(bench: Bench, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = bench.tools
    tools.choose("paint")
    bench.dab(8, 3, 3)
    before = bench.labels()

    async def scenario() -> None:
        with _Held(bench) as go:
            tools.choose("islands")
            tools.apply("largest")
            if why == "another segmentation":
                tools.refine.bind(None, None)
                tools.refine.bind(bench.node, bench.ct)
            else:
                monkeypatch.setattr(tools, "_may_change", lambda: False)
            go.set()
            await tools.until_done()

    asyncio.get_event_loop().run_until_complete(scenario())
    assert tools.shown()["dropped"]
    assert (bench.labels() == before).all()
    tools.choose("paint")
    assert not tools.shown()["dropped"]


def test_a_tool_that_fails_changes_nothing_says_so_and_the_next_one_works(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = bench.labels()
    bench.tools.choose("islands")
    with monkeypatch.context() as broken:
        broken.setattr(aside, "cut_out", lambda *_: 1 / 0)
        bench.apply("largest")
    assert bench.tools.shown()["dropped"]
    assert (bench.labels() == before).all()
    bench.apply("largest")
    assert not bench.tools.shown()["dropped"]


def test_of_an_empty_segment_there_is_nothing_to_smooth(bench: Bench) -> None:
    bench.tools.choose_segment("Tumour")
    bench.tools.choose("erase")
    bench.tools.refine.keep_inside(False)
    bench.tools.set("ball", True)
    bench.tools.set("brush_mm", 60.0)
    bench.dab(7, 22, 22)
    before = bench.labels()
    assert not (before == 2).any()
    for tool, what in (("smoothing", "smooth"), ("islands", "largest"), ("islands", "specks")):
        bench.tools.choose(tool)
        bench.apply(what)
    assert (bench.labels() == before).all()


def test_a_stroke_beside_the_scan_changes_nothing(bench: Bench) -> None:
    before = bench.labels()
    bench.tools.choose("paint")
    bench.dab(8, 200, 200)
    assert (bench.labels() == before).all()


def test_a_stroke_is_filled_in_its_segments_colour_while_it_is_drawn_and_erasing_in_none_of_theirs(bench: Bench) -> None:
    def shown() -> Any:
        return bench.stage.editor.active_effect._get_paint_parameters().paint_feedback_model_node.GetDisplayNode()

    def colour(segment: str) -> Any:
        return pytest.approx(bench.node.GetSegmentation().GetSegment(segment).GetColor())

    bench.tools.choose_segment("Liver")
    bench.tools.choose("paint")
    assert shown().GetSliceDisplayModeAsString(shown().GetSliceDisplayMode()) == "projection"
    assert shown().GetColor() == colour("Liver")
    bench.tools.choose_segment("Tumour")
    assert shown().GetColor() == colour("Tumour")
    bench.tools.choose("erase")
    assert shown().GetColor() not in (colour("Liver"), colour("Tumour"))
