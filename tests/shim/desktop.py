"""A desk to try the module on: the real module file and the real .ui, a real MRML scene (slicer-core), and stand-ins for the rest.

``Desktop`` is not 3D Slicer. It cannot show what PythonQt owns, the effects of the real Segment Editor, or how Slicer's own Python
environment behaves; ``FedLiverSlicerTest`` runs inside the desktop for those.

``SLICER_PYTHON_DIR``: the folder ``Base/Python`` of Slicer's source. With it, Slicer's own ``ScriptedLoadableModule``,
``parameterNodeWrapper`` and ``i18n`` take the place of the stand-ins.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import slicer
from pythonqt import ctk, qt
from slicer_layer import Application, modules
from slicer_widgets import MrmlWidget, NodeComboBox, SegmentEditorWidget

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE_FILE = REPOSITORY / "FedLiverSlicer" / "FedLiverSlicer.py"


class Parent(MrmlWidget):
    """What Slicer gives a module's widget to live in."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["isEntered"] = True
        qt.QVBoxLayout(self).setContentsMargins(0, 0, 0, 0)


class Desktop:
    """One Slicer application, as far as a scripted module sees it. Use it as a context manager."""

    def __init__(self) -> None:
        from fedliver.slicer import headless

        self.application = qt.QApplication.instance() or qt.QApplication([])
        self._logic = headless.start()
        self.app = Application()
        self.answers: list[bool] = []
        self.questions: list[str] = []
        self.file_to_open = ""
        self.folder_to_open = ""
        self._before = dict(sys.modules)
        sys.modules.update(qt=qt, ctk=ctk)
        slicer.app = self.app
        slicer.qMRMLWidget, slicer.qMRMLNodeComboBox, slicer.qMRMLSegmentEditorWidget = MrmlWidget, NodeComboBox, SegmentEditorWidget
        slicer.qMRMLRangeWidget = type("qMRMLRangeWidget", (), {})  # named by Slicer's own layer
        self._install_layer()
        slicer.util.confirmOkCancelDisplay = self._ask
        slicer.util.mainWindow = lambda: None
        qt.QFileDialog = SimpleNamespace(getOpenFileName=lambda *arguments: self.file_to_open, getExistingDirectory=lambda *arguments: self.folder_to_open)
        slicer.modules.fedliverslicer = SimpleNamespace(path=str(MODULE_FILE))
        self.module: ModuleType | None = None
        self.widget: Any = None

    def _install_layer(self) -> None:
        folder = os.environ.get("SLICER_PYTHON_DIR")
        for name, module in modules().items():
            sys.modules[name] = _real(Path(folder), name) if folder else module
            setattr(slicer, name.split(".")[1], sys.modules[name])

    def _ask(self, question: str, *_: Any, **__: Any) -> bool:
        self.questions.append(question)
        return self.answers.pop(0) if self.answers else False

    def __enter__(self) -> "Desktop":
        return self

    def __exit__(self, *_: object) -> None:
        self.close_panel()
        slicer.mrmlScene.Clear(1)
        for name in set(sys.modules) - set(self._before):
            if name in ("qt", "ctk", "FedLiverSlicer") or name.startswith("slicer."):
                del sys.modules[name]

    @property
    def scene(self) -> Any:
        return slicer.mrmlScene

    def load_module(self) -> ModuleType:
        """Execute the real module file, as Slicer's factory does."""
        specification = importlib.util.spec_from_file_location("FedLiverSlicer", MODULE_FILE)
        assert specification is not None
        assert specification.loader is not None
        self.module = importlib.util.module_from_spec(specification)
        sys.modules["FedLiverSlicer"] = self.module
        specification.loader.exec_module(self.module)
        self.description = SimpleNamespace(path=str(MODULE_FILE))
        self.module.FedLiverSlicer(self.description)
        return self.module

    def open_panel(self, **seams: Any) -> Any:
        """Open the panel. ``seams`` (desk, link, installation, clock) replace what reaches out of the process."""
        module = self.module or self.load_module()
        logic = module.FedLiverSlicerLogic
        original = logic.makeWorkflow

        def make(self_: Any, requirements: str, changed: Callable[[], None]) -> Any:
            return original(self_, requirements, changed, **seams)

        logic.makeWorkflow = make
        try:
            self.parent = Parent()
            self.widget = module.FedLiverSlicerWidget(self.parent)
            self.widget.setup()
            self.widget.enter()
        finally:
            logic.makeWorkflow = original
        return self.widget

    def close_panel(self) -> None:
        if self.widget is not None:
            self.widget.cleanup()
            self.widget = None

    def events(self) -> None:
        self.application.processEvents()

    def wait(self, done: Callable[[], bool], seconds: float = 30.0) -> None:
        """Let the window live until ``done()``. Fails after ``seconds``."""
        clock = qt.QElapsedTimer()
        clock.start()
        while not done():
            assert clock.elapsed() < seconds * 1000, "it did not happen in time"
            self.application.processEvents(qt.QEventLoop.ProcessEventsFlag.AllEvents, 20)

    def picture(self, target: Path, width: int = 440) -> None:
        """Save the panel as it looks."""
        self.parent.resize(width, 200)
        self.parent.show()
        self.events()
        layout = self.parent.layout()
        self.parent.resize(width, layout.heightForWidth(width) if layout.hasHeightForWidth() else self.parent.sizeHint.height())
        self.events()
        target.parent.mkdir(parents=True, exist_ok=True)
        assert self.parent.grab().save(str(target))


def _real(folder: Path, name: str) -> ModuleType:
    """Slicer's own module from its source."""
    path = folder / "slicer"
    if str(path) not in slicer.__path__:
        slicer.__path__.append(str(path))
    return importlib.import_module(name)
