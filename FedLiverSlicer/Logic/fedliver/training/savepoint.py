"""Where a training stands: kept on disk, so that a crash costs no more than a minute, and so that a site's next round goes on where its last one ended."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedliver.files import write_file

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Standing:
    """All that a training is made of after a step; ``average`` and ``tutor`` are None where there is none.

    ``average`` is the moving average that is handed back; ``tutor`` the one that teaches on scans without labels (see :mod:`fedliver.training.student`).
    """

    step: int
    seconds: float
    losses: list[float]
    network: State
    optimiser: dict[str, Any]
    average: State | None
    tutor: State | None
    tutor_steps: int
    stopping: dict[str, Any] | None = None
    """Of :class:`~fedliver.training.early_stopping.EarlyStopping`."""


class Savepoint:
    """One file that holds a :class:`Standing`, whole or absent.

    Parameters
    ----------
    path:
        The file. It holds weights; no image, no name, no path.
    key:
        What the training is of. A file with another key, or one that cannot be read, is as good as none: it only saves time.
    every_seconds:
        How much work may be lost.
    """

    def __init__(self, path: Path, key: str, every_seconds: float = 60.0) -> None:
        self.path = path
        self.every_seconds = every_seconds
        self._key = key

    def read(self) -> Standing | None:
        """What was written last."""
        import torch

        try:
            kept = torch.load(self.path, map_location="cpu", weights_only=True)
            return Standing(**kept["standing"]) if kept["key"] == self._key else None
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError, ValueError):
            return None

    def write(self, standing: Standing) -> None:
        """Replace the file (raises what :func:`fedliver.files.write_file` does)."""
        import torch

        def save(part: Path) -> None:
            with part.open("wb") as stream:  # by its name, torch refuses a file that begins with a dot and has no ending
                torch.save({"key": self._key, "standing": vars(standing)}, stream)

        write_file(self.path, save)

    def remove(self) -> None:
        """The training is done, or its work is to be forgotten."""
        self.path.unlink(missing_ok=True)
