"""What a student learns from."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Example:
    """A CT on disk and its label map; ``labels`` is None for a scan that nobody has annotated.

    ``tumour_labelled`` is False where tumours were annotated as liver: such a case teaches the liver and says nothing about tumours.
    """

    ct: Path
    labels: Path | None
    tumour_labelled: bool = True
