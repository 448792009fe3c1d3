"""Slicer's own segment editor effects in the page: which tool is in hand, its settings, undo and redo. trame-slicer is imported inside functions."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedliver.error_details import details_of
from fedliver.slicer.editor import SINGLETON_TAG, SOFT_TISSUE_HU, RefineEditor
from fedliver.web import aside

NO_TOOL = "none"
TOOLS = (NO_TOOL, "paint", "erase", "scissors", "islands", "threshold", "smoothing")
BRUSHES = ("paint", "erase")
_IN_THE_VIEWS = (*BRUSHES, "scissors", "threshold")
_ERASED = (0.2, 0.2, 0.2)
_LOG = logging.getLogger("fedliver")


class Settings(BaseModel):
    """``brush_mm``: the brush's diameter; ``ball``: it reaches into the neighbouring slices; ``low``, ``high``: the threshold's range in HU;
    ``kernel_mm``: of smoothing; ``island_ml``: smaller islands are specks; ``this_slice``: scissors cut no other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    brush_mm: float = Field(default=15.0, ge=1.0, le=100.0, allow_inf_nan=False)
    ball: bool = False
    low: float = Field(default=SOFT_TISSUE_HU[0], ge=-2000.0, le=4000.0, allow_inf_nan=False)
    high: float = Field(default=SOFT_TISSUE_HU[1], ge=-2000.0, le=4000.0, allow_inf_nan=False)
    kernel_mm: float = Field(default=3.0, ge=1.0, le=20.0, allow_inf_nan=False)
    island_ml: float = Field(default=1.0, ge=0.0, le=1000.0, allow_inf_nan=False)
    cut: Literal["ERASE_INSIDE", "ERASE_OUTSIDE", "FILL_INSIDE"] = "ERASE_INSIDE"
    this_slice: bool = True

    def changed(self, name: str, value: Any) -> "Settings":
        """With one setting changed; a name or a value that cannot be changes nothing."""
        try:
            settings = Settings.model_validate({**self.model_dump(), name: value})
        except ValidationError:
            return self
        return settings if settings.low <= settings.high else self


