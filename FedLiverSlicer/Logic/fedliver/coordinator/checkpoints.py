"""The global weights after each round with all that the next round needs, whole or absent, so that a run goes on where the last one ended."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedliver.coordinator.array_file import DamagedFileError, read_arrays, write_arrays

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
    write_arrays(target, {f"{_WEIGHTS}{name}": array for name, array in weights.items()} | {f"{_STATE}{name}": array for name, array in (state or {}).items()})
    return target


def load_checkpoint(path: Path) -> Weights:
    """The weights of one checkpoint. Nothing in it is unpickled. Raises :class:`~fedliver.coordinator.array_file.DamagedFileError`."""
    return _under(_WEIGHTS, read_arrays(path))


def newest_checkpoint(folder: Path, like: Mapping[str, np.ndarray], passed_over: Callable[[int], None] = lambda number: None) -> Checkpoint | None:
    """The newest checkpoint that is whole, finite and of the same tensors as ``like``; of newer ones that are not, ``passed_over`` is told the number."""
    numbered = sorted(((int(found[1]), path) for path in folder.glob("round-*.npz") if (found := _NAME.fullmatch(path.name))), reverse=True)
    for number, path in numbered:
        try:
            stored = read_arrays(path)
        except DamagedFileError:
            passed_over(number)
            continue
        weights, state = _under(_WEIGHTS, stored), _under(_STATE, stored)
        if same_tensors(weights, like) and all(_finite(array) for array in (*weights.values(), *state.values())):
            return Checkpoint(number, weights, state)
        passed_over(number)
    return None


def same_tensors(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether both have the same names, shapes and types."""
    return one.keys() == other.keys() and all(one[name].shape == other[name].shape and one[name].dtype == other[name].dtype for name in one)


def _under(prefix: str, stored: Weights) -> Weights:
    return {name.removeprefix(prefix): array for name, array in stored.items() if name.startswith(prefix)}


def _finite(array: np.ndarray) -> bool:
    return np.issubdtype(array.dtype, np.number) and bool(np.isfinite(array).all())
