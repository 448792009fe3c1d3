"""What one user's workbench is started with. The front writes it, the workbench reads it; no trame, no Slicer."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class WorkbenchSettings(BaseModel):
    """``port`` 0: any free one. ``inbox``: the folder into which the front puts finished uploads, a sub-folder for each.

    ``data``: a folder of scans on this computer that may be opened without an upload; None for none.
    ``key``: what every request must carry in the header :data:`KEY_HEADER`, so that another user of this computer cannot pass by the
    front; empty for none, as in development.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path
    inbox: Path
    port: int = Field(default=0, ge=0, le=65535)
    data: Path | None = None
    key: str = ""


KEY_HEADER = "X-FedLiver-Key"
