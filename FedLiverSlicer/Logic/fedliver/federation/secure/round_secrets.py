"""What a site must remember between the steps of a masked sum: in two files that only this user may read, gone when the sum is over.

Flower starts a new process for every message, so memory alone does not do. What stays behind is the number of the run and the round, so that none comes twice.
"""

import os
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from fedliver.federation.secure.words import Hex32, HexShare, Keys, Masking, Members, Number
from fedliver.site.keys import write_secret
from fedliver.site.ledger import UpdateOut

Step = Literal["keys", "shared", "masked", "over"]
_STATE, _CONTRIBUTION = "state.json", "contribution.bin"


class SharePair(BaseModel):
    """One site's shares of another's two secrets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: HexShare
    key: HexShare


class RoundSecrets(BaseModel):
    """``state.json``. What is not needed any more is empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: int
    round: int
    step: Step
    """The last one that was answered."""
    masking: Masking | None = None
    request: Hex32 | Literal[""] = ""
    """A hash of what this site was asked to do in this round."""
    entry: UpdateOut | None = None
    """What the ledger will say when the masked update leaves."""
    own: Keys | None = None
    sealing_private: Hex32 | Literal[""] = ""
    masking_private: Hex32 | Literal[""] = ""
    seed: Hex32 | Literal[""] = ""
    members: Members | None = None
    number: int = 0
    """This site's own, in the list of members."""
    shares: dict[Number, SharePair] = {}
    """By whose secrets they are of; this site's own first, then what the others' letters brought."""


class SecretsFolder:
    """The folder in which they lie."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> RoundSecrets | None:
        """What is remembered; None where there is nothing that can be read."""
        try:
            return RoundSecrets.model_validate_json((self._folder / _STATE).read_bytes())
        except (OSError, ValueError):
            return None

    def write(self, secrets: RoundSecrets) -> None:
        """Remember it in the place of what was there (FedLiverError ``disk-full``, ``not-writable``)."""
        self._make()
        write_secret(self._folder / _STATE, secrets.model_dump_json().encode())

    def write_contribution(self, vector: np.ndarray) -> None:
        self._make()
        write_secret(self._folder / _CONTRIBUTION, vector.astype("<u4").tobytes())

    def contribution(self) -> np.ndarray:
        """The update that waits to be masked (``OSError``)."""
        return np.fromfile(self._folder / _CONTRIBUTION, "<u4")

    def remove_contribution(self) -> None:
        (self._folder / _CONTRIBUTION).unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove every secret; only which round it was stays."""
        self.remove_contribution()
        known = self.read()
        if known is not None and known.step != "over":
            self.write(RoundSecrets(run=known.run, round=known.round, step="over"))
        elif known is None:
            (self._folder / _STATE).unlink(missing_ok=True)

    def _make(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self._folder, 0o700)
