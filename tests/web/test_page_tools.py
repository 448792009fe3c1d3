"""The page's tools on real MRML with Slicer's own effects, voxel by voxel. They need trame-slicer, which has an environment of its own."""

import asyncio
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trame_slicer", reason="trame-slicer is not installed in this Python: “make test” runs this in .venv-app")

from tools_kit import SIDE_MM, Bench

from fedliver.image import Volume


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