class Tools:
    """``editor``: trame-slicer's SegmentationEditor. ``changed``: called when what is :meth:`shown` has changed. ``may_change``: whether the
    outlines may be changed now, asked when something that took a while is done."""

    def __init__(self, editor: Any, scene: Any, changed: Callable[[], None], may_change: Callable[[], bool] = lambda: True) -> None:
        from undo_stack import UndoStack

        self.settings = Settings()
        self._changed = changed
        self._may_change = may_change
        self._working: asyncio.Task[None] | None = None
        self._dropped = False
        self._edits = 0
        self._tool = NO_TOOL
        self._editor = editor
        self._undo = UndoStack(undo_limit=1)
        self._undo.index_changed.connect(self._count_edit)
        editor.set_undo_stack(self._undo)
        editor.editor_node.SetSingletonTag(SINGLETON_TAG)  # the desktop's RefineEditor finds its node by it
        self._widget = _EditorOfThePage(editor, self._undo, self._forget)
        self.refine = RefineEditor(self._widget, scene)

    # ---- what is in hand

    def choose(self, tool: str) -> None:
        """Take this tool in hand; :data:`NO_TOOL` lays it down. Without a segmentation there is nothing to work on."""
        if tool not in TOOLS or tool == self._tool or (tool != NO_TOOL and not self._is_free()):
            return
        self._tool = tool
        self._dropped = False
        if tool in _IN_THE_VIEWS:
            self._editor.set_active_effect_type(_effect_types()[tool])
            self._apply_settings()
        else:
            self._editor.deactivate_effect()

    def choose_segment(self, identifier: str) -> None:
        """Draw on this segment from now on."""
        if self._is_free() and identifier in self._editor.get_segment_ids():
            self._editor.set_active_segment_id(identifier)
            self._editor.editor_node.SetSelectedSegmentID(identifier)
            self._apply_settings()

    def set(self, name: str, value: Any) -> None:
        """Change one of the :class:`Settings`."""
        self.settings = self.settings.changed(str(name), value)
        self._apply_settings()

    def lay_down_the_stroke(self) -> None:
        """Whoever was drawing has gone, in the middle of a stroke: what was drawn so far counts, and the brush is lifted."""
        effect = self._editor.active_effect
        for pipeline in [weak() for weak in effect.pipelines] if effect is not None else []:
            if pipeline is not None and self._tool in BRUSHES:
                pipeline.LoseFocus(None)

    # ---- what a press does

    def undo(self) -> None:
        if self._is_free():
            with self._looks_kept():
                self._undo.undo()

    def redo(self) -> None:
        if self._is_free():
            with self._looks_kept():
                self._undo.redo()

    def apply(self, what: str) -> None:
        """Begin what a tool does at a press: "largest", "specks", "threshold", "smooth". It takes a while; until it is done no tool has effect."""
        settings = self.settings
        works: dict[tuple[str, str], Callable[[], aside.Work]] = {
            ("islands", "largest"): aside.largest_island,
            ("islands", "specks"): lambda: aside.without_specks(self._voxels(settings.island_ml)),
            ("threshold", "threshold"): lambda: aside.threshold(self._editor.active_segment_modifier.get_source_image_data(), settings.low, settings.high),
            ("smoothing", "smooth"): lambda: aside.smoothing(settings.kernel_mm / 2),
        }
        work = works.get((self._tool, what))
        if work is not None and self._is_free():
            self._working = asyncio.ensure_future(self._do_aside(work(), self._editor.active_segment_modifier))
            self._dropped = False

    async def until_done(self) -> None:
        """Until what :meth:`apply` began has ended."""
        if self._working is not None:
            await self._working

    async def _do_aside(self, work: aside.Work, modifier: Any) -> None:
        segment = modifier.active_segment_id
        made = None
        try:
            piece = aside.cut_out(modifier.get_segment_labelmap(segment), work.margin_mm)
            made = await asyncio.to_thread(work.do, piece) if piece is not None else None
        except Exception as error:
            self._dropped = True
            _LOG.error("A tool failed.\n%s", details_of(error))
        finally:
            self._working = None
        if made is not None:
            self._put(made, segment, modifier)
        self._changed()

    def _put(self, made: Any, segment: str, modifier: Any) -> None:
        """Give a segment what was made for it, unless it is not in hand any more, or is being read."""
        from trame_slicer.segmentation import ModificationMode

        self._dropped = not (self._is_bound() and self._editor.active_segment_modifier is modifier and self._may_change())
        if not self._dropped:
            modifier.apply_labelmap(made, segment_id=segment, modification_mode=ModificationMode.Set, modifier_extent=made.GetExtent())

    def stamp(self, place: tuple[float, float, float], view: Any) -> None:
        """One dab of the brush at a place (RAS millimetres) in the plane of a slice view: drawing with the keyboard."""
        if self._tool not in BRUSHES or not self._is_free():
            return
        from trame_slicer.segmentation import BrushShape, BrushSource
        from vtkmodules.vtkCommonCore import vtkPoints

        brush = BrushSource(BrushShape.Sphere if self.settings.ball else BrushShape.Cylinder, self.settings.brush_mm, view.get_slice_step() / 2.0)
        if not self.settings.ball:
            brush.set_brush_rotation(view.get_view_node().GetSliceToRAS())
        source = brush.get_untransformed_output_port().GetProducer()
        source.Update()
        points = vtkPoints()
        points.InsertNextPoint(place)
        self._editor.active_segment_modifier.apply_glyph(source.GetOutput(), points)

    # ---- for the page

    def shown(self) -> dict[str, Any]:
        """``edits``: grows with every step, and every step back: whoever drew sees by it that the stroke is in the segmentation."""
        settings, editor = self.settings, self._editor
        segments = [{"id": identifier, "name": editor.get_segment(identifier).GetName()} for identifier in editor.get_segment_ids()] if self._is_bound() else []
        return {
            "tool": self._tool,
            "segments": segments,
            "segment": editor.get_active_segment_id() if self._is_bound() else "",
            "can_undo": self._undo.can_undo(),
            "can_redo": self._undo.can_redo(),
            "drawing": settings.model_dump(),
            "working": self._working is not None,
            "dropped": self._dropped,
            "edits": self._edits,
        }

    # ----

    @contextmanager
    def _looks_kept(self) -> Iterator[None]:
        """Undo puts other segments in the place of those there are, and MRML forgets how they were shown: the liver's glass in 3D."""
        node = self._widget.segmentationNode()
        display = node.GetDisplayNode() if node is not None else None
        if display is None:
            yield
            return
        opacity = {identifier: display.GetSegmentOpacity3D(identifier) for identifier in node.GetSegmentation().GetSegmentIDs()}
        yield
        for identifier, value in opacity.items():
            if node.GetSegmentation().GetSegment(identifier) is not None:
                display.SetSegmentOpacity3D(identifier, value)

    def _is_bound(self) -> bool:
        return self._widget.segmentationNode() is not None and self._widget.sourceVolumeNode() is not None

    def _count_edit(self, _index: int) -> None:
        self._edits += 1
        self._changed()

    def _is_free(self) -> bool:
        return self._is_bound() and self._working is None

    def _forget(self) -> None:
        self._tool = NO_TOOL

    def _voxels(self, ml: float) -> int:
        spacing = self._editor.active_volume_node.GetSpacing()
        return round(ml * 1000.0 / (spacing[0] * spacing[1] * spacing[2]))

    def _apply_settings(self) -> None:
        effect, settings = self._editor.active_effect, self.settings
        if self._tool in BRUSHES:
            from trame_slicer.segmentation import BrushDiameterMode

            effect.set_brush_diameter(settings.brush_mm, BrushDiameterMode.Absolute)
            effect.set_use_sphere_brush(settings.ball)
            _show_stroke(effect, self._editor.get_segment(self._editor.get_active_segment_id()).GetColor() if self._tool == "paint" else _ERASED)
        elif self._tool == "threshold":
            from trame_slicer.segmentation import ModificationMode

            effect.set_mode(ModificationMode.Set)  # as on the desktop: the segment becomes what lies in the range, within the mask
            effect.set_threshold_min_max_values((settings.low, settings.high))
        elif self._tool == "scissors":
            _set_scissors(effect, settings)


