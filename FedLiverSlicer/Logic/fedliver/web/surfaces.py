"""The outlines as surfaces in the 3D view. They are made of copies in a thread: neither the views nor a stroke wait for them.

Slicer can keep surfaces in the segmentation itself, but then makes them anew within every stroke, which takes a second on a liver.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedliver.error_details import details_of
from fedliver.slicer.edits import EditWatch

_REST_SECONDS = 0.3
_SMOOTHING = 0.5
_ITERATIONS = 20
_LOG = logging.getLogger("fedliver")


@dataclass(frozen=True)
class _Outline:
    """A copy of a segment, and how it is shown. ``image``: a ``vtkOrientedImageData`` of zeros and ones."""

    identifier: str
    name: str
    image: Any
    colour: tuple[float, float, float]
    opacity: float


class Surfaces:
    """Parameters
    ----------
    scene:
        Where the surfaces are put, as models that no file keeps.
    changed:
        Called when the making begins or ends.
    made_first:
        Called when a segmentation shows for the first time: the view can be turned to it.
    """

    def __init__(self, scene: Any, changed: Callable[[], None], made_first: Callable[[], None]) -> None:
        self._scene = scene
        self._changed = changed
        self._made_first = made_first
        self._watch = EditWatch(self._edited)
        self._node: Any = None
        self._wanted = False
        self._fresh = False
        self._edited_at = 0.0
        self._models: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def being_made(self) -> bool:
        return self._task is not None

    def show(self, wanted: bool) -> None:
        """Whether there are surfaces."""
        self._wanted = wanted
        self._fresh = False
        if not wanted:
            self._forget()

    def follow(self, node: Any) -> None:
        """Show this segmentation from now on; None for none."""
        if node is self._node:
            return
        self._node = node
        self._watch.follow(node)
        self._fresh = False
        self._forget()

    def look(self) -> None:
        """What a timer calls: begin to make the surfaces anew when the outlines have changed and rest."""
        if self._wanted and self._node is not None and not self._fresh and self._task is None and time.monotonic() - self._edited_at > _REST_SECONDS:
            self._task = asyncio.ensure_future(self._make())
            self._changed()

    async def until_made(self) -> None:
        """Until nothing is being made; for tests and for whoever takes a picture."""
        if self._task is not None:
            await self._task

    def _edited(self) -> None:
        self._fresh = False
        self._edited_at = time.monotonic()

    async def _make(self) -> None:
        node = self._node
        self._fresh = True
        try:
            outlines = _outlines_of(node)
            surfaces = await asyncio.to_thread(lambda: [surface_of(outline.image) for outline in outlines])
            if node is self._node and self._wanted:
                self._put(outlines, surfaces)
        except Exception as error:  # what is in the slices counts; the next change tries again
            _LOG.error("The 3D view was not made.\n%s", details_of(error))
        finally:
            self._task = None
            self._changed()

    def _put(self, outlines: list[_Outline], surfaces: list[Any]) -> None:
        first = not self._models
        for identifier in set(self._models) - {outline.identifier for outline in outlines}:
            self._remove(self._models.pop(identifier))
        for outline, surface in zip(outlines, surfaces, strict=True):
            model = self._models.get(outline.identifier) or self._new_model(outline)
            model.SetAndObservePolyData(surface)
            display = model.GetDisplayNode()
            display.SetColor(*outline.colour)
            display.SetOpacity(outline.opacity)
        if first and outlines:
            self._made_first()

    def _new_model(self, outline: _Outline) -> Any:
        model = self._scene.AddNewNodeByClass("vtkMRMLModelNode", f"{outline.name} in 3D")
        model.SetSaveWithScene(False)
        model.SetHideFromEditors(True)
        model.SetSelectable(False)
        model.CreateDefaultDisplayNodes()
        self._models[outline.identifier] = model
        return model

    def _forget(self) -> None:
        while self._models:
            self._remove(self._models.popitem()[1])

    def _remove(self, model: Any) -> None:
        self._scene.RemoveNode(model.GetDisplayNode())
        self._scene.RemoveNode(model)


def _outlines_of(node: Any) -> list[_Outline]:
    """Copies of a segmentation node's segments that are not empty."""
    import slicer

    segmentation, display = node.GetSegmentation(), node.GetDisplayNode()
    found = []
    for identifier in segmentation.GetSegmentIDs():
        image = slicer.vtkOrientedImageData()
        segment = segmentation.GetSegment(identifier)
        if node.GetBinaryLabelmapRepresentation(identifier, image) and image.GetNumberOfPoints() > 0:
            opacity = display.GetSegmentOpacity3D(identifier) if display is not None else 1.0
            found.append(_Outline(identifier, segment.GetName(), image, segment.GetColor(), opacity))
    return found


def surface_of(image: Any) -> Any:
    """The smoothed surface, in RAS millimetres, of a ``vtkOrientedImageData`` of zeros and ones; a ``vtkPolyData``. As Slicer's conversion makes it."""
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkCommonTransforms import vtkTransform
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkPolyDataNormals, vtkReverseSense, vtkWindowedSincPolyDataFilter
    from vtkmodules.vtkFiltersGeneral import vtkTransformPolyDataFilter
    from vtkmodules.vtkImagingCore import vtkImageConstantPad

    matrix = vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    voxels = vtkImageData()
    voxels.ShallowCopy(image)
    voxels.SetOrigin(0.0, 0.0, 0.0)
    voxels.SetSpacing(1.0, 1.0, 1.0)
    extent = image.GetExtent()
    pad = vtkImageConstantPad()
    pad.SetInputData(voxels)
    pad.SetOutputWholeExtent(*(end + way for end, way in zip(extent, (-1, 1) * 3, strict=True)))
    edges = vtkFlyingEdges3D()
    edges.SetInputConnection(pad.GetOutputPort())
    edges.SetValue(0, 0.5)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    smooth = vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(edges.GetOutputPort())
    smooth.SetNumberOfIterations(_ITERATIONS)
    smooth.SetPassBand(10.0 ** (-4.0 * _SMOOTHING))
    smooth.BoundarySmoothingOff()
    smooth.FeatureEdgeSmoothingOff()
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    to_world = vtkTransform()
    to_world.SetMatrix(matrix)
    placed = vtkTransformPolyDataFilter()
    placed.SetTransform(to_world)
    placed.SetInputConnection(smooth.GetOutputPort())
    turned: Any = placed
    if matrix.Determinant() < 0:  # a mirror turns every triangle inside out
        turned = vtkReverseSense()
        turned.SetInputConnection(placed.GetOutputPort())
    normals = vtkPolyDataNormals()
    normals.SetInputConnection(turned.GetOutputPort())
    normals.SplittingOff()
    normals.ConsistencyOff()
    normals.Update()
    return normals.GetOutput()
