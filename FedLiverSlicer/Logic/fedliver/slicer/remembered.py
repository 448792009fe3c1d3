"""What a scene remembers of a segmentation: its measurements, its checklist, what correcting it took, and which approval it is.

It is an attribute of the segmentation node, so it is saved with the scene, and every patient of a scene keeps its own. A scene may come from
somebody else, and a segmentation may be changed while the panel is closed: so the labels are named by their :func:`digest`, and an approval
counts only while this site's case store has it in force.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from fedliver.image import Geometry, Volume, box_of
from fedliver.slicer.panel_state import Check, Effort, Measurements

ATTRIBUTE = "FedLiver.Result"
SECONDS_ATTRIBUTE = "FedLiver.Seconds"
_MOST_CHARACTERS = 200_000
_MOST_DIGITS = 6


@dataclass(frozen=True)
class Remembered:
    """``labels``: their digest. ``approval``: the approval's name in the case store (:meth:`SiteDesk.approval`), empty for none."""

    labels: str
    measurements: Measurements | None = None
    checks: tuple[Check, ...] = ()
    effort: Effort | None = None
    approval: str = ""


def digest(labels: Volume) -> str:
    """The same for the same labels at the same places of a CT, also where Slicer has turned the CT round on reading it, as it does with a left-handed
    grid. Reads every voxel: for a worker thread."""
    array = np.asarray(labels.array, dtype=np.uint8)[_turned(labels.geometry)]
    name = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    drawn = array != 0
    if drawn.any():
        box = box_of(drawn)
        name.update(repr([(part.start, part.stop) for part in box]).encode())
        name.update(np.ascontiguousarray(array[box]).data)
    return name.hexdigest()


def _turned(geometry: Geometry) -> tuple[slice, ...]:
    """What lets every axis of an array (k, j, i) run towards the positive end of the patient's axis that it is closest to."""
    axes = np.reshape(geometry.direction, (3, 3)).T[::-1]
    return tuple(slice(None, None, -1 if axis[np.abs(axis).argmax()] < 0 else 1) for axis in axes)


def remember_seconds(node: Any, seconds: float) -> None:
    """How long ``node`` has been worked on, for whoever opens the scene again."""
    node.SetAttribute(SECONDS_ATTRIBUTE, f"{seconds:.0f}")


def recall_seconds(node: Any) -> float | None:
    """How long it has been worked on; None where nothing, or no such number, is said."""
    text = node.GetAttribute(SECONDS_ATTRIBUTE) or ""
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def remember(node: Any, result: Remembered) -> None:
    """Let ``node`` remember ``result`` in the place of what it remembered. Needs pydantic, as everything does that has a result."""
    node.SetAttribute(ATTRIBUTE, _adapter().dump_json(result).decode())


def forget(node: Any) -> None:
    """Its labels have changed: nothing is known of them."""
    if node.GetAttribute(ATTRIBUTE):
        node.RemoveAttribute(ATTRIBUTE)


def recall(node: Any) -> Remembered | None:
    """What ``node`` remembers; None for nothing, for what cannot be read, and where pydantic is not installed yet."""
    text = node.GetAttribute(ATTRIBUTE) or ""
    if not text or len(text) > _MOST_CHARACTERS:
        return None
    try:
        found = _adapter().validate_json(text)
    except (ImportError, ValueError):
        return None
    return found if isinstance(found, Remembered) else None


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Remembered)
