"""The federation's own Python environment.

Slicer's Python cannot hold flwr, which needs other versions of what Slicer ships: Flower always runs as child processes.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedliver.errors import FedLiverError

VARIABLE = "FEDLIVER_FEDERATION_PYTHON"
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_CHECK = "import flwr, cryptography, psutil, torch, monai"
_VERSIONS = """
import sys
from importlib.metadata import PackageNotFoundError, version
try:
    print(f"Flower {version('flwr')}, Python {sys.version.split()[0]}")
except PackageNotFoundError:
    print(f"Python {sys.version.split()[0]}")
"""
_EXAMINE_SECONDS = 300.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SUPPORTED = ((3, 11), (3, 13))
_PYTHONS = (("python3.12",), ("python3.11",), ("py", "-3.12"), ("py", "-3.11"), ("python3",), ("python",))
"""What starts a Python: by version on Linux and macOS; python.org's Windows installer brings the launcher ``py`` instead."""


def environment_folder(home: Path) -> Path:
    """Where a site or a coordinator keeps the environment that :func:`create_environment` makes."""
    return home / "federation" / "env"


def find_python(home: Path) -> Path:
    """The Python that holds flwr: ``$FEDLIVER_FEDERATION_PYTHON``, or the home's own environment, or this very Python.

    Raises
    ------
    FedLiverError
        ``no-federation-environment``.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        if not Path(chosen).is_file():
            raise FedLiverError("no-federation-environment", f"{VARIABLE} names {chosen}, which is not there: correct it or unset it.")
        return Path(chosen)
    own = _python_in(environment_folder(home))
    if own.is_file():
        return own
    if importlib.util.find_spec("flwr") is not None:
        return Path(sys.executable)
    raise FedLiverError("no-federation-environment", "The federation's own Python environment is not there: make it with 'fedliver site environment create'.")


def program(python: Path, name: str) -> Path:
    """A console script beside ``python``, such as ``flower-supernode``.

    Raises
    ------
    FedLiverError
        ``no-federation-environment`` if Flower is not installed there.
    """
    path = python.parent / (f"{name}.exe" if os.name == "nt" else name)
    if not path.is_file():
        raise FedLiverError(
            "no-federation-environment",
            f"{python} has no {name}: it is not a complete federation environment; make one with 'fedliver site environment create'.",
        )
    return path


def flower_variables(python: Path, flower_home: Path) -> dict[str, str]:
    """The environment variables for every Flower process: no telemetry, quick polling, small chunks (a slow uplink fails on large ones)."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("FLWR_", "PYTHONHOME"))}
    variables.update(
        PATH=os.pathsep.join([str(python.parent), variables.get("PATH", os.defpath)]),
        FLWR_HOME=str(flower_home),
        FLWR_TELEMETRY_ENABLED="0",
        FLWR_DISABLE_UPDATE_CHECK="1",
        FLWR_SUPEREXEC_TASK_POLL_INTERVAL="0.2",
        FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE="524288",
        PYTHONUNBUFFERED="1",
    )
    # A hospital's proxy is for what is outside: Flower's processes also speak to each other, on this machine.
    around = [entry for entry in (variables.get("NO_PROXY") or variables.get("no_proxy") or "").split(",") if entry]
    variables["NO_PROXY"] = variables["no_proxy"] = ",".join(dict.fromkeys([*around, *_LOOPBACK]))
    # The child runs the code of the one that starts it. A site-packages folder is never handed over: it may belong to another version of Python.
    if _PACKAGE_ROOT.name not in ("site-packages", "dist-packages"):
        variables["PYTHONPATH"] = os.pathsep.join([str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    else:
        variables.pop("PYTHONPATH", None)
    return variables


@dataclass(frozen=True)
class Examined:
    """Whether the federation's environment is ``whole``, in a sentence. ``own``: it lies in the home's own folder, so that it may be made anew or removed."""

    whole: bool
    own: bool
    sentence: str


def examine_environment(home: Path, variables: Mapping[str, str] | None = None) -> Examined:
    """Import all that the federation needs with the environment's own Python, and let pip compare the versions. Takes seconds, and no network.

    ``variables``: the environment variables for the child processes; this process's own unless given.
    """
    try:
        python = find_python(home)
    except FedLiverError as error:
        return Examined(False, False, error.sentence)
    own = python.is_relative_to(environment_folder(home))
    words, fault = _answer([str(python), "-c", _CHECK + _VERSIONS], variables)
    if not fault and own:  # another environment may hold other things, whose versions are not ours to judge
        _, fault = _answer([str(python), "-m", "pip", "--disable-pip-version-check", "check"], variables)
    if fault:
        return Examined(False, own, f"The federation's environment is not whole ({fault[:200]}): make it anew.")
    return Examined(True, own, f"The federation's environment is whole: {words}.")


def _answer(command: list[str], variables: Mapping[str, str] | None) -> tuple[str, str]:
    """The last line that a command says, and, if it fails, its last complaint."""
    try:
        ended = subprocess.run(
            command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_EXAMINE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", type(error).__name__
    said, complained = ended.stdout.strip().splitlines(), ended.stderr.strip().splitlines()
    return (said[-1] if said else ""), ((complained or said or ["no word"])[-1] if ended.returncode else "")


def remove_environment(home: Path) -> None:
    """Remove the environment that :func:`create_environment` made; nothing where there is none. Another one that is in use is never touched.

    Raises
    ------
    FedLiverError
        ``environment-in-use``.
    """
    try:
        shutil.rmtree(environment_folder(home))
    except FileNotFoundError:
        return
    except OSError as error:
        raise FedLiverError(
            "environment-in-use", f"The federation's environment could not be removed ({error.strerror}): leave the federation and try again."
        ) from error


def create_environment(home: Path, wheels: Path | None = None, show: Callable[[str], None] = print, variables: Mapping[str, str] | None = None) -> Path:
    """Make the federation's environment with ``venv`` and ``pip`` and return its Python. A half-made one is never left.

    Parameters
    ----------
    wheels:
        A folder of wheels for machines without internet; nothing else is then asked. ``pip wheel ".[federation]" -c constraints.txt`` on another machine of the
        same kind makes it.
    show:
        Is called with every line of the installer; what it raises ends the installation.
    variables:
        The environment variables for the child processes; this process's own unless given.

    Raises
    ------
    FedLiverError
        ``no-python``, ``wheels-missing`` or ``environment-failed``.
    """
    if wheels is not None and not wheels.is_dir():
        raise FedLiverError("wheels-missing", f"There is no folder {wheels}: give the folder that holds the wheels.")
    target = environment_folder(home)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    try:
        show("Making the environment ...")
        _run_shown([str(_base_python(variables)), "-m", "venv", str(target)], show, variables)
        python = _python_in(target)
        source = ["--no-index", "--find-links", str(wheels)] if wheels is not None else []
        show("Installing Flower and what it needs (this can take some minutes) ...")
        _run_shown([str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *source, *_what_to_install(wheels)], show, variables)
        _run_shown([str(python), "-c", _CHECK], show, variables)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    show(f"The federation's environment is ready: {target}")
    return python


def _python_in(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _base_python(variables: Mapping[str, str] | None) -> Path:
    """A Python that can make environments: not Slicer's own, whose venv module does not work."""
    if _is_supported(sys.version_info[:2]) and "slicer" not in Path(sys.executable).name.lower():
        return Path(sys.executable)
    for command in _PYTHONS:
        if (program := shutil.which(command[0])) and (python := _supported_python([program, *command[1:]], variables)):
            return python
    raise FedLiverError(
        "no-python",
        f"Python 3.11 or 3.12 is needed for the federation and was not found: install it from python.org, or name one that holds Flower in {VARIABLE}.",
    )


def _is_supported(version: tuple[int, ...]) -> bool:
    low, high = _SUPPORTED
    return low <= version < high


def _supported_python(command: list[str], variables: Mapping[str, str] | None) -> Path | None:
    """The Python that ``command`` starts; None if it starts none, or one of another version (Windows has a ``python`` that only opens its shop)."""
    told = "import sys; print(*sys.version_info[:2]); print(sys.executable)"
    try:
        done = subprocess.run([*command, "-c", told], capture_output=True, text=True, timeout=_EXAMINE_SECONDS, check=True, env=variables)
        version, python = done.stdout.splitlines()[:2]
        return Path(python) if _is_supported(tuple(map(int, version.split()))) else None
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _what_to_install(wheels: Path | None) -> list[str]:
    repository = _PACKAGE_ROOT.parents[1]
    constraints = ["-c", str(repository / "constraints.txt")] if (repository / "constraints.txt").is_file() else []
    if wheels is not None and any(wheels.glob("fedliver-*.whl")):
        return [*constraints, "fedliver[federation]"]
    if (repository / "pyproject.toml").is_file():
        return [*constraints, f"{repository}[federation]"]
    return ["-r", str(_PACKAGE_ROOT.parent / "Resources" / "requirements-federation.txt")]


def _run_shown(command: list[str], show: Callable[[str], None], variables: Mapping[str, str] | None) -> None:
    last = ""
    try:
        with subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            try:
                for line in process.stdout or ():
                    if line.strip():
                        last = line.strip()
                        show(last)
            except BaseException:  # whoever looks on has had enough
                process.kill()
                raise
    except OSError as error:
        raise FedLiverError("environment-failed", f"{command[0]} could not be started ({error.strerror}).") from error
    if process.returncode:
        raise FedLiverError("environment-failed", f"The federation's environment could not be made; the last word of the installer was: {last[:300]}")
