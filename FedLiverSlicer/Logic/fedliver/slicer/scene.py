"""MRML scene <-> arrays. Works in the desktop and in slicer-core; ``slicer`` and ``vtk`` are imported inside functions.

MRML is RAS and millimetres; :class:`~fedliver.image.Geometry` is LPS. The crossing is ``Geometry.affine_ras`` / ``from_affine_ras``.
Everything here must run in the thread of the window: MRML is not to be touched from a worker.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume, box_of
from fedliver.labels import BACKGROUND, LIVER_STRUCTURE, STRUCTURES, Structure, structure_of

TEACHER_ATTRIBUTE = "FedLiver.Teacher"
TEACHER_HASH_ATTRIBUTE = "FedLiver.TeacherSha256"
CASE_ATTRIBUTE = "FedLiver.Case"
ORTHOGONAL_TOLERANCE = 1e-3
ON_GRID_MM = 0.01
Box = tuple[slice, slice, slice]
_OPACITY_3D = 0.5  # of the liver: the tumours inside are what one wants to see


def ct_problem(node: Any) -> str:
    """One sentence that says why ``node`` cannot be segmented, and what to do; empty when it can be tried.

    Looks at the node only, never at its voxels, so it may be called at every selection.
    """
    if node is None:
        return ""
    if node.IsA("vtkMRMLLabelMapVolumeNode") or node.IsA("vtkMRMLVectorVolumeNode"):
        return "This is no CT: choose a scalar volume."
    image = node.GetImageData()
    if image is None or 0 in image.GetDimensions():
        return "This volume is empty: load the CT again."
    if image.GetNumberOfScalarComponents() != 1:
        return "This volume has several values per voxel, so it is no CT."
    if min(image.GetDimensions()) < 2:
        return "This is a single picture, not a volume: choose a CT with many slices."
    if node.GetParentTransformNode() is not None:
        return "A transform moves this CT. Harden it first: Data module, right-click the CT, “Harden transform”."
    return ""


def volume_from_node(node: Any) -> Volume:
    """A copy of a scalar volume node: (k, j, i) Hounsfield units, int16 or float32, on the node's own grid, oblique or not.

    Raises
    ------
    FedLiverError
        ``not-a-ct``: :func:`ct_problem` has its sentence. ``sheared``: the axes are not at right angles.
    """
    problem = ct_problem(node) if node is not None else "No CT is chosen."
    if problem:
        raise FedLiverError("not-a-ct", problem)
    import slicer

    return Volume(_as_hounsfield(slicer.util.arrayFromVolume(node)), geometry_of_node(node))


def source_identity(node: Any) -> tuple[str, str, str] | None:
    """(PatientID, StudyInstanceUID, SeriesInstanceUID) of a volume loaded by Slicer's DICOM module; None for any other.

    It feeds the pseudonym on this machine and goes nowhere else.
    """
    import slicer

    instances = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not instances or database is None:
        return None
    patient, study, series = (str(database.instanceValue(instances[0], tag)) for tag in ("0010,0020", "0020,000D", "0020,000E"))
    return (patient, study, series) if series else None


def geometry_of_node(node: Any) -> Geometry:
    """The grid of a volume node, from its IJK-to-RAS matrix. Raises FedLiverError ``sheared``."""
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    affine = slicer.util.arrayFromVTKMatrix(matrix)
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > ORTHOGONAL_TOLERANCE:
        raise FedLiverError(
            "sheared", "The axes of this CT are not at right angles (gantry tilt): resample it first, with the module “Resample Scalar/Vector/DWI Volume”."
        )
    return Geometry.from_affine_ras(affine, node.GetImageData().GetDimensions())


def _as_hounsfield(array: np.ndarray) -> np.ndarray:
    """int16 where every value fits, else float32; always a copy, so that a worker may read it while the scene changes."""
    if array.dtype == np.int16:
        return array.copy()
    if np.issubdtype(array.dtype, np.integer) and array.min() >= -32768 and array.max() <= 32767:
        return array.astype(np.int16)
    return array.astype(np.float32)


def node_from_volume(volume: Volume, name: str, *, hidden: bool = False, scene: Any = None) -> Any:
    """A new scalar volume node with a copy of ``volume``, shown as an abdominal CT (window 350, level 40). ``hidden``: from all selectors."""
    import slicer

    scene = scene or slicer.mrmlScene
    node = scene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
    node.UnRegister(None)
    node.SetName(scene.GenerateUniqueName(name))
    node.SetHideFromEditors(hidden)  # before it is in the scene: a selector looks once, when the node comes
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()  # before there are voxels: the automatic window would look at all of them
    display.SetWindowLevel(350, 40)
    return _fill(node, volume)


def segmentation_from_labels(labels: Volume, ct_node: Any, name: str, *, box: Box | None = None, scene: Any = None) -> Any:
    """A new segmentation node: liver and tumour in one shared layer, with SNOMED terminology, colours and the CT as reference geometry.

    An absent structure becomes an empty segment, so that it can be drawn. Existing nodes are never touched.

    ``box``: what :func:`drawn_box` says of the labels, for whom it would take too long here; it is looked for unless given.
    """
    import slicer

    scene = scene or slicer.mrmlScene
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct_node)
    layer = _layer(labels, box or drawn_box(labels))
    kind = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    for structure in STRUCTURES:
        segment = slicer.vtkSegment()
        segment.SetLabelValue(structure.value)
        segment.AddRepresentation(kind, layer)
        _describe(segment, structure)
        node.GetSegmentation().AddSegment(segment, structure.name)
        node.GetDisplayNode().SetSegmentOpacity3D(structure.name, _OPACITY_3D if structure is LIVER_STRUCTURE else 1.0)
    return node


def drawn_box(labels: Volume) -> Box:
    """The slices (k, j, i) of what is drawn; a single voxel where nothing is. Reads every voxel, and touches no scene: it may run in a worker."""
    drawn = labels.array != BACKGROUND
    return box_of(drawn) if drawn.any() else (slice(0, 1), slice(0, 1), slice(0, 1))


def _layer(labels: Volume, box: Box) -> Any:
    """The labels within ``box`` as a segmentation's layer, on the grid of the whole: Slicer keeps no more than what is drawn either."""
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    voxels = np.ascontiguousarray(labels.array[box], dtype=np.uint8)
    layer = slicer.vtkOrientedImageData()
    layer.SetExtent([index for part in reversed(box) for index in (part.start, part.stop - 1)])
    layer.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
    layer.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(labels.geometry.affine_ras))
    return layer


