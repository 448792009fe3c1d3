"""The panel's widgets, bound to what the scene remembers of the panel, so that the bond can be undone in every Slicer.

``connectGui`` gives no tag back before Slicer 5.10, so nothing can be undone; ``disconnectGui`` leaves its observer at the node before 5.12. A panel that was
closed or reloaded would go on writing into the scene, and once Python has collected what that observer belongs to, the next change of the node ends Slicer.
"""

from collections.abc import Mapping
from typing import Any

_PROPERTY = "SlicerParameterName"
_MODIFIED = "ModifiedEvent"


class BoundParameters:
    """A parameter node (``parameterNodeWrapper``) and the widgets that name its parameters in the .ui file, kept equal until :meth:`end`."""

    def __init__(self, parameters: Any, widgets: Mapping[str, Any]) -> None:
        named = {widget.property(_PROPERTY): widget for widget in widgets.values() if widget.property(_PROPERTY)}
        self._parameters = parameters
        node = parameters.parameterNode
        before = node.AddObserver(_MODIFIED, _nothing)
        self._tag = parameters.connectParametersToGui(named)
        # A node numbers its observers in the order of their coming: whatever came in between is Slicer's.
        self._observers = range(before, node.AddObserver(_MODIFIED, _nothing) + 1)

    def end(self) -> None:
        """The widgets and the parameters go their own ways."""
        self._parameters.disconnectGui(self._tag)
        for observer in self._observers:
            self._parameters.parameterNode.RemoveObserver(observer)


def _nothing(_caller: object, _event: str) -> None:
    pass
