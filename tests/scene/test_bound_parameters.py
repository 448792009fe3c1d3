"""The panel's widgets and the scene's parameters part for good, in a Slicer that leaves its observers behind, too."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import slicer

from fedliver.slicer.bound_parameters import BoundParameters


class Widget:
    def __init__(self, parameter: str) -> None:
        self.parameter = parameter

    def property(self, name: str) -> str:
        return self.parameter if name == "SlicerParameterName" else ""


class OldSlicers:
    """Stands in for a ``parameterNodeWrapper`` of Slicer 5.8: ``disconnectGui`` leaves its observer at the node. ``heard``: what that observer was told."""

    def __init__(self, node: Any) -> None:
        self.parameterNode = node
        self.heard: list[str] = []
        self.mapping: dict[str, Any] = {}
        self.connected: set[int] = set()

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:  # noqa: N802
        self.mapping = mapping
        self.parameterNode.AddObserver("ModifiedEvent", lambda caller, event: self.heard.append(event))
        self.connected.add(7)
        return 7

    def disconnectGui(self, tag: int) -> None:  # noqa: N802
        self.connected.remove(tag)


def telling(told: list[str]) -> Callable[[Any, str], None]:
    return lambda caller, event: told.append(event)


def test_a_panel_that_has_ended_hears_nothing_of_the_scene_and_others_still_do() -> None:
    node = slicer.vtkMRMLScriptedModuleNode()
    before: list[str] = []
    after: list[str] = []
    node.AddObserver("ModifiedEvent", telling(before))
    old = OldSlicers(node)
    bound = BoundParameters(old, vars(SimpleNamespace(box=Widget("keepInside"), label=Widget(""))))
    node.AddObserver("ModifiedEvent", telling(after))
    assert list(old.mapping) == ["keepInside"], "only widgets that name a parameter"
    node.Modified()
    bound.end()
    node.Modified()
    assert (old.connected, len(old.heard), len(before), len(after)) == (set(), 1, 2, 2)