def _describe(segment: Any, structure: Structure) -> None:
    segment.SetName(structure.name)
    segment.SetColor(*(channel / 255 for channel in structure.colour))
    segment.SetTag(segment.GetTerminologyEntryTagName(), structure.terminology_entry)


def labels_from_segmentation(node: Any, ct_node: Any) -> Volume:
    """The segments as one label map (uint8) on the CT's grid exactly. Where liver and tumour overlap, it is tumour.

    Raises
    ------
    FedLiverError
        ``unknown-segment``: a segment is neither liver nor tumour by terminology or name. ``no-liver-segment``: none is the liver.
        ``transformed``: a transform moves the segmentation. ``export-failed``.
    """

    if node.GetParentTransformNode() is not None:
        raise FedLiverError("transformed", "A transform moves this segmentation. Harden it first: Data module, right-click it, “Harden transform”.")
    owners = _structures_by_segment(node)
    if not node.CreateBinaryLabelmapRepresentation():  # a segmentation imported as surfaces has none; where there is one, it stays
        raise _not_read()
    geometry = geometry_of_node(ct_node)
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    for structure in STRUCTURES:  # the tumour comes last, and wins
        for identifier in (identifier for identifier, owner in owners.items() if owner is structure and _has_voxels(node, identifier)):
            if not _paint_in_place(labels, geometry, node, identifier, structure):
                _paint_resampled(labels, ct_node, node, identifier, structure)
    return Volume(labels, geometry)


