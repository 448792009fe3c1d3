"""The progress file: the ClientApp appends one JSON line per event, the panel and the command line tail it. It stays on this machine."""

import os
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_HEAD_BYTES = 40
Phase = Literal["received", "evaluating", "training", "sending", "delivered", "stopped", "failed"]


class ProgressEvent(BaseModel):
    """One thing that happened at this site. Numbers only: no path and no patient."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    time: float = Field(default_factory=time.time)
    phase: Phase
    round: int = Field(ge=0)
    rounds: int = Field(ge=0)
    """The last round of the current run."""
    step: int = 0
    total: int = 0
    loss: float | None = None
    dice: float | None = None
    """Liver Dice of the model received in this round on this site's held-out cases, 0 to 1."""
    cases: int = 0
    seconds: float = 0.0
    code: int = 0
    """0, or one of ``site.codes``."""

    @property
    def sentence(self) -> str:
        """The event in the clinician's words."""
        from fedliver.site.codes import sentence_of

        where = f"Round {self.round} of {self.rounds}"
        dice = f", liver Dice {self.dice:.3f} on {self.cases} held-out case{'s' if self.cases != 1 else ''}" if self.dice is not None else ""
        return {
            "received": f"{where}: the current model has arrived",
            "evaluating": f"{where}: checking the model on this site's held-out cases{dice}",
            "training": f"{where}: step {self.step} of {self.total}" + (f", loss {self.loss:.3f}" if self.loss is not None else ""),
            "sending": f"{where}: sending the update after {self.seconds:.0f} s of training",
            "delivered": f"{where}: the new teacher has arrived{dice}",
            "stopped": f"{where}: stopped here; nothing was sent",
            "failed": f"{where}: {sentence_of(self.code)}",
        }[self.phase]


def append_event(path: Path, event: ProgressEvent) -> None:
    """Append one line in one write, so that a reader never sees two events mixed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (event.model_dump_json() + "\n").encode())
    finally:
        os.close(descriptor)


class ProgressTail:
    """Reads what was appended since the last look. Forgives a missing file, a half-written line, a damaged line and a file begun anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._head = b""

    def read(self) -> list[ProgressEvent]:
        """The new events, oldest first."""
        try:
            with self._path.open("rb") as stream:
                # Every event begins with its time, so the first bytes tell a file begun anew; an inode would not, for it is used again.
                if stream.read(len(self._head)) != self._head:
                    self._offset = 0
                stream.seek(self._offset)
                content = stream.read()
        except FileNotFoundError:
            self._offset, self._head = 0, b""
            return []
        whole = content[: content.rfind(b"\n") + 1]
        if self._offset == 0:
            self._head = whole[:_HEAD_BYTES]
        self._offset += len(whole)
        events = []
        for line in whole.splitlines():
            try:
                events.append(ProgressEvent.model_validate_json(line))
            except ValidationError:
                continue
        return events
