"""The Python packages that segmentation needs, installed into Slicer's Python on first use, and only after asking."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedliver.errors import FedLiverError
from fedliver.slicer.translation import Translate, unchanged

TORCH_REQUIREMENT = ">=2.4"
# Import name and download in MB (torch: its CPU build), as pip showed them in 2026 for Linux; rounded up.
_NEEDED = {"torch": 200, "monai": 2, "pydantic": 3, "nibabel": 4, "filelock": 1, "psutil": 1}
# Needed by one press only, and asked for at that press: see requirements-dicom.txt.
_ALSO = {"highdicom": 12}


class Pip(Protocol):
    """Seam: installs the requirements file into this Python. Runs in the window's thread: Slicer's progress window belongs there."""

    def install(self, requirements: Path) -> None: ...


class Torch(Protocol):
    """Seam: installs torch into this Python."""

    def install(self) -> None: ...


@dataclass(frozen=True)
class Missing:
    """What is not installed yet."""

    packages: tuple[str, ...]

    @property
    def megabytes(self) -> int:
        return sum((_NEEDED | _ALSO)[name] for name in self.packages)


class Installation:
    """Parameters
    ----------
    requirements:
        The requirements file. It does not name torch: the PyTorch extension knows which build fits the machine.
    ask:
        Shows a question with OK and Cancel; True for OK.
    found:
        Whether a module can be imported, without importing it.
    """

    def __init__(self, requirements: Path, ask: Callable[[str], bool], pip: Pip, torch: Torch, found: Callable[[str], bool] | None = None) -> None:
        self._requirements = requirements
        self._ask = ask
        self._pip = pip
        self._torch = torch
        self._found = found or _is_installed

    def missing(self, also: tuple[str, ...] = ()) -> Missing:
        """What would have to be installed for segmentation, or for what ``also`` names; nothing is imported."""
        return Missing(tuple(name for name in also or _NEEDED if not self._found(name)))

    def ensure(self, _: Translate = unchanged, also: tuple[str, ...] = ()) -> bool:
        """Install what is missing, after asking. False when the user declined: then nothing has changed.

        Raises
        ------
        FedLiverError
            ``no-pytorch-extension`` or ``installation-failed``.
        """
        missing = self.missing(also)
        if not missing.packages:
            return True
        question = _("This needs {packages} (about {megabytes} MB to download, more with a GPU). Install into Slicer's Python now?")
        if not also:
            terms = _("The teacher that comes with FedLiver is for research only: no medical device, and no commercial use. With OK you agree to that.")
            question = f"{question}\n\n{terms}"
        if not self._ask(question.format(packages=", ".join(missing.packages), megabytes=missing.megabytes)):
            return False
        if "torch" in missing.packages:
            self._attempt(self._torch.install)
        if set(missing.packages) - {"torch"}:
            self._attempt(lambda: self._pip.install(self._requirements.with_name("requirements-dicom.txt") if also else self._requirements))
        importlib.invalidate_caches()
        still = self.missing(also).packages
        if still:
            raise FedLiverError("installation-failed", f"{', '.join(still)} cannot be found after the installation: restart Slicer and try again.")
        return True

    @staticmethod
    def _attempt(install: Callable[[], None]) -> None:
        try:
            install()
        except FedLiverError:
            raise
        except Exception as error:  # pip, subprocess and Slicer each have their own
            raise FedLiverError(
                "installation-failed", f"The installation failed ({type(error).__name__}): check the internet connection and Slicer's error log."
            ) from error


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def wheel_folder(home: Path) -> Path | None:
    """Where a hospital without internet puts the wheels that ``pip download`` brought: the folder ``wheels`` of the site's home, if it is there."""
    folder = home / "wheels"
    return folder if folder.is_dir() else None


class SlicerPip:
    """``slicer.packaging`` (Slicer 5.12 and later), else ``slicer.util.pip_install``. From ``wheels`` alone, without the internet, where that is given."""

    def __init__(self, wheels: Path | None = None) -> None:
        self._wheels = wheels

    def install(self, requirements: Path) -> None:
        import slicer

        if self._wheels is not None:
            slicer.util.pip_install(f'--no-index --find-links "{self._wheels}" -r "{requirements}"')
            return
        try:
            import slicer.packaging
        except ImportError:
            slicer.util.pip_install(f'-r "{requirements}"')
            return
        slicer.packaging.pip_ensure(slicer.packaging.load_requirements(str(requirements)), prompt_install=False, requester="FedLiver")


class SlicerTorch:
    """torch by the PyTorch extension, which finds the build for this machine's GPU; or from ``wheels``, where that is given."""

    def __init__(self, wheels: Path | None = None) -> None:
        self._wheels = wheels

    def install(self) -> None:
        if self._wheels is not None:
            import slicer

            slicer.util.pip_install(f'--no-index --find-links "{self._wheels}" "torch{TORCH_REQUIREMENT}"')
            return
        try:
            import PyTorchUtils
        except ImportError as error:
            raise FedLiverError(
                "no-pytorch-extension",
                "The extension “PyTorch” is missing: install it in the Extensions Manager, restart Slicer, and press Auto-segment again.",
            ) from error
        if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=TORCH_REQUIREMENT) is None:
            raise FedLiverError("installation-failed", "PyTorch was not installed: see Slicer's error log.")
