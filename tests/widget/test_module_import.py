"""Importing the module file must cost Slicer's start-up nothing, and its source must keep to what PythonQt and Slicer 5.8 have."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from desktop import MODULE_FILE

HEAVY = ("torch", "monai", "flwr", "matplotlib", "SimpleITK", "pydantic", "numpy", "fedliver", "highdicom", "nibabel", "typer", "psutil")

STUBS = """
import sys, types
class Anything(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda self, *a, **k: None})
for name in ("slicer", "qt", "ctk", "vtk", "slicer.i18n", "slicer.util", "slicer.parameterNodeWrapper", "slicer.ScriptedLoadableModule"):
    sys.modules[name] = Anything(name)
sys.modules["slicer.parameterNodeWrapper"].parameterNodeWrapper = lambda described: described
sys.modules["slicer.i18n"].tr = lambda text: text
before = set(sys.modules)
import importlib.util
specification = importlib.util.spec_from_file_location("FedLiverSlicer", sys.argv[1])
module = importlib.util.module_from_spec(specification)
specification.loader.exec_module(module)
print(" ".join(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""


def test_importing_the_module_imports_nothing_heavy() -> None:
    answer = subprocess.run([sys.executable, "-c", STUBS, str(MODULE_FILE)], capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()) & set(HEAVY) == set()


def test_the_module_names_what_slicer_looks_for(tmp_path: Path) -> None:
    names = {node.name for node in ast.parse(MODULE_FILE.read_text()).body if isinstance(node, ast.ClassDef)}
    assert {"FedLiverSlicer", "FedLiverSlicerWidget", "FedLiverSlicerLogic", "FedLiverSlicerTest", "FedLiverSlicerParameterNode"} <= names


def test_the_module_parses_in_older_pythons_so_that_it_can_say_what_it_needs() -> None:
    ast.parse(MODULE_FILE.read_text(), feature_version=(3, 9))


def test_every_sentence_of_the_module_is_translatable() -> None:
    """A string with a space in it is for people; it stands inside ``_()``, or is a docstring, a style or a log line."""
    tree = ast.parse(MODULE_FILE.read_text())
    wrapped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("_", "translate", "logging.exception", "sorted"):
            wrapped |= {id(inner) for inner in ast.walk(node)}
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)) and ast.get_docstring(node):
            wrapped.add(id(node.body[0].value))  # type: ignore[attr-defined]
    loose = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip() and id(node) not in wrapped
    ]
    names = {"FedLiverSlicer contributors", "Generated CT"}
    assert [text for text in loose if text not in names] == []


def test_no_idiom_that_only_pyside_knows() -> None:
    source = MODULE_FILE.read_text()
    for idiom in (
        r"\.clicked\.connect",
        r"\.setEnabled\(",
        r"\.setText\(",
        r"\.text\(\)",
        r"\.isChecked\(\)",
        r"\.setVisible\(",
        r"\.setToolTip\(",
        r"PySide",
        r"PyQt",
    ):
        assert not re.search(idiom, source), idiom


def test_newer_interfaces_are_named_only_where_they_are_guarded() -> None:
    """``slicer.packaging`` is new in 5.12, ``launchConsoleProcess(blocking=)`` too."""
    package = MODULE_FILE.parent / "Logic" / "fedliver"
    using = {
        path.name for path in [MODULE_FILE, *package.rglob("*.py")] if re.search(r"^\s*(import|from) slicer\.packaging|blocking=False", path.read_text(), re.M)
    }
    assert using == {"installation.py"}
    assert "except ImportError" in (package / "slicer" / "installation.py").read_text()
