"""A stand-in for PythonQt: PySide6 widgets that speak PythonQt's manners. Our own code, for tests only; it is not Slicer.

PythonQt's manners: a Qt property is a plain attribute (``button.enabled = False``, ``label.text``), and signals are connected by their
signature (``button.connect("clicked(bool)", f)``). It provides ``qt`` and ``ctk``, as far as the panel uses them.

What it cannot show: PythonQt's ownership rules, its own overload resolution, the desktop's event loop that holds the GIL.
"""

import ctypes
import sys
from types import ModuleType
from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

_LOOKUP = object.__getattribute__
_ASKED: set[tuple[int, str]] = set()
"""Which property of which widget is being read: Qt answers some, as a size hint, by calling a virtual method, and looks for it here first."""


def _is_property(target: Any, name: str) -> bool:
    if name.startswith("_") or name in vars(type(target)):  # what a stand-in answers itself, Qt finds by asking for it here
        return False
    return name in type(target).DYNAMIC or _LOOKUP(target, "metaObject")().indexOfProperty(name) >= 0


def _call(slot: Any, *values: Any) -> None:
    """PySide 6.12 takes one reference to None too many back after each call of a slot: up to Python 3.11 that ends the process in the end."""
    slot(*values)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(None))


def _connect(target: Any, signature: str, slot: Any) -> bool:
    """``signature`` must name a signal that exists with just these arguments: PythonQt refuses a wrong one, and so does this."""
    normalised = bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()
    if _LOOKUP(target, "metaObject")().indexOfSignal(normalised) < 0 and normalised not in getattr(type(target), "SIGNATURES", ()):
        raise ValueError(f"{type(target).__name__} has no signal {signature}")
    name, arguments = normalised.rstrip(")").split("(")
    count = len(arguments.split(",")) if arguments else 0
    # PySide6 passes as many values as the slot takes, and none to *values.
    relay = [lambda: _call(slot), lambda one: _call(slot, one), lambda one, two: _call(slot, one, two)][count]
    _LOOKUP(target, name).connect(relay)
    return True


class Manners:
    """Mixed into a PySide6 class: properties as attributes, and ``connect`` by signature.

    ``DYNAMIC``: properties that a stand-in adds, with their first values. They are Qt's dynamic properties, since setting a property that
    is defined in Python (``QtCore.Property``) loses a reference to None each time in PySide 6.12, and ends the process in the end.
    """

    DYNAMIC: ClassVar[dict[str, Any]] = {}

    def __getattribute__(self, name: str) -> Any:
        if name == "connect":
            return lambda signature, slot: _connect(self, signature, slot)
        if name == "name":
            return _LOOKUP(self, "objectName")()
        if _is_property(self, name) and (id(self), name) not in _ASKED:
            _ASKED.add((id(self), name))
            try:
                return _LOOKUP(self, "property")(name)
            finally:
                _ASKED.discard((id(self), name))
        return _LOOKUP(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "name":
            _LOOKUP(self, "setObjectName")(value)
        elif _is_property(self, name):
            known = _LOOKUP(self, "setProperty")(name, list(value) if isinstance(value, tuple) else value)
            if not known and name not in type(self).DYNAMIC:  # Qt answers False for every dynamic property
                raise ValueError(f"{type(self).__name__}.{name} cannot be {value!r}")
        else:
            super().__setattr__(name, value)

    def isWidgetType(self) -> bool:
        return _LOOKUP(self, "inherits")("QWidget")


def _mannered(base: type) -> type:
    return type(base.__name__, (Manners, base), {})


_WIDGETS = (
    "QWidget QLabel QPushButton QCheckBox QProgressBar QLineEdit QFrame QComboBox QToolButton QSpinBox QDoubleSpinBox QTextEdit QDialog QMenu QSlider QGroupBox"
)
qt = ModuleType("qt")
for _module in (QtCore, QtGui, QtWidgets):
    for _name in dir(_module):
        if _name.startswith("Q"):
            setattr(qt, _name, getattr(_module, _name))
for _name in [*_WIDGETS.split(), "QTimer"]:
    setattr(qt, _name, _mannered(getattr(qt, _name)))
qt.__dict__["QSettings"] = QtCore.QSettings


class CollapsibleButton(Manners, QtWidgets.QWidget):
    """Stands in for ctkCollapsibleButton: a title that folds the rest away."""

    DYNAMIC: ClassVar[dict[str, Any]] = {"text": "", "collapsed": False}
    TITLE = 26

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setContentsMargins(4, self.TITLE + 4, 4, 4)
        for name, value in self.DYNAMIC.items():
            self.setProperty(name, value)

    def event(self, event: QtCore.QEvent) -> bool:
        if event.type() == QtCore.QEvent.Type.DynamicPropertyChange:
            self.setMaximumHeight(self.TITLE if self.property("collapsed") else 16_777_215)
            self.updateGeometry()
            self.update()
        return super().event(event)

    def minimumSizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(0, self.TITLE) if self.property("collapsed") else super().minimumSizeHint()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        box = QtCore.QRect(0, 0, _LOOKUP(self, "width")(), self.TITLE)
        font = painter.font()
        font.setBold(True)
        painter.setFont(font)
        arrow = "▸" if self.property("collapsed") else "▾"
        painter.drawText(box.adjusted(8, 0, 0, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, f"{arrow}  {self.property('text')}")
        painter.end()


ctk = ModuleType("ctk")
ctk.__dict__["ctkCollapsibleButton"] = CollapsibleButton


def _unused(name: str) -> type:
    """A ctk class that the panel does not use, but that Slicer's own layer names (``SLICER_PYTHON_DIR``): it cannot be made."""
    if not name.startswith("ctk"):
        raise AttributeError(name)
    made = type(name, (), {"__init__": lambda self, *_: _not_here(name)})
    setattr(ctk, name, made)
    return made


def _not_here(name: str) -> None:
    raise NotImplementedError(f"the shim has no {name}")


ctk.__getattr__ = _unused  # type: ignore[method-assign]


class UiLoader(QtUiTools.QUiLoader):
    """Makes the classes above, and the ones in ``CUSTOM``, for the names in a .ui file. A name it does not know is an error to be seen."""

    CUSTOM: ClassVar[dict[str, type]] = {"ctkCollapsibleButton": CollapsibleButton}
    KEPT: ClassVar[list[Any]] = []

    def createWidget(self, name: str, parent: QtWidgets.QWidget | None = None, object_name: str = "") -> QtWidgets.QWidget:
        # An exception that leaves this method ends the process with a segmentation fault, so it is printed and a plain widget stands in.
        try:
            made = self.CUSTOM[name] if name in self.CUSTOM else getattr(qt, name)
            widget = made(parent)
        except Exception as error:
            print(f"the shim cannot make a {name}: {error!r}", file=sys.stderr)
            widget = QtWidgets.QLabel(f"no {name}", parent)
        widget.setObjectName(object_name)
        self.KEPT.append(widget)
        return widget

    def load(self, file: Any) -> QtWidgets.QWidget:
        return super().load(file)


qt.__dict__["QUiLoader"] = UiLoader
