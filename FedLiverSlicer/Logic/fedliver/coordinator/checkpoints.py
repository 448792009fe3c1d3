"""The global weights after each round with all that the next round needs, whole or absent, so that a run goes on where the last one ended."""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedliver.files import write_file

Weights = dict[str, np.ndarray]
_NAME = re.compile(r"round-(\d{3,})\.npz")
_WEIGHTS, _STATE = "weights/", "state/"


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds. ``state`` is what the strategy and the transport remember from round to round, by names of their own."""

    number: int
    weights: Weights
    state: Weights = field(default_factory=dict)


def save_checkpoint(folder: Path, number: int, weights: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write ``round-NNN.npz``; the arrays keep their types."""
    target = folder / f"round-{number:03d}.npz"
    arrays = {f"{_WEIGHTS}{name}": array for name, array in weights.items()} | {f"{_STATE}{name}": array for name, array in (state or {}).items()}

    def write(part: Path) -> None:
        with part.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    write_file(target, write)
    return target


def load_checkpoint(path: Path) -> Weights:
    """The weights of one checkpoint. Nothing in it is unpickled. Raises ``ValueError`` if it is damaged."""
    return _read(path, _WEIGHTS)


def newest_checkpoint(folder: Path, like: Mapping[str, np.ndarray]) -> Checkpoint | None:
    """The newest checkpoint that is whole, finite and of the same tensors as ``like``; damaged ones are passed over."""
    numbered = sorted(((int(found[1]), path) for path in folder.glob("round-*.npz") if (found := _NAME.fullmatch(path.name))), reverse=True)
    for number, path in numbered:
        try:
            weights, state = _read(path, _WEIGHTS), _read(path, _STATE)
        except ValueError:
            continue
        if same_tensors(weights, like) and all(np.isfinite(array).all() for array in (*weights.values(), *state.values())):
            return Checkpoint(number, weights, state)
    return None


def same_tensors(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether both have the same names, shapes and types."""
    return one.keys() == other.keys() and all(one[name].shape == other[name].shape and one[name].dtype == other[name].dtype for name in one)


def _read(path: Path, prefix: str) -> Weights:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name.removeprefix(prefix): stored[name] for name in stored.files if name.startswith(prefix)}
    except (OSError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise ValueError("damaged checkpoint") from error
