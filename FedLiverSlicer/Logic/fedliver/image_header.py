"""Where a NRRD or MetaImage says that its voxels lie: behind its header or, for ``.mhd`` and ``.nhdr``, in one file beside it. Nowhere else.

Both formats let a header name any file of the computer, and ITK reads that file, whatever it is, as voxels: a key, another patient's scan. Whoever sends such a
header would see what is in it. So the header is read here before ITK reads it, more strictly than ITK does: what ITK could take for the name of a
file, in whatever order, case or place, is refused unless it is the one plain form.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from fedliver.errors import FedLiverError

_BLOCK = 1 << 20
_LARGEST = 1 << 20
"""Bytes of a NRRD's header; those of 3D Slicer's largest segmentations have a tenth of that."""
_WITH_DATA_BESIDE = (".mhd", ".nhdr")

# MetaIO takes the word in this case only, but wherever it thinks that a line begins, and what it thinks of that depends on the lines before.
_META_WORD = b"ElementDataFile"
_META_LINE = re.compile(rb"ElementDataFile[ \t]*=[ \t]*([^\r\n]*?)[ \t]*(\r?\n|\Z)")
_META_ATTACHED = (b"LOCAL", b"Local", b"local")
_META_LONGEST_LINE = 499

# The last place where the header may end; teem takes a lone \r for the end of a line too, and so finds no later one.
_NRRD_END = re.compile(rb"\r?\n\r?\n")
_NRRD_LINES = re.compile(rb"[\r\n]+")
_NRRD_LINE = re.compile(rb"data ?file:[ \t]*(.*?)[ \t]*\Z", re.IGNORECASE)

# Begins like a name: no path, no hidden file, no "-" (standard input), no "=" (which MetaIO skips); no drive, no pattern and no list of names.
_PLAIN = re.compile(r"(?!LIST)\w(?:(?! {2})[^/\\%:\x00-\x1f\x7f]){0,254}", re.IGNORECASE)


@dataclass(frozen=True)
class VoxelPlace:
    """The file that holds the voxels, and where they begin in it. ``header``: the fields' text, for whoever looks for more in it."""

    path: Path
    start: int
    header: bytes


def voxel_place(path: Path, kind: str, beside: bool = True) -> VoxelPlace:
    """Where ITK will read the voxels of ``path`` (``kind``: ``nrrd`` or ``meta``).

    Parameters
    ----------
    beside:
        Whether a ``.mhd`` or ``.nhdr`` may have its voxels in a file beside it.

    Raises
    ------
    FedLiverError
        ``detached-data`` for voxels anywhere else; ``damaged`` where the header has no end, or the file beside it is not there.
    """
    return _of_nrrd(path, beside) if kind == "nrrd" else _of_meta(path, beside)


def _of_nrrd(path: Path, beside: bool) -> VoxelPlace:
    with path.open("rb") as stream:
        head = stream.read(_LARGEST)
    end = _NRRD_END.search(head)
    if end is None and len(head) == _LARGEST:
        raise _without_end(path)
    header, start = (head[: end.start()], end.end()) if end else (head, len(head))
    said = [line for line in _NRRD_LINES.split(header) if not line.startswith(b"#") and _names_data(line)]
    if not said:
        return VoxelPlace(path, start, header)
    line = _NRRD_LINE.fullmatch(said[0])
    return VoxelPlace(_beside(path, line.group(1) if line and len(said) == 1 else b"", beside), 0, header)


def _names_data(line: bytes) -> bool:
    """Whether a NRRD's line is "data file", however it is written; a few that teem would not take for it among them."""
    return re.sub(rb"[^a-z]", b"", line.partition(b":")[0].lower()) == b"datafile"


def _of_meta(path: Path, beside: bool) -> VoxelPlace:
    """One "ElementDataFile" in the whole file, and that one in its plain form: however MetaIO goes through the lines, it finds no other."""
    places = _places_of(path, _META_WORD)
    if not places:
        raise _without_end(path)
    with path.open("rb") as stream:
        header = stream.read(min(places[0], _LARGEST))
        stream.seek(places[0])
        line = _META_LINE.match(stream.read(2 * _META_LONGEST_LINE))
    if len(places) > 1 or line is None or line.end() > _META_LONGEST_LINE or len(header) < places[0] or header[-1:] not in (b"", b"\n"):
        raise _detached(path)
    if line.group(1) in _META_ATTACHED:
        return VoxelPlace(path, places[0] + line.end(), header)
    return VoxelPlace(_beside(path, line.group(1), beside), 0, header)


def _places_of(path: Path, word: bytes) -> list[int]:
    """Where ``word`` is in a file; two places are enough."""
    found: list[int] = []
    at, kept = 0, b""
    with path.open("rb") as stream:
        while len(found) < 2 and (block := stream.read(_BLOCK)):
            text = kept + block
            found += [at - len(kept) + match.start() for match in re.finditer(word, text)]
            at += len(block)
            kept = text[-len(word) + 1 :]
    return found[:2]


def _beside(path: Path, said: bytes, beside: bool) -> Path:
    name = os.fsdecode(said)
    if not beside or path.suffix.lower() not in _WITH_DATA_BESIDE or not _PLAIN.fullmatch(name):
        raise _detached(path)
    data = path.with_name(name)
    try:
        mode = data.lstat().st_mode
    except OSError as error:
        raise FedLiverError(
            "damaged", f"{path.name} has its voxels in a file that is not beside it: copy both again, or export it as .mha or .nrrd."
        ) from error
    if not stat.S_ISREG(mode):  # a link may lead anywhere
        raise _detached(path)
    return data


def _without_end(path: Path) -> FedLiverError:
    return FedLiverError("damaged", f"{path.name} has a header without an end, which does not say where the voxels are: copy or export it again.")


def _detached(path: Path) -> FedLiverError:
    return FedLiverError("detached-data", f"{path.name} says that its voxels are in another file, which is not opened: export it as one .mha or .nrrd file.")
