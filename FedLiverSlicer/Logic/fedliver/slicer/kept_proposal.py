"""What a scene keeps of a teacher's proposal: its outlines, from which a correction is counted, and where it was not sure.

It is an attribute of the segmentation node, packed: some hundred kB for a whole abdomen. A node of its own would not do, since Slicer's Save dialog
passes over what is hidden, and what is not hidden is in everybody's way. A scene may come from somebody else: so what is read is checked, is never
larger than it says, and lies on the CT's grid or is not taken.
"""

import base64
import zlib
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from fedliver.cases.doubt_levels import from_levels, in_levels
from fedliver.image import Geometry, Volume, box_of
from fedliver.labels import STRUCTURES
from fedliver.slicer.panel_state import Lesion, Place
from fedliver.slicer.site_desk import Proposal, TeacherIdentity

ATTRIBUTE = "FedLiver.Proposal"
_MOST_CHARACTERS = 20_000_000
_MOST_VOXELS = 100_000_000
_MOST_PLACES = 1000
_ON_GRID = 0.01  # of a voxel


@dataclass(frozen=True)
class _Packed:
    """An array on its own grid: zlib, then base64."""

    geometry: Geometry
    voxels: str


@dataclass(frozen=True)
class _Kept:
    teacher: TeacherIdentity
    liver_ml: float
    tumour_ml: float
    seconds: float
    lesions: tuple[Lesion, ...]
    expected_dice: float | None
    places: tuple[Place, ...]
    labels: _Packed
    doubt: _Packed | None


def pack(proposal: Proposal) -> str:
    """``proposal`` as text. Reads every voxel: for a worker thread."""
    doubt = proposal.doubt
    kept = _Kept(
        proposal.teacher,
        proposal.liver_ml,
        proposal.tumour_ml,
        proposal.seconds,
        proposal.lesions,
        proposal.expected_dice,
        proposal.places,
        _packed(proposal.labels.array.astype(np.uint8), proposal.labels.geometry),
        _packed(in_levels(doubt.array), doubt.geometry) if doubt is not None else None,
    )
    return str(_adapter().dump_json(kept).decode())


def unpack(text: str, grid: Geometry) -> Proposal | None:
    """The proposal that ``text`` holds, its labels on ``grid``, the CT's: as they were, also where Slicer has turned the CT round on reading it.
    None for what cannot be read or lies elsewhere, and where pydantic is not installed yet. For a worker thread."""
    if not text or len(text) > _MOST_CHARACTERS:
        return None
    try:
        kept: _Kept = _adapter().validate_json(text)
        part = _unpacked(kept.labels)
        labels = _onto(part, grid)
        doubt = _unpacked(kept.doubt) if kept.doubt is not None else None
    except (ImportError, ValueError, zlib.error, np.linalg.LinAlgError):
        return None
    known = max(structure.value for structure in STRUCTURES)
    if labels is None or part.array.max(initial=0) > known or max(len(kept.places), len(kept.lesions)) > _MOST_PLACES:
        return None
    proposal = Proposal(labels, kept.liver_ml, kept.tumour_ml, kept.seconds, kept.teacher, kept.lesions, kept.expected_dice, kept.places)
    if doubt is None:
        return proposal
    return replace(proposal, doubt=doubt.with_array(from_levels(doubt.array)))


def keep(node: Any, packed: str) -> None:
    """Let ``node`` keep what :func:`pack` made."""
    node.SetAttribute(ATTRIBUTE, packed)


def kept_by(node: Any) -> str:
    """What ``node`` keeps, for :func:`unpack`; empty for nothing."""
    return node.GetAttribute(ATTRIBUTE) or ""


def _packed(array: np.ndarray, geometry: Geometry) -> _Packed:
    """Only what is not zero."""
    there = array != 0
    box = box_of(there) if there.any() else (slice(0, 1), slice(0, 1), slice(0, 1))
    return _Packed(geometry.part(box), base64.b64encode(zlib.compress(np.ascontiguousarray(array[box]).tobytes())).decode())


def _unpacked(packed: _Packed) -> Volume:
    """Raises ValueError or zlib.error for what is no such array; never makes more of it than its grid has voxels."""
    shape = packed.geometry.shape
    voxels = int(np.prod([max(0, length) for length in shape], dtype=np.int64))
    if not 0 < voxels <= _MOST_VOXELS or min(packed.geometry.spacing) <= 0 or len(packed.geometry.direction) != 9:
        raise ValueError("no such grid")
    opened = zlib.decompressobj()
    array = np.frombuffer(opened.decompress(base64.b64decode(packed.voxels, validate=True), voxels), np.uint8)
    if array.size != voxels or opened.unconsumed_tail or not np.isfinite(packed.geometry.affine_ras).all():
        raise ValueError("not as many voxels as it says")
    return Volume(array.reshape(shape), packed.geometry)


def _onto(part: Volume, grid: Geometry) -> Volume | None:
    """``part`` in an empty volume on ``grid``; None where its voxels are not the grid's own. An axis may run the other way."""
    across = np.linalg.inv(grid.affine_ras) @ part.geometry.affine_ras
    turned = np.sign(np.rint(np.diag(across)[:3])).astype(int)
    first = across[:3, 3]
    if not np.allclose(across[:3, :3], np.diag(turned), atol=_ON_GRID / max(part.geometry.size)) or np.abs(first - np.rint(first)).max() > _ON_GRID:
        return None
    lowest = np.where(turned < 0, np.rint(first).astype(int) - np.array(part.geometry.size) + 1, np.rint(first).astype(int))
    if not turned.all() or (lowest < 0).any() or (lowest + part.geometry.size > np.array(grid.size)).any():
        return None
    whole = np.zeros(grid.shape, np.uint8)
    there = tuple(slice(lowest[axis], lowest[axis] + part.geometry.size[axis]) for axis in (2, 1, 0))
    whole[there] = part.array[tuple(slice(None, None, int(turned[axis])) for axis in (2, 1, 0))]
    return Volume(whole, grid)


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(_Kept)