def _show_stroke(effect: Any, colour: tuple[float, float, float]) -> None:
    """Fill the stroke while it is drawn: it is in the segmentation at its end only, and trame-slicer would show circles until then."""
    display = effect._get_paint_parameters().paint_feedback_model_node.GetDisplayNode()
    display.SetSliceDisplayModeToProjection()
    display.SetColor(*colour)


def _set_scissors(effect: Any, settings: Settings) -> None:
    from trame_slicer.segmentation import ScissorsEffectFillMode, ScissorsEffectRangeMode

    effect.set_fill_mode(ScissorsEffectFillMode[settings.cut])
    effect.set_range_mode(ScissorsEffectRangeMode.SYMMETRIC if settings.this_slice else ScissorsEffectRangeMode.UNLIMITED)
    effect.set_symmetric_distance(0.0)


def _effect_types() -> dict[str, Any]:
    from trame_slicer import segmentation as effects

    return {
        "paint": effects.SegmentationEffectPaint,
        "erase": effects.SegmentationEffectErase,
        "scissors": effects.SegmentationEffectScissors,
        "threshold": effects.SegmentationEffectThreshold,
    }


class _EditorOfThePage:
    """trame-slicer's editor by the names that the desktop's qMRMLSegmentEditorWidget has, as far as RefineEditor calls them."""

    def __init__(self, editor: Any, undo: Any, laid_down: Callable[[], None]) -> None:
        self._editor = editor
        self._undo = undo
        self._laid_down = laid_down
        self._segmentation: Any = None
        self._volume: Any = None

    def setMaximumNumberOfUndoStates(self, count: int) -> None:  # noqa: N802 Slicer's names are Slicer's
        self._undo._undo_limit = count

    def setMRMLSegmentEditorNode(self, node: Any) -> None:  # noqa: N802
        """It is the editor's own already, found by its tag."""

    def segmentationNode(self) -> Any:  # noqa: N802
        return self._segmentation

    def sourceVolumeNode(self) -> Any:  # noqa: N802
        return self._volume

    def setSegmentationNode(self, node: Any) -> None:  # noqa: N802
        self._segmentation, self._volume = node, None
        self.setActiveEffect(None)
        self._undo.clear()

    def setSourceVolumeNode(self, node: Any) -> None:  # noqa: N802
        self._volume = node
        if node is not None and self._segmentation is not None:
            self._editor.set_active_segmentation(self._segmentation, node)
            self._editor.editor_node.SetSelectedSegmentID(self._editor.get_active_segment_id())
            aside.change_only_there(self._editor.active_segment_modifier)
            self._laid_down()

    def setActiveEffect(self, _effect: None) -> None:  # noqa: N802
        self._editor.deactivate_effect()
        self._laid_down()

    def _nothing_to_do(self, *_values: Any) -> None:
        """The page has no selectors to hide and its own keyboard."""

    setMRMLScene = setSegmentationNodeSelectorVisible = setSourceVolumeNodeSelectorVisible = setSwitchToSegmentationsButtonVisible = _nothing_to_do  # noqa: N815
    installKeyboardShortcuts = setupViewObservations = uninstallKeyboardShortcuts = removeViewObservations = _nothing_to_do  # noqa: N815
