"""Where the teacher was not sure, laid over the CT in the slice views."""

from typing import Any

from fedliver.image import Volume
from fedliver.slicer.scene import node_from_volume

TAG = "FedLiver.Doubt"
_SHOWN_FROM = 0.25
_OPACITY = 0.45
_COLOURS = "vtkMRMLColorTableNodeYellow"


class DoubtOverlay:
    """One overlay at a time. Its volume is hidden from the selectors, is no CT to choose, and is not saved with the scene."""

    def __init__(self) -> None:
        self._node: Any = None
        self._shown: Volume | None = None

    def show(self, doubt: Volume | None) -> None:
        """Show ``doubt`` (0 sure to 1 undecided) over whatever the slice views show; None takes it away."""
        if doubt is self._shown and (doubt is None or self._is_there()):
            return
        self._remove()
        self._shown = doubt
        if doubt is None:
            return
        self._node = node_from_volume(doubt, "Not sure", hidden=True)
        self._node.SetAttribute(TAG, "1")
        self._node.SetSaveWithScene(False)
        display = self._node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetAndObserveColorNodeID(_COLOURS)
        display.SetWindowLevel(1.0, 0.5)
        display.SetApplyThreshold(True)
        display.SetThreshold(_SHOWN_FROM, 1.0)
        for composite in _composites():
            composite.SetForegroundVolumeID(self._node.GetID())
            composite.SetForegroundOpacity(_OPACITY)

    def forget(self) -> None:
        """The scene is being closed and takes its nodes with it."""
        self._node, self._shown = None, None

    def _is_there(self) -> bool:
        return self._node is not None and self._node.GetScene() is not None

    def _remove(self) -> None:
        if not self._is_there():
            self._node = None
            return
        for composite in _composites():
            if composite.GetForegroundVolumeID() == self._node.GetID():
                composite.SetForegroundVolumeID(None)
        scene, display = self._node.GetScene(), self._node.GetDisplayNode()
        scene.RemoveNode(self._node)
        scene.RemoveNode(display)
        self._node = None


def _composites() -> Any:
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
