"""The house: nothing imports upwards, only federation/ knows Flower, only slicer/ and web/ know Slicer."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "FedLiverSlicer" / "Logic" / "fedliver"
FLOORS = (
    {
        "errors",
        "files",
        "watch",
        "error_details",
        "labels",
        "image",
        "ct_reader",
        "ct_checks",
        "dicom_seg",
        "dicom_series",
        "dicom_stack",
        "image_file",
        "image_header",
        "segmentation_file",
        "phantom",
    },
    {"teacher"},
    {"evaluation"},
    {"cases"},
    {"datasets"},
    {"training"},
    {"site"},
    {"coordinator"},
    {"federation"},
    {"study", "slicer"},
    {"demo", "web"},
    {"cli"},
)
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def _floor_of(room: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"{room} stands on no floor: add it to FLOORS and to docs/architecture.md")


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_from_its_own_floor_or_below(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return
    own = _floor_of(_room(path))
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "fedliver" and len(parts) > 1 and parts[1] != "__version__":
            assert _floor_of(parts[1]) <= own, f"{path.relative_to(PACKAGE)} imports {name} from a floor above"


def test_no_modules_import_each_other_in_a_circle_not_even_inside_functions_or_for_types() -> None:
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    TopologicalSorter({name: _imports(path) & set(names) for name, path in names.items()}).prepare()  # CycleError names the circle


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_federation_room_imports_flower_and_only_slicer_and_web_import_slicer(path: Path) -> None:
    roots = {name.split(".")[0] for name in _imports(path)}
    if _room(path) != "federation":
        assert "flwr" not in roots
    if _room(path) not in ("slicer", "web"):
        assert not roots & {"slicer", "qt", "ctk", "vtk"}


@pytest.mark.parametrize("module", ["fedliver.cli.main", "fedliver.slicer.panel_state", "fedliver.site.home"])
def test_faces_open_without_loading_anything_heavy(module: str) -> None:
    program = f"import sys, {module}; print([m for m in ('torch', 'monai', 'flwr', 'matplotlib', 'highdicom') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
