"""The rows of a study on disk, so that one that was interrupted goes on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from fedliver.errors import FedLiverError
from fedliver.files import write_text

Row = TypeVar("Row", bound=BaseModel)


class KeptRows(Generic[Row]):
    """What ``path`` (JSON) holds of ``study``, which may have been begun with fewer seeds, or more.

    Raises
    ------
    FedLiverError
        ``other-study`` where it holds another study, or this one with other settings; ``results-unreadable``.
    """

    def __init__(self, path: Path, study: BaseModel, row: type[Row]) -> None:
        self._path = path
        self._study = study.model_dump(mode="json")
        self.rows: list[Row] = self._read(row)

    def add(self, rows: Sequence[Row]) -> None:
        """Keep more of them."""
        self.rows += rows
        write_text(self._path, json.dumps({"study": self._study, "rows": [row.model_dump(mode="json") for row in self.rows]}, indent=1) + "\n")

    def _read(self, row: type[Row]) -> list[Row]:
        if not self._path.is_file():
            return []
        try:
            kept = json.loads(self._path.read_text())
            same, rows = {**kept["study"], **_any_seeds(self._study)} == self._study, [row.model_validate(one) for one in kept["rows"]]
        except (ValueError, KeyError, TypeError) as error:
            raise FedLiverError("results-unreadable", f"{self._path.name} cannot be read: take it away to begin anew.") from error
        if not same:
            raise FedLiverError("other-study", f"{self._path.name} holds another study: give another folder, or the settings it was begun with.")
        return rows


def _any_seeds(study: dict[str, object]) -> dict[str, object]:
    """A row is of one seed, so it stays what it is when others are added."""
    return {name: value for name, value in study.items() if name == "seeds"}
