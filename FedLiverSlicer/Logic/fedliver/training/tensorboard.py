"""A training's losses and scores for TensorBoard, beside whatever else watches it."""

from pathlib import Path
from typing import Self

from fedliver.errors import FedLiverError
from fedliver.training.student import TrainingWatcher


class TensorBoardWatcher:
    """Passes everything on to ``watcher`` and writes the loss of every stage, by step, into ``folder``.

    Raises
    ------
    FedLiverError
        ``no-tensorboard`` where it is not installed.
    """

    def __init__(self, watcher: TrainingWatcher, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise FedLiverError("no-tensorboard", "TensorBoard is not installed: `pip install tensorboard`, or leave --tensorboard out.") from error
        self._watcher = watcher
        self._writer = SummaryWriter(str(folder))
        self._stage = "training"

    def report(self, phase: str, fraction: float) -> None:
        stage = phase.removeprefix("Training: ")
        self._stage = stage if stage != phase else self._stage
        self._watcher.report(phase, fraction)

    def cancelled(self) -> bool:
        return self._watcher.cancelled()

    def step(self, n: int, total: int, loss: float) -> None:
        self._writer.add_scalar(f"loss/{self._stage}", loss, n)
        self._watcher.step(n, total, loss)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
