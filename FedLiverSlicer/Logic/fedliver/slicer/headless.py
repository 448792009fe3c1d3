"""A Slicer application without a window: the scene and the logics that reading and writing need, from the wheel ``slicer-core``."""

from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from fedliver.errors import FedLiverError

# Without the terminologies' logic: the wheel lacks its files, and reading and writing a segment's terminology does not need it.
_LOGICS = {
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "volumes": "vtkSlicerVolumesLogic",
    "models": "vtkSlicerModelsLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "scriptedloadable": "vtkSlicerScriptedLoadableModuleLogic",
}


def start(scene: Any = None) -> Any:
    """Make ``scene`` (a new one unless given) Slicer's scene in this process: sets ``slicer.mrmlScene`` and ``slicer.modules``.

    Returns the application logic; it, and not the caller, keeps the module logics alive. Call it once per process or per test.

    Raises
    ------
    FedLiverError
        ``no-slicer-core`` where the wheel is not installed.
    """
    try:
        import slicer
    except ImportError as error:
        raise FedLiverError("no-slicer-core", "Scenes need the package slicer-core: install it with “pip install '.[scene]'” in the repository.") from error
    scene = scene or slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    colours = application.GetColorLogic()
    colours.SetMRMLScene(scene)
    colours.AddDefaultColorNodes()
    application.SetModuleLogic("Colors", colours)
    modules = SimpleNamespace(_application=application)
    _allow_reading(scene, modules)
    for name, class_name in _LOGICS.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        application.SetModuleLogic(name.capitalize(), logic)
        setattr(modules, name, SimpleNamespace(logic=lambda logic=logic: logic))
    slicer.mrmlScene, slicer.modules = scene, modules
    return application


def _allow_reading(scene: Any, modules: SimpleNamespace) -> None:
    """Reading a .mrb asks the scene's cache for a folder to unpack into; it goes when the scene's modules go."""
    import slicer

    modules._cache = TemporaryDirectory(prefix="fedliver-scene-")
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(modules._cache.name)
    cache.SetMRMLScene(scene)
    scene.SetCacheManager(cache)
    manager = slicer.vtkDataIOManager()
    manager.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
