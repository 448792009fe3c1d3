"""Stand-ins for the qMRML widgets of the panel, over a real MRML scene. For tests only; they are not Slicer's."""

from typing import Any, ClassVar

import shiboken6
from PySide6 import QtCore, QtWidgets
from pythonqt import Manners, UiLoader


class MrmlWidget(Manners, QtWidgets.QWidget):
    """Stands in for qMRMLWidget."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.__dict__["_scene"] = None

    def setMRMLScene(self, scene: Any) -> None:
        self.__dict__["_scene"] = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self.__dict__["_scene"]


class NodeComboBox(Manners, QtWidgets.QComboBox):
    """Stands in for qMRMLNodeComboBox: lists the scene's nodes of its types, and follows the scene.

    Like the real one it looks once, when a node comes, whether the node is hidden: hiding it afterwards does not take it out of the list.
    """

    currentNodeChanged = QtCore.Signal(object)
    SIGNATURES = ("currentNodeChanged(vtkMRMLNode*)",)

    DYNAMIC: ClassVar[dict[str, Any]] = {
        "nodeTypes": ["vtkMRMLNode"],
        "noneEnabled": False,
        "addEnabled": False,
        "removeEnabled": False,
        "renameEnabled": False,
        "showChildNodeTypes": True,
        "showHidden": False,
    }

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.__dict__.update(_scene=None, _tags=[], _nodes=[None], _current=None, _hidden={})
        for name, value in self.DYNAMIC.items():
            self.setProperty(name, value)
        self.currentIndexChanged.connect(self._on_index)

    def event(self, event: QtCore.QEvent) -> bool:
        if event.type() == QtCore.QEvent.Type.DynamicPropertyChange and "_nodes" in self.__dict__:
            self._refill()
        return super().event(event)

    def setMRMLScene(self, scene: Any) -> None:
        self._forget_scene()
        self.__dict__["_scene"] = scene
        if scene is not None:
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent):
                self.__dict__["_tags"].append(scene.AddObserver(event, self._on_scene))
        self._refill()

    def mrmlScene(self) -> Any:
        return self.__dict__["_scene"]

    def currentNode(self) -> Any:
        return self.__dict__["_current"]

    def setCurrentNode(self, node: Any) -> None:
        nodes = self.__dict__["_nodes"]
        self.setCurrentIndex(next((position for position, listed in enumerate(nodes) if listed is node), 0 if nodes and nodes[0] is None else -1))

    def _on_scene(self, _caller: Any, _event: Any) -> None:
        if shiboken6.isValid(self):
            self._refill()
        else:
            self._forget_scene()

    def _forget_scene(self) -> None:
        self.__dict__["_hidden"].clear()
        for tag in self.__dict__["_tags"]:
            self.__dict__["_scene"].RemoveObserver(tag)
        self.__dict__["_tags"].clear()

    def _refill(self) -> None:
        scene, kinds = self.__dict__["_scene"], list(self.property("nodeTypes") or [])
        nodes: list[Any] = [None] if self.property("noneEnabled") else []
        if scene is not None and scene.IsImporting():  # the real one learns of imported nodes when all are there
            return
        if scene is not None and not scene.IsClosing():
            for position in range(scene.GetNumberOfNodes()):
                node = scene.GetNthNode(position)
                exact = node.GetClassName() in kinds
                kin = self.property("showChildNodeTypes") and any(node.IsA(kind) for kind in kinds)
                if (exact or kin) and not self.__dict__["_hidden"].setdefault(node.GetID(), bool(node.GetHideFromEditors())):
                    nodes.append(node)
        current = self.__dict__["_current"]
        self.blockSignals(True)
        self.clear()
        self.__dict__["_nodes"] = nodes
        self.addItems(["None" if node is None else node.GetName() for node in nodes])
        self.setCurrentIndex(next((position for position, node in enumerate(nodes) if node is current), 0 if self.property("noneEnabled") else -1))
        self.blockSignals(False)
        self._on_index(_index(self))

    def _on_index(self, index: int) -> None:
        nodes = self.__dict__["_nodes"]
        node = nodes[index] if 0 <= index < len(nodes) else None
        if node is not self.__dict__["_current"]:
            self.__dict__["_current"] = node
            self.currentNodeChanged.emit(node)


def _index(box: QtWidgets.QComboBox) -> int:
    return box.property("currentIndex")


class SegmentEditorWidget(Manners, QtWidgets.QFrame):
    """Stands in for qMRMLSegmentEditorWidget: remembers what it is bound to; its effects are Slicer's and are not here.

    A method that Slicer 5.8's widget does not have is not here either, so that calling it fails the test.
    """

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        caption = QtWidgets.QLabel("3D Slicer's Segment Editor stands here:\nPaint, Draw, Erase, Scissors, Islands, Smoothing …", self)
        caption.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        caption.setMinimumHeight(120)
        QtWidgets.QVBoxLayout(self).addWidget(caption)
        self.__dict__.update(_node=None, _scene=None, calls=[], shortcuts=False, observed_views=False)

    def setMRMLScene(self, scene: Any) -> None:
        self.__dict__["_scene"] = scene

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self.__dict__["_node"] = node

    def mrmlSegmentEditorNode(self) -> Any:
        return self.__dict__["_node"]

    def setSegmentationNode(self, node: Any) -> None:
        if self.__dict__["_node"] is not None:
            self.__dict__["_node"].SetAndObserveSegmentationNode(node)

    def segmentationNode(self) -> Any:
        return self.__dict__["_node"].GetSegmentationNode() if self.__dict__["_node"] is not None else None

    def setSourceVolumeNode(self, node: Any) -> None:
        self.__dict__["_node"].SetAndObserveSourceVolumeNode(node)

    def sourceVolumeNode(self) -> Any:
        return self.__dict__["_node"].GetSourceVolumeNode() if self.__dict__["_node"] is not None else None

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        self.__dict__["calls"].append(("undo", count))

    def setSegmentationNodeSelectorVisible(self, visible: bool) -> None:
        self.__dict__["calls"].append(("segmentation selector", visible))

    def setSourceVolumeNodeSelectorVisible(self, visible: bool) -> None:
        self.__dict__["calls"].append(("source selector", visible))

    def setSwitchToSegmentationsButtonVisible(self, visible: bool) -> None:
        self.__dict__["calls"].append(("switch button", visible))

    def setActiveEffect(self, effect: Any) -> None:
        self.__dict__["calls"].append(("effect", effect))

    def installKeyboardShortcuts(self) -> None:
        self.__dict__["shortcuts"] = True

    def uninstallKeyboardShortcuts(self) -> None:
        self.__dict__["shortcuts"] = False

    def setupViewObservations(self) -> None:
        self.__dict__["observed_views"] = True

    def removeViewObservations(self) -> None:
        self.__dict__["observed_views"] = False


UiLoader.CUSTOM.update(qMRMLWidget=MrmlWidget, qMRMLNodeComboBox=NodeComboBox, qMRMLSegmentEditorWidget=SegmentEditorWidget)
