"""Which code is installed here, as one hash: a process that holds what it imported long ago must not go on where something else is installed since.

Standard library only.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = ".dist-info"
"""How the folder is named that an installer makes beside each package, and makes anew with each version."""


def installed_code(package: Path = _PACKAGE, beside: Sequence[str] | None = None) -> str:
    """Another one after each change to a module of this package, to a package beside it, or to Python. Looks at no content, and takes milliseconds.

    Parameters
    ----------
    package:
        The folder of this package.
    beside:
        Folders that packages are installed in; where Python looks for them unless given.

    Raises
    ------
    OSError
        Where the package is not there, or is being taken away.
    """
    seen = [sys.version, _state(Path(sys.executable).resolve())]
    seen += [f"{path.relative_to(package)} {_state(path)}" for path in sorted(package.rglob("*.py"))]
    if len(seen) == 2:
        raise FileNotFoundError(package)
    for folder in sys.path if beside is None else beside:
        seen += sorted(_installed(folder))
    return hashlib.sha256("\n".join(seen).encode(errors="surrogateescape")).hexdigest()


def _installed(folder: str) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(folder or os.curdir) as entries:  # an archive, or not there
        for entry in entries:
            if entry.name.endswith(_INSTALLED):
                yield f"{entry.name} {_state(Path(entry.path))}"


def _state(path: Path) -> str:
    """With the time of the last change that the file system keeps, which no archive brings along."""
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
