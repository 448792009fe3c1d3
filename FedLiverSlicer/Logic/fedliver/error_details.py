"""An error's details for whoever helps: kinds, codes and places in code, and nothing else. Standard library only.

The message of a library's error may name a file, and a file's name a patient: messages stay out, and so do folders.
"""

import platform
import sys
import traceback
from collections.abc import Iterator
from pathlib import PurePath

from fedliver.errors import FedLiverError

_MOST_PLACES = 12
_PACKAGES = ("site-packages", "dist-packages", "Logic")


def details_of(error: BaseException) -> str:
    """The chain of errors, the outermost first, each with the places it passed; then the versions. Safe to be copied into an e-mail."""
    lines = [line for link in _chain(error) for line in _about(link)]
    return "\n".join([*lines, f"FedLiver {_version()}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"])


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _about(error: BaseException) -> Iterator[str]:
    kind = type(error)
    yield f"{kind.__module__}.{kind.__qualname__}" + (f" ({error.code})" if isinstance(error, FedLiverError) else "")
    places = traceback.extract_tb(error.__traceback__)
    for place in places[-_MOST_PLACES:]:
        yield f"    {_without_folders(place.filename)}:{place.lineno} {place.name}"


def _without_folders(file: str) -> str:
    """A file of a package by its name in the package; any other by its last name alone."""
    parts = PurePath(file).parts
    starts = [parts.index(name) + 1 for name in _PACKAGES if name in parts]
    return "/".join(parts[max(starts) :]) if starts else parts[-1] if parts else ""


def _version() -> str:
    fedliver = sys.modules.get("fedliver")
    return str(getattr(fedliver, "__version__", "of an unknown version"))
