"""The real Segment Editor's effects, by synthetic mouse events in the axial slice view."""

from collections.abc import Generator
from typing import Any

import numpy as np
import slicer
from walk import Pause, Until, Walk, expect

Steps = Generator[Until | Pause, None, str | None]
SETTLE = 0.5


def mask(walk: Walk, name: str) -> np.ndarray:
    """A segment's voxels on the CT's grid, (k, j, i)."""
    node = walk.workflow.case.segmentation_node
    identifier = node.GetSegmentation().GetSegmentIdBySegmentName(name)
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, walk.workflow.case.ct_node).astype(bool)


def choose(walk: Walk, segment: str, effect: str | None, radius_mm: float = 8.0) -> Any:
    """Select a segment and an effect in the editor, as its list and its buttons do."""
    editor = walk.panel.editor._widget
    node = walk.workflow.case.segmentation_node
    editor.setCurrentSegmentID(node.GetSegmentation().GetSegmentIdBySegmentName(segment))
    if effect is None:
        editor.setActiveEffect(None)
        return None
    editor.setActiveEffectByName(effect)
    active = editor.activeEffect()
    expect(active is not None, f"the editor has no {effect}")
    if effect in ("Paint", "Erase"):
        active.setParameter("BrushDiameterIsRelative", 0)
        active.setParameter("BrushAbsoluteDiameter", 2 * radius_mm)
    return active


