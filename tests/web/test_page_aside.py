"""What a tool does at a press is done on a copy, in a thread: the same voxels, while the page lives on. They need trame-slicer."""

import asyncio
import threading
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("trame_slicer", reason="trame-slicer is not installed in this Python: “make test” runs this in .venv-app")

from tools_kit import Bench

from fedliver.web import aside


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
