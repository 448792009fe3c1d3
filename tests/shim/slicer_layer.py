"""Stand-ins for Slicer's own Python layer: scripted modules, parameter nodes, translation, packaging. For tests only; not Slicer's.

With ``SLICER_PYTHON_DIR`` set to ``Base/Python`` of Slicer's source, the real layer is used instead: see :mod:`desktop`.
"""

import inspect
import typing
import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import slicer
import vtk
from extraction import context_of


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, name: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / name)

    def setup(self) -> None: ...
    def cleanup(self) -> None: ...

    def onReload(self) -> None:
        slicer.app.reloads.append(self.moduleName)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetAttribute("ModuleName", self.moduleName)
            node.SetName(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def delayDisplay(self, message: str) -> None: ...


class _Bound:
    """One parameter and its widget, kept equal."""

    def __init__(self, wrapper: Any, name: str, widget: Any) -> None:
        self.wrapper, self.name, self.widget = wrapper, name, widget
        self.signal = widget.currentNodeChanged if hasattr(widget, "currentNodeChanged") else widget.toggled
        self.signal.connect(self.from_widget)

    def from_widget(self, value: Any) -> None:
        if not self.wrapper._updating:
            setattr(self.wrapper, self.name, value)

    def to_widget(self) -> None:
        value = getattr(self.wrapper, self.name)
        if hasattr(self.widget, "setCurrentNode"):
            self.widget.setCurrentNode(value)
        else:
            self.widget.checked = value

    def end(self) -> None:
        self.signal.disconnect(self.from_widget)


def parameterNodeWrapper(described: type) -> type:
    """Typed access to a ``vtkMRMLScriptedModuleNode``: nodes as references, bools as parameters, as Slicer stores them."""
    types = typing.get_type_hints(described)
    defaults = {name: getattr(described, name, None) for name in types}

    def accessor(name: str, kind: type) -> property:
        if kind is bool:

            def read(self: Any) -> bool:
                return self.parameterNode.GetParameter(name) == "True"

            def write(self: Any, value: bool) -> None:
                self.parameterNode.SetParameter(name, str(bool(value)))
        else:

            def read(self: Any) -> Any:
                return self.parameterNode.GetNodeReference(name)

            def write(self: Any, value: Any) -> None:
                if value is not None and not isinstance(value, kind):
                    raise TypeError(f"{name} must be a {kind.__name__}")
                self.parameterNode.SetNodeReferenceID(name, value.GetID() if value is not None else None)

        return property(read, write)

    def initialise(self: Any, node: Any) -> None:
        self.parameterNode, self._guis, self._updating = node, {}, False
        for name, kind in types.items():
            if kind is bool and not node.GetParameter(name):
                setattr(self, name, bool(defaults[name]))

    def connect(self: Any, found: dict[str, Any]) -> int:
        unknown = set(found) - set(types)
        if unknown:
            raise ValueError(f"the .ui file names parameters that do not exist: {sorted(unknown)}")
        bound = [_Bound(self, name, widget) for name, widget in found.items()]

        def refresh(*_: Any) -> None:
            if self._updating:
                return
            self._updating = True
            for one in bound:
                one.to_widget()
            self._updating = False

        refresh()
        tag = self.AddObserver(vtk.vtkCommand.ModifiedEvent, refresh)
        self._guis[tag] = bound
        return tag

    def disconnect(self: Any, tag: int) -> None:
        for one in self._guis.pop(tag, []):
            one.end()
        self.parameterNode.RemoveObserver(tag)

    members = {name: accessor(name, kind) for name, kind in types.items()}
    members |= {
        "__init__": initialise,
        "connectParametersToGui": connect,
        "disconnectGui": disconnect,
        "AddObserver": lambda self, event, slot, priority=0.0: self.parameterNode.AddObserver(event, slot, priority),
        "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
        "allParameters": types,
    }
    return type(described.__name__, (), members)


def translate(context: str, text: str) -> str:
    """Looks up ``slicer.app.translations``; a text that is not there stays as it is."""
    return slicer.app.translate(context, text)


def tr(text: str) -> str:
    caller = inspect.currentframe().f_back  # type: ignore[union-attr]
    return translate(context_of(Path(caller.f_code.co_filename)), text)  # type: ignore[union-attr]


def _module(name: str, **members: Any) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(members)
    return made


def modules() -> dict[str, ModuleType]:
    """The stand-in modules by the name that Slicer gives them."""
    return {
        "slicer.ScriptedLoadableModule": _module(
            "slicer.ScriptedLoadableModule",
            ScriptedLoadableModule=ScriptedLoadableModule,
            ScriptedLoadableModuleWidget=ScriptedLoadableModuleWidget,
            ScriptedLoadableModuleLogic=ScriptedLoadableModuleLogic,
            ScriptedLoadableModuleTest=ScriptedLoadableModuleTest,
        ),
        "slicer.parameterNodeWrapper": _module("slicer.parameterNodeWrapper", parameterNodeWrapper=parameterNodeWrapper),
        "slicer.i18n": _module("slicer.i18n", tr=tr, translate=translate),
    }


class Application:
    """Stands in for ``slicer.app``."""

    def __init__(self) -> None:
        self.translations: dict[tuple[str, str], str] = {}
        self.looked_up: set[tuple[str, str]] = set()
        self.reloads: list[str] = []
        self.at_startup: list[Any] = []

    def connect(self, signature: str, slot: Any) -> None:
        if signature != "startupCompleted()":
            raise ValueError(f"the application has no signal {signature}")
        self.at_startup.append(slot)

    def processEvents(self) -> None:
        from PySide6.QtWidgets import QApplication

        QApplication.processEvents()

    def translate(self, context: str, text: str) -> str:
        self.looked_up.add((context, text))
        return self.translations.get((context, text), text)

    def moduleManager(self) -> Any:
        return SimpleNamespace(connect=lambda *_: None, disconnect=lambda *_: None)

    def testingEnabled(self) -> bool:
        return True
