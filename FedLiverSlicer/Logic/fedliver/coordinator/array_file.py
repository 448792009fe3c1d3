"""Named arrays in one file (NumPy's ``.npz``, not compressed), whole or absent; a damaged one is said to be damaged and costs no more memory than its size."""

import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedliver.files import write_file

_ZIP_SAYS = (zipfile.BadZipFile, EOFError, RuntimeError, zlib.error, lzma.LZMAError)
"""RuntimeError: a flag that says "encrypted"; NotImplementedError, which is one: a way of compressing that there is not."""
HEADER_SAYS = (ValueError, TypeError, LookupError, OverflowError, MemoryError, RecursionError, SyntaxError, tokenize.TokenError)
"""An array's header is a line of Python, which NumPy reads as one; MemoryError: the shape in it is beyond all measure, or the line nests too deep for Python's
reader, which says RecursionError of other depths. A message's arrays have such headers too."""
DAMAGED = (OSError, *_ZIP_SAYS, *HEADER_SAYS)
"""What NumPy raises for a file that was cut off, overwritten or made up, as tried out in ``tests/coordinator/test_array_file.py``."""


class DamagedFileError(ValueError):
    """A file that :func:`write_arrays` has not left so."""


def write_arrays(target: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write them in the place of what was there; they keep their types (FedLiverError ``disk-full``, ``not-writable``)."""

    def write(part: Path) -> None:
        with part.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    write_file(target, write)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What was written. Nothing in it is unpickled (:class:`DamagedFileError`, also if it is not there)."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if any(member.file_size > member.compress_size for member in stored.zip.infolist()):
                raise ValueError("compressed, as nothing that was written here")
            return {name: stored[name] for name in stored.files}
    except DAMAGED as error:
        raise DamagedFileError("damaged file of arrays") from error
