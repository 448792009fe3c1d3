"""What takes long at a press, done by Slicer's own effects on a copy of the segment in a thread, so that the views stay alive.

Nothing here touches MRML: :func:`cut_out` copies what is needed in the thread that owns the scene, the :class:`Work` may be done in any other.
Slicer and trame-slicer are imported inside functions; an image is a ``vtkOrientedImageData``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Work:
    """``do``: from a piece of the segment, what is to take its place there, or None for no change. ``margin_mm``: how far beyond the segment it may
    reach; None for the whole of the scan."""

    do: Callable[[Any], Any]
    margin_mm: float | None = 0.0


def smoothing(standard_deviation_mm: float) -> Work:
    """Slicer's Gaussian smoothing. The median, which is the usual one, takes many seconds on a whole liver."""

    def do(piece: Any) -> Any:
        from trame_slicer.segmentation import SegmentationEffectSmoothing
        from trame_slicer.segmentation.segmentation_effect_smoothing import SmoothingEffectMode

        effect = SegmentationEffectSmoothing()
        effect.set_smoothing_mode(SmoothingEffectMode.GAUSSIAN)
        effect.set_standard_deviation(standard_deviation_mm)
        return _by_effect(effect, piece, lambda: effect.apply_smoothing())

    return Work(do, 5.0 * standard_deviation_mm)  # the filter looks 4 of them far


def largest_island() -> Work:
    def do(piece: Any) -> Any:
        from trame_slicer.segmentation import SegmentationEffectIslands

        effect = SegmentationEffectIslands()
        return _by_effect(effect, piece, lambda: effect.keep_largest_island())

    return Work(do)


def without_specks(voxels: int) -> Work:
    """Without islands of fewer voxels than that."""

    def do(piece: Any) -> Any:
        from trame_slicer.segmentation import SegmentationEffectIslands

        effect = SegmentationEffectIslands()
        return _by_effect(effect, piece, lambda: effect.remove_small_islands(voxels))

    return Work(do)


def threshold(scan: Any, low: float, high: float) -> Work:
    """What lies in the range, in HU, of ``scan``, the editor's aligned source volume."""

    def do(piece: Any) -> Any:
        from slicer import vtkOrientedImageData
        from vtkmodules.vtkImagingCore import vtkImageThreshold

        inside = vtkImageThreshold()
        inside.SetInputData(scan)
        inside.ThresholdBetween(low, high)
        inside.SetInValue(1)
        inside.SetOutValue(0)
        inside.SetOutputScalarType(piece.GetScalarType())
        inside.Update()
        made = vtkOrientedImageData()
        made.ShallowCopy(inside.GetOutput())
        made.CopyDirections(piece)
        return made

    return Work(do, None)


def cut_out(labelmap: Any, margin_mm: float | None) -> Any:
    """A copy of a segment's labelmap, no larger than the segment and a margin of it; None where the segment is empty."""
    from slicer import vtkOrientedImageData, vtkOrientedImageDataResample

    found = [0] * 6
    whole = labelmap.GetExtent()
    if margin_mm is None:
        found = list(whole)
    elif not vtkOrientedImageDataResample.CalculateEffectiveExtent(labelmap, found, 0.0) or found[1] < found[0]:
        return None
    piece = vtkOrientedImageData()
    vtkOrientedImageDataResample.CopyImage(labelmap, piece, _grown(found, margin_mm or 0.0, labelmap.GetSpacing(), whole))
    return piece


def change_only_there(modifier: Any) -> None:
    """Let trame-slicer's SegmentModifier look at no more of a change than where it is. It computes its masks for the whole scan, even for a dab of the
    brush: a second on a large one."""
    from slicer import vtkOrientedImageData, vtkOrientedImageDataResample

    apply = modifier.apply_labelmap

    def apply_piece(labelmap: Any, *, modifier_extent: Sequence[int] | None = None, **how: Any) -> None:
        if modifier_extent is not None:
            there = _within(modifier_extent, labelmap.GetExtent())
            if any(there[axis] > there[axis + 1] for axis in (0, 2, 4)):
                return  # beside the scan
            piece = vtkOrientedImageData()
            vtkOrientedImageDataResample.CopyImage(labelmap, piece, there)
            labelmap, modifier_extent = piece, there
        apply(labelmap, modifier_extent=modifier_extent, **how)

    modifier.apply_labelmap = apply_piece


def _within(extent: Sequence[int], whole: Sequence[int]) -> list[int]:
    return [max(value, limit) if number % 2 == 0 else min(value, limit) for number, (value, limit) in enumerate(zip(extent, whole, strict=True))]


def _grown(extent: Sequence[int], margin_mm: float, spacing: Sequence[float], whole: Sequence[int]) -> list[int]:
    voxels = [int(margin_mm / side) + 1 for side in spacing for _end in range(2)]
    return _within([value + (margin if number % 2 else -margin) for number, (value, margin) in enumerate(zip(extent, voxels, strict=True))], whole)


def _by_effect(effect: Any, piece: Any, act: Callable[[], None]) -> Any:
    """Let a new effect, which no editor knows, act on a copy; what it would have put into the segment."""
    copy = _OfACopy(piece)
    effect.set_editor(SimpleNamespace(active_segment_modifier=copy))
    effect.set_active(True)
    act()
    return copy.made


class _OfACopy:
    """What an effect takes for the editor's modifier: it reads and writes one labelmap, which belongs to nobody."""

    def __init__(self, labelmap: Any) -> None:
        self._labelmap = labelmap
        self.made: Any = None
        self.active_segment_id = "copy"
        self.modification_mode: Any = None

    def get_segment_labelmap(self, _identifier: str) -> Any:
        return self._labelmap

    def get_source_image_data(self) -> Any:
        return self._labelmap  # asked for its place in the world only

    def create_modifier_labelmap(self) -> Any:
        from slicer import vtkOrientedImageData, vtkOrientedImageDataResample

        empty = vtkOrientedImageData()
        empty.DeepCopy(self._labelmap)
        vtkOrientedImageDataResample.FillImage(empty, 0)
        return empty

    def apply_labelmap(self, labelmap: Any, **_how: Any) -> None:
        from slicer import vtkOrientedImageData

        self.made = vtkOrientedImageData()
        self.made.DeepCopy(labelmap)
