"""Packages are installed into Slicer's Python only after asking, torch through its own extension, and a failure is a sentence."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fedliver.errors import FedLiverError
from fedliver.slicer.installation import Installation, SlicerPip, SlicerTorch

REQUIREMENTS = Path("Resources/requirements.txt")


class Python:
    """A Python that lacks some packages, and the two installers that bring them."""

    def __init__(self, *missing: str, answer: bool = True, torch_fails: Exception | None = None, brings_nothing: bool = False) -> None:
        self.missing, self.answer, self.torch_fails, self.brings_nothing = set(missing), answer, torch_fails, brings_nothing
        self.log: list[str] = []
        self.question = ""
        torch = SimpleNamespace(install=self.install_torch)
        pip = SimpleNamespace(install=self.install_file)
        self.installation = Installation(REQUIREMENTS, self.ask, pip, torch, lambda name: name not in self.missing)

    def ask(self, question: str) -> bool:
        self.question = question
        return self.answer

    def install_torch(self) -> None:
        self.log.append("torch")
        if self.torch_fails:
            raise self.torch_fails
        self.missing.discard("torch")

    def install_file(self, requirements: Path) -> None:
        self.log.append(str(requirements))
        if not self.brings_nothing:
            self.missing &= {"torch"}


def test_nothing_is_asked_or_installed_when_all_is_there() -> None:
    python = Python()
    assert python.installation.ensure()
    assert (python.question, python.log) == ("", [])


def test_the_first_question_asks_for_a_yes_to_the_teachers_terms_and_the_exports_does_not_ask_again() -> None:
    python = Python("monai", "highdicom")
    python.installation.ensure()
    assert "research only" in python.question
    assert "you agree" in python.question
    python.missing.add("highdicom")
    python.installation.ensure(also=("highdicom",))
    assert "highdicom" in python.question
    assert "agree" not in python.question


def test_the_question_names_the_packages_and_their_size() -> None:
    python = Python("torch", "monai", answer=False)
    python.installation.ensure()
    assert "torch, monai" in python.question
    assert "202 MB" in python.question


def test_declining_changes_nothing() -> None:
    python = Python("torch", "monai", answer=False)
    assert python.installation.ensure() is False
    assert python.log == []


def test_torch_comes_first_and_then_the_rest() -> None:
    python = Python("torch", "monai", "pydantic")
    assert python.installation.ensure()
    assert python.log == ["torch", str(REQUIREMENTS)]


def test_torch_that_is_there_is_left_alone() -> None:
    python = Python("monai")
    assert python.installation.ensure()
    assert python.log == [str(REQUIREMENTS)]


def test_if_torch_cannot_be_installed_nothing_else_is_tried() -> None:
    python = Python("torch", "monai", torch_fails=ConnectionError("no network"))
    with pytest.raises(FedLiverError, match="internet connection") as caught:
        python.installation.ensure()
    assert caught.value.code == "installation-failed"
    assert python.log == ["torch"]


def test_an_installation_that_brought_nothing_is_not_taken_for_success() -> None:
    python = Python("monai", brings_nothing=True)
    with pytest.raises(FedLiverError, match="restart Slicer"):
        python.installation.ensure()


def test_without_the_pytorch_extension_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(FedLiverError, match="Extensions Manager") as caught:
        SlicerTorch().install()
    assert caught.value.code == "no-pytorch-extension"


def test_the_pytorch_extension_is_asked_for_the_version_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Logic:
        def installTorch(self, **options: Any) -> object:  # noqa: N802
            asked.update(options)
            return object()

    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=Logic))
    SlicerTorch().install()
    assert asked == {"askConfirmation": False, "torchVersionRequirement": ">=2.4"}


def fake_slicer(monkeypatch: pytest.MonkeyPatch, log: list[tuple], *, packaging: bool) -> None:
    slicer = ModuleType("slicer")
    slicer.util = SimpleNamespace(pip_install=lambda text: log.append(("util", text)))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    if packaging:
        slicer.packaging = SimpleNamespace(  # type: ignore[attr-defined]
            load_requirements=lambda path: [path], pip_ensure=lambda wanted, **options: log.append(("packaging", wanted, options))
        )
        monkeypatch.setitem(sys.modules, "slicer.packaging", slicer.packaging)
    else:
        monkeypatch.setitem(sys.modules, "slicer.packaging", None)


def test_slicer_5_8_to_5_11_installs_with_slicer_util(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[tuple] = []
    fake_slicer(monkeypatch, log, packaging=False)
    SlicerPip().install(REQUIREMENTS)
    assert log == [("util", f'-r "{REQUIREMENTS}"')]


def test_slicer_5_12_installs_with_slicer_packaging_and_does_not_ask_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[tuple] = []
    fake_slicer(monkeypatch, log, packaging=True)
    SlicerPip().install(REQUIREMENTS)
    assert log == [("packaging", [str(REQUIREMENTS)], {"prompt_install": False, "requester": "FedLiver"})]


def test_a_hospital_without_internet_installs_from_its_wheel_folder_and_from_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedliver.slicer.installation import wheel_folder

    assert wheel_folder(tmp_path) is None
    (tmp_path / "wheels").mkdir()
    wheels = wheel_folder(tmp_path)
    commands: list[str] = []
    slicer = ModuleType("slicer")
    slicer.util = SimpleNamespace(pip_install=commands.append)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    SlicerPip(wheels).install(REQUIREMENTS)
    SlicerTorch(wheels).install()
    assert all(f'--no-index --find-links "{wheels}"' in command for command in commands)
    assert [str(REQUIREMENTS) in commands[0], '"torch>=2.4"' in commands[1]] == [True, True]


def test_what_only_the_export_needs_is_asked_for_by_itself() -> None:
    python = Python("highdicom")
    assert python.installation.missing().packages == ()
    assert python.installation.missing(("highdicom",)).packages == ("highdicom",)
    assert python.installation.ensure(also=("highdicom",))
    assert python.log == [str(REQUIREMENTS.with_name("requirements-dicom.txt"))]
    assert "highdicom" in python.question
