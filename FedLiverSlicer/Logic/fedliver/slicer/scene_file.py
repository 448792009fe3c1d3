"""Scenes as files that 3D Slicer opens: made without a window, by ``slicer-core``."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedliver.errors import FedLiverError
from fedliver.files import write_file, write_folder
from fedliver.image import Volume
from fedliver.slicer import headless
from fedliver.slicer.scene import node_from_volume, segmentation_from_labels

_SLICE_VIEWS = ("Red", "Green", "Yellow")


def write_scene(target: Path, ct: Volume, segmentations: Mapping[str, Volume]) -> Path:
    """Write a scene with the CT and one segmentation node per entry; the CT is in the slice views when Slicer opens it.

    Parameters
    ----------
    target:
        A file ``*.mrb``, or a folder, which then holds ``<folder's name>.mrml`` and ``Data/``. Replaced whole, or left as it was.
    segmentations:
        Label maps (0, 1 liver, 2 tumour) on the CT's grid, by the name of their node. All but the first are hidden.

    Returns
    -------
    Path
        The file to open: the ``.mrb``, or the ``.mrml`` in the folder.

    Raises
    ------
    FedLiverError
        ``other-grid``, ``scene-not-written``, ``no-slicer-core``, or what :mod:`fedliver.files` raises.
    """
    for name, labels in segmentations.items():
        if not labels.geometry.same_grid(ct.geometry):
            raise FedLiverError("other-grid", f"The segmentation “{name}” does not lie on the grid of the CT.")
    with _own_scene() as scene:
        _furnish(scene, ct, segmentations)
        if target.suffix.lower() == ".mrb":
            write_file(target, lambda part: _write_mrb(scene, part, target.name))
            return target
        write_folder(target, lambda part: _write_folder(scene, part, target.name), mark=f"{target.name}.mrml")
        return target / f"{target.name}.mrml"


@contextmanager
def _own_scene() -> Iterator[Any]:
    """A scene of its own, so that a scene which is open in this process stays what it is."""
    try:
        import slicer
    except ImportError:
        headless.start()  # says in words what is missing
        raise
    before = {name: getattr(slicer, name) for name in ("mrmlScene", "modules") if hasattr(slicer, name)}
    scene = slicer.vtkMRMLScene()
    application = headless.start(scene)
    try:
        yield scene
    finally:
        scene.Clear(1)
        del application
        for name in ("mrmlScene", "modules"):
            if name in before:
                setattr(slicer, name, before[name])
            else:
                delattr(slicer, name)


def _furnish(scene: Any, ct: Volume, segmentations: Mapping[str, Volume]) -> None:
    ct_node = node_from_volume(ct, "CT", scene=scene)
    for position, (name, labels) in enumerate(segmentations.items()):
        node = segmentation_from_labels(labels, ct_node, name, scene=scene)
        node.GetDisplayNode().SetVisibility(position == 0)
    for view in _SLICE_VIEWS:
        composite = scene.CreateNodeByClass("vtkMRMLSliceCompositeNode")
        composite.UnRegister(None)
        composite.SetLayoutName(view)
        composite.SetSingletonTag(view)
        composite.SetBackgroundVolumeID(ct_node.GetID())
        scene.AddNode(composite)


def _write_mrb(scene: Any, part: Path, name: str) -> None:
    """Slicer names the folder inside the bundle after the file, so it is written under its final name first."""
    with TemporaryDirectory(dir=part.parent, prefix=".part-") as folder:
        bundle = Path(folder) / name
        if not scene.WriteToMRB(str(bundle)):
            raise _not_written(name)
        shutil.copyfile(bundle, part)


def _write_folder(scene: Any, part: Path, name: str) -> None:
    inner = part / name
    inner.mkdir()
    if not scene.SaveSceneToSlicerDataBundleDirectory(str(inner)):
        raise _not_written(name)
    for path in list(inner.iterdir()):
        path.replace(part / path.name)
    inner.rmdir()


def _not_written(name: str) -> FedLiverError:
    return FedLiverError("scene-not-written", f"The scene {name} could not be written: check that the disk has room and the folder can be written to.")