def _paint_in_place(labels: np.ndarray, geometry: Geometry, node: Any, identifier: str, structure: Structure) -> bool:
    """Copy a segment that lies on the CT's own voxels, as one drawn over it does. False when it lies on another grid."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    image = node.GetBinaryLabelmapInternalRepresentation(identifier)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    corner = np.array([*geometry.size, 1.0])
    affine = slicer.util.arrayFromVTKMatrix(matrix)
    if not np.allclose(affine, geometry.affine_ras, atol=1e-5) or np.abs((affine - geometry.affine_ras) @ corner).max() > ON_GRID_MM:
        return False
    extent = np.reshape(image.GetExtent(), (3, 2))[::-1]  # first and last k, j, i
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(extent[:, 1] - extent[:, 0] + 1)
    first, last = np.maximum(extent[:, 0], 0), np.minimum(extent[:, 1] + 1, labels.shape)
    if (first < last).all():
        here = tuple(slice(start, stop) for start, stop in zip(first, last, strict=True))
        there = tuple(slice(start - offset, stop - offset) for start, stop, offset in zip(first, last, extent[:, 0], strict=True))
        labels[here][voxels[there] == node.GetSegmentation().GetSegment(identifier).GetLabelValue()] = structure.value
    return True


def _paint_resampled(labels: np.ndarray, ct_node: Any, node: Any, identifier: str, structure: Structure) -> None:
    """Let Slicer bring a segment onto the CT's grid."""
    import slicer

    scene = node.GetScene()
    with _temporary(scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "FedLiver labels"), scene) as labelmap:
        extent = slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
        if not slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(node, [identifier], labelmap, ct_node, extent):
            raise _not_read()
        labels[slicer.util.arrayFromVolume(labelmap) != BACKGROUND] = structure.value


def _not_read() -> FedLiverError:
    return FedLiverError("export-failed", "Slicer could not read the segmentation: save your work and restart Slicer.")


def _has_voxels(node: Any, identifier: str) -> bool:
    image = node.GetBinaryLabelmapInternalRepresentation(identifier)
    return image is not None and image.GetNumberOfPoints() > 0


def _structures_by_segment(node: Any) -> dict[str, Structure]:
    segmentation = node.GetSegmentation()
    owners: dict[str, Structure] = {}
    for identifier in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(identifier)
        structure = structure_of(segment.GetName(), terminology_of(segment))
        if structure is None:
            raise FedLiverError(
                "unknown-segment", f"The segment “{segment.GetName()}” is neither liver nor tumour: rename it, or remove it from this segmentation."
            )
        owners[identifier] = structure
    if LIVER_STRUCTURE not in owners.values():
        raise FedLiverError("no-liver-segment", "No segment is the liver: name one of them “Liver”.")
    return owners


def terminology_of(segment: Any) -> str:
    """A segment's serialised terminology entry, empty when it has none."""
    import vtk

    value = vtk.reference("")
    return str(value.get()) if segment.GetTag(segment.GetTerminologyEntryTagName(), value) else ""


def show_in_3d(node: Any, visible: bool) -> None:
    """Show or hide the closed surfaces. They are made at the first showing, so loading costs nothing."""
    if visible:
        node.CreateClosedSurfaceRepresentation()
    display = node.GetDisplayNode()
    if display is not None:
        display.SetVisibility3D(visible)


def show_in_slices(ct_node: Any) -> None:
    """Show a volume in every slice view, whole. Where there is no view, as in slicer-core, nothing happens."""
    import slicer

    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(ct_node.GetID())
    logic = slicer.app.applicationLogic() if hasattr(getattr(slicer, "app", None), "applicationLogic") else None
    if logic is not None:
        logic.FitSliceToAll()


def go_to(place: tuple[float, float, float]) -> None:
    """Let every slice view show this place (RAS millimetres), in its middle."""
    import slicer

    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        node.JumpSliceByCentering(*place)


def segmentation_name(teacher: str) -> str:
    """The name of a new segmentation node: it says which teacher drew it."""
    return f"Liver, by {teacher}"


def _fill(node: Any, volume: Volume) -> Any:
    import slicer

    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(volume.array))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(volume.geometry.affine_ras))
    return node


@contextmanager
def _temporary(node: Any, scene: Any) -> Iterator[Any]:
    """Take the node, and the display and colour nodes that export made for it, out of the scene again."""
    try:
        yield node
    finally:
        display = node.GetDisplayNode()
        colours = display.GetColorNode() if display is not None else None
        if colours is not None and not colours.GetSingletonTag():  # Slicer's own colour tables are singletons
            scene.RemoveNode(colours)
        if display is not None:
            scene.RemoveNode(display)
        scene.RemoveNode(node)
