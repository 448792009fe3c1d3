"""The global weights after each round, whole or absent, so that a run goes on where the last one ended."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedliver.files import write_file

Weights = dict[str, np.ndarray]
_NAME = re.compile(r"round-(\d{3,})\.npz")


def save_checkpoint(folder: Path, number: int, weights: Mapping[str, np.ndarray]) -> Path:
    """Write ``round-NNN.npz``; the arrays keep their types."""
    target = folder / f"round-{number:03d}.npz"

    def write(part: Path) -> None:
        with part.open("wb") as stream:
            np.savez(stream, **{f"weights/{name}": array for name, array in weights.items()})  # type: ignore[arg-type]

    write_file(target, write)
    return target


def load_checkpoint(path: Path) -> Weights:
    """Read one checkpoint. Nothing in it is unpickled. Raises ``ValueError`` if it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name.removeprefix("weights/"): stored[name] for name in stored.files}
    except (OSError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise ValueError("damaged checkpoint") from error


def newest_checkpoint(folder: Path, like: Mapping[str, np.ndarray]) -> tuple[int, Weights] | None:
    """The newest checkpoint that is whole, finite and of the same tensors as ``like``; damaged ones are passed over."""
    numbered = sorted(((int(found[1]), path) for path in folder.glob("round-*.npz") if (found := _NAME.fullmatch(path.name))), reverse=True)
    for number, path in numbered:
        try:
            weights = load_checkpoint(path)
        except ValueError:
            continue
        if same_tensors(weights, like) and all(np.isfinite(array).all() for array in weights.values()):
            return number, weights
    return None


def same_tensors(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether both have the same names, shapes and types."""
    return one.keys() == other.keys() and all(one[name].shape == other[name].shape and one[name].dtype == other[name].dtype for name in one)
