"""The extension's metadata and file lists, as CMake and the Extensions Index will read them."""

import json
import re
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from module_lists import FILE, FOLDER, REPOSITORY, RESOURCES, SCRIPTS, listed, on_disk, rewritten


def metadata(name: str) -> str:
    found = re.search(rf'set\(EXTENSION_{name} "([^"]*)"\)', (REPOSITORY / "CMakeLists.txt").read_text())
    assert found, f"EXTENSION_{name} is missing"
    return found.group(1)


@pytest.mark.parametrize("name", [SCRIPTS, RESOURCES])
def test_cmake_lists_exactly_the_files_on_disk(name: str) -> None:
    assert listed(FILE.read_text(), name) == on_disk()[name], "run: python tests/panel/module_lists.py"


def test_the_lists_hold_the_package_the_panel_and_what_it_needs() -> None:
    text = FILE.read_text()
    assert {"FedLiverSlicer.py", "Logic/fedliver/__init__.py", "Logic/fedliver/slicer/workflow.py"} <= set(listed(text, SCRIPTS))
    assert {"Resources/UI/FedLiverSlicer.ui", "Resources/Icons/FedLiverSlicer.png", "Resources/requirements.txt"} <= set(listed(text, RESOURCES))


def test_a_file_that_is_not_listed_is_noticed(tmp_path: Path) -> None:
    text = FILE.read_text().replace("  Logic/fedliver/slicer/workflow.py\n", "")
    assert listed(text, SCRIPTS) != on_disk()[SCRIPTS]
    assert rewritten(text) == rewritten(FILE.read_text())


def test_file_names_survive_cmake() -> None:
    """CMake splits lists at semicolons and spaces, and ctkMacroCompilePythonScript splits at bars."""
    assert [name for names in on_disk().values() for name in names if re.search(r"[ ;|$\"']", name)] == []


@pytest.mark.parametrize("name", ["HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"])
def test_the_extension_says_what_the_extensions_manager_shows(name: str) -> None:
    assert metadata(name)


def test_the_extension_depends_on_pytorch_and_is_found_under_segmentation() -> None:
    assert metadata("DEPENDS") == "PyTorch"
    assert metadata("CATEGORY") == "Segmentation"


@pytest.mark.parametrize("name", ["ICONURL", "SCREENSHOTURLS"])
def test_pictures_named_by_url_are_in_the_repository(name: str) -> None:
    inside = metadata(name).split("/main/", 1)[1]
    assert (REPOSITORY / inside).is_file()


def test_the_index_entry_is_named_after_the_project_and_has_only_known_keys() -> None:
    project = re.search(r"project\((\w+)\)", (REPOSITORY / "CMakeLists.txt").read_text())
    assert project is not None
    entry = json.loads((REPOSITORY / f"{project.group(1)}.json").read_text())
    assert set(entry) <= {"$schema", "category", "scm_url", "scm_revision", "build_dependencies", "tier"}
    assert {"$schema", "category", "scm_url"} <= set(entry)
    assert re.search(r"/Slicer\w+\.git$", entry["scm_url"]), "the Index wants a repository whose name begins with Slicer"
    assert metadata("HOMEPAGE").startswith(entry["scm_url"].removesuffix(".git"))


def test_the_icon_is_a_square_png() -> None:
    head = (FOLDER / "Resources/Icons/FedLiverSlicer.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (128, 128)


def test_the_module_file_stays_thin() -> None:
    assert len((FOLDER / "FedLiverSlicer.py").read_text().splitlines()) < 400


def requirements() -> list[str]:
    lines = (FOLDER / "Resources/requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("excluded", ["torch", "flwr", "numpy", "SimpleITK", "pydicom"])
def test_requirements_leave_out_what_slicer_or_other_extensions_bring(excluded: str) -> None:
    assert not [line for line in requirements() if re.match(rf"{excluded}\b", line, re.IGNORECASE)]


def test_requirements_name_all_that_the_installation_looks_for() -> None:
    from fedliver.slicer.installation import _NEEDED

    assert {re.split(r"[<>=]", line)[0] for line in requirements()} == set(_NEEDED) - {"torch"}


def walk(tree: ElementTree.Element, name: str, take: Callable[[ElementTree.Element], str]) -> list[str]:
    return [take(element) for element in tree.iter(name)]


def test_the_ui_has_a_widget_for_every_control_and_no_connection_that_needs_slicer() -> None:
    from fedliver.slicer.panel_view import Control

    tree = ElementTree.parse(FOLDER / "Resources/UI/FedLiverSlicer.ui").getroot()  # noqa: S314 (our own file)
    names = walk(tree, "widget", lambda element: element.attrib["name"])
    assert len(names) == len(set(names))
    assert {control.value for control in Control} <= set(names)
    assert not walk(tree, "connection", lambda element: "")


def test_the_federations_requirements_are_those_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = {*project["dependencies"], *project["optional-dependencies"]["federation"]}
    lines = (FOLDER / "Resources/requirements-federation.txt").read_text().splitlines()
    assert {line for line in lines if line and not line.startswith("#")} == wanted
