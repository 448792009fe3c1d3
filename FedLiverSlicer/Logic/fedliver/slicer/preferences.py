"""What the panel remembers of this computer's user, in the site's folder: no scene, and no scan, has a say in it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from fedliver.files import write_text

FILE_NAME = "panel.json"


class Preferences(BaseModel):
    """``ahead``: segment new cases of the worklist before they are opened."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ahead: bool = False


def read_preferences(home: Path) -> Preferences:
    """The preferences; the defaults where there is no file, or none that can be read."""
    try:
        return Preferences.model_validate_json((home / FILE_NAME).read_bytes())
    except (OSError, ValidationError):
        return Preferences()


def write_preferences(home: Path, preferences: Preferences) -> None:
    """Raises what :func:`fedliver.files.write_text` raises."""
    write_text(home / FILE_NAME, preferences.model_dump_json() + "\n")