def ras_of(walk: Walk, place: Any) -> np.ndarray:
    """The centre of voxel (k, j, i)."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    walk.workflow.case.ct_node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)[:3] @ [*reversed([int(index) for index in place]), 1.0]


def stroke(walk: Walk, place: Any, along: tuple[float, float] = (12.0, 0.0)) -> None:
    """A short stroke in the axial view, from voxel (k, j, i) on."""
    import vtk

    start = ras_of(walk, place)
    widget = slicer.app.layoutManager().sliceWidget("Red")
    widget.mrmlSliceNode().JumpSliceByCentering(*start)
    slicer.app.processEvents()
    inverse = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(widget.mrmlSliceNode().GetXYToRAS(), inverse)
    to_xy = slicer.util.arrayFromVTKMatrix(inverse)
    first = (to_xy @ [*start, 1.0])[:2]
    last = (to_xy @ [start[0] + along[0], start[1] + along[1], start[2], 1.0])[:2]
    slicer.util.clickAndDrag(widget, start=tuple(int(v) for v in first), end=tuple(int(v) for v in last), steps=8)


def middle(voxels: np.ndarray) -> tuple[int, int, int]:
    """A voxel deep inside: the deepest of the slice with the most."""
    from scipy.ndimage import distance_transform_edt

    k = int(voxels.sum(axis=(1, 2)).argmax())
    j, i = np.unravel_index(distance_transform_edt(voxels[k]).argmax(), voxels[k].shape)
    return k, int(j), int(i)


def paint_and_undo(walk: Walk) -> Steps:
    """Paint liver, see that it is noticed, undo: one step back. The time of correction counts."""
    if walk.workflow.case.segmentation_node is None:
        walk.press("segmentButton")
        yield walk.idle(1200.0)
    yield Pause(SETTLE)
    before = mask(walk, "Liver")
    # beside the liver: soft tissue a little outside of it, in its largest slice
    from scipy.ndimage import binary_dilation

    inside = before | mask(walk, "Tumour")
    k = int(inside.sum(axis=(1, 2)).argmax())
    rim = binary_dilation(inside[k], iterations=6) & ~inside[k]
    rows, columns = rim.nonzero()
    choose(walk, "Liver", "Paint", 6.0)
    yield Pause(SETTLE)
    walk.pulse.reset()
    stroke(walk, (k, rows[0], columns[0]))
    yield Pause(SETTLE)
    pause = walk.pulse.longest()
    painted = int((mask(walk, "Liver") & ~before).sum())
    expect(painted > 0, "the stroke drew nothing")
    expect(walk.workflow.state.edited, "the edit was not noticed")
    walk.picture("4-painted")
    walk.panel.editor._widget.undo()
    yield Pause(SETTLE)
    expect((mask(walk, "Liver") == before).all(), "undo did not bring back what was there")
    stroke(walk, (k, rows[0], columns[0]))
    yield Pause(SETTLE)
    choose(walk, "Liver", None)
    return f"{painted} voxels painted, undone, painted again; pause {pause:.2f} s"


def inside_the_liver(walk: Walk) -> Steps:
    """With "Keep the tumour inside the liver" strokes outside have no effect, strokes inside do; switched off, they have effect everywhere."""
    yield Pause(SETTLE)
    liver = mask(walk, "Liver") | mask(walk, "Tumour")
    outside = np.zeros_like(liver)
    k = int(liver.sum(axis=(1, 2)).argmax())
    body = slicer.util.arrayFromVolume(walk.workflow.case.ct_node)[k] > -50
    from scipy.ndimage import binary_dilation, binary_erosion

    outside[k] = binary_erosion(body, iterations=4) & ~binary_dilation(liver[k], iterations=8)
    beyond = middle(outside)
    walk.panel.ui.keepInsideCheckBox.checked = True
    choose(walk, "Tumour", "Paint", 4.0)
    yield Pause(SETTLE)
    before = mask(walk, "Tumour")
    stroke(walk, beyond, (4.0, 0.0))
    yield Pause(SETTLE)
    expect((mask(walk, "Tumour") == before).all(), "a stroke outside the liver had an effect")
    stroke(walk, middle(mask(walk, "Liver")), (4.0, 0.0))
    yield Pause(SETTLE)
    drawn = int((mask(walk, "Tumour") & ~before).sum())
    expect(drawn > 0, "a stroke inside the liver had no effect")
    still = mask(walk, "Liver") | mask(walk, "Tumour")
    expect((still == liver).all(), "liver and tumour together have changed")
    walk.panel.ui.keepInsideCheckBox.checked = False
    yield Pause(SETTLE)
    stroke(walk, beyond, (4.0, 0.0))
    yield Pause(SETTLE)
    out = int((mask(walk, "Tumour") & outside).sum())
    expect(out > 0, "with the mask off a stroke outside still has no effect")
    walk.panel.editor._widget.undo()
    walk.panel.ui.keepInsideCheckBox.checked = True
    choose(walk, "Tumour", None)
    yield Pause(SETTLE)
    return f"outside nothing, inside {drawn} voxels, unmasked outside {out}"


def soft_tissue_only(walk: Walk) -> Steps:
    """With "Draw on soft tissue only" strokes over air and lung have no effect."""
    yield Pause(SETTLE)
    ct = slicer.util.arrayFromVolume(walk.workflow.case.ct_node)
    k = int(mask(walk, "Liver").sum(axis=(1, 2)).argmax())
    air = np.zeros(ct.shape, dtype=bool)
    air[k] = ct[k] < -500
    walk.panel.ui.softTissueCheckBox.checked = True
    choose(walk, "Liver", "Paint", 4.0)
    yield Pause(SETTLE)
    before = mask(walk, "Liver")
    stroke(walk, middle(air), (4.0, 0.0))
    yield Pause(SETTLE)
    expect((mask(walk, "Liver") == before).all(), "a stroke over air had an effect")
    walk.panel.ui.softTissueCheckBox.checked = False
    yield Pause(SETTLE)
    stroke(walk, middle(air), (4.0, 0.0))
    yield Pause(SETTLE)
    drawn = int((mask(walk, "Liver") & ~before).sum())
    expect(drawn > 0, "with the box off a stroke over air has no effect either: the test shows nothing")
    walk.panel.editor._widget.undo()
    choose(walk, "Liver", None)
    yield Pause(SETTLE)
    return f"over air nothing; with the box off {drawn} voxels"
