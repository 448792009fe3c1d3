"""The words on the desktop panel's controls, read from its own .ui file: the page says the same, and nobody writes them twice."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

_IN_THE_REPOSITORY = Path(__file__).resolve().parents[3] / "Resources" / "UI" / "FedLiverSlicer.ui"
_IN_THE_PACKAGE = Path(__file__).resolve().parents[1] / "ui" / "FedLiverSlicer.ui"


@dataclass(frozen=True)
class Words:
    """``text``: by the widget's name, what stands on it, or in it while it is empty. ``choices``: by the list's name, its entries."""

    text: dict[str, str]
    choices: dict[str, tuple[str, ...]]


def panel_words(path: Path | None = None) -> Words:
    """The words of the .ui file at ``path``; of the panel's own for None."""
    path = path or (_IN_THE_REPOSITORY if _IN_THE_REPOSITORY.is_file() else _IN_THE_PACKAGE)
    text: dict[str, str] = {}
    choices: dict[str, tuple[str, ...]] = {}
    for widget in ElementTree.parse(path).getroot().iter("widget"):  # noqa: S314
        name = widget.get("name", "")
        said = _string(widget, "text") or _string(widget, "placeholderText")
        if said:
            text[name] = said
        entries = tuple(_string(item, "text") for item in widget.findall("item"))
        if any(entries):
            choices[name] = entries
    return Words(text, choices)


def _string(element: ElementTree.Element, name: str) -> str:
    for entry in element.findall("property"):
        string = entry.find("string")
        if entry.get("name") == name and string is not None:
            return string.text or ""
    return ""


PAGE_WORDS = {
    "open": "Open a CT…",
    "open_folder": "Open a DICOM folder…",
    "open_hint": "DICOM files, NIfTI, NRRD or MetaImage. They go to this workbench's own computer and nowhere else.",
    "open_folder_hint": "A folder with the DICOM files of a CT. They go to this workbench's own computer and nowhere else.",
    "data": "Scans on this computer",
    "open_data": "Open",
    "stop": "Stop",
    "series": "There are several series here. Which one?",
    "show": "Show",
    "empty": "Open a CT, or the next case of the worklist.",
    "view_keys": "Arrow keys and Page keys move through the slices, plus and minus zoom.",
}
"""What only the page says: a desktop has menus, other modules and a file dialogue for it."""
