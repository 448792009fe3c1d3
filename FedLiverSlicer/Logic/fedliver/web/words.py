"""The words on the desktop panel's controls, read from its own .ui file: the page says the same, and nobody writes them twice."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

_IN_THE_REPOSITORY = Path(__file__).resolve().parents[3] / "Resources" / "UI" / "FedLiverSlicer.ui"
_IN_THE_PACKAGE = Path(__file__).resolve().parents[1] / "ui" / "FedLiverSlicer.ui"


@dataclass(frozen=True)
class Words:
    """``text``: by the widget's name, what stands on it, or in it while it is empty. ``choices``: by the list's name, its entries; ``at``: which is chosen."""

    text: dict[str, str]
    choices: dict[str, tuple[str, ...]]
    at: dict[str, int]


def panel_words(path: Path | None = None) -> Words:
    """The words of the .ui file at ``path``; of the panel's own for None."""
    path = path or (_IN_THE_REPOSITORY if _IN_THE_REPOSITORY.is_file() else _IN_THE_PACKAGE)
    text: dict[str, str] = {}
    choices: dict[str, tuple[str, ...]] = {}
    at: dict[str, int] = {}
    for widget in ElementTree.parse(path).getroot().iter("widget"):  # noqa: S314
        name = widget.get("name", "")
        said = _string(widget, "text") or _string(widget, "placeholderText")
        if said:
            text[name] = said
        entries = tuple(_string(item, "text") for item in widget.findall("item"))
        if any(entries):
            choices[name] = entries
            at[name] = int(widget.findtext("property[@name='currentIndex']/number", "0"))
    return Words(text, choices, at)


def _string(element: ElementTree.Element, name: str) -> str:
    for entry in element.findall("property"):
        string = entry.find("string")
        if entry.get("name") == name and string is not None:
            return string.text or ""
    return ""


PAGE_WORDS = {
    "open": "Open a CT…",
    "open_folder": "Open a DICOM folder…",
    "sample": "Make a CT to try it with",
    "sample_hint": "No CT at hand? This makes one: a body with a liver and lesions, no patient's. Nothing is downloaded.",
    "open_hint": "DICOM files, NIfTI, NRRD or MetaImage. They go to this workbench's own computer and nowhere else.",
    "open_folder_hint": "A folder with the DICOM files of a CT. They go to this workbench's own computer and nowhere else.",
    "data": "Scans on this computer",
    "open_data": "Open",
    "stop": "Stop",
    "close": "Close",
    "close_hint": "Take this CT and its outlines out of the workbench's memory. A case of the worklist stays in it.",
    "close_question": "Close this CT? Its outlines are not approved: what you have drawn since it was opened is lost.",
    "series": "There are several series here. Which one?",
    "show": "Show",
    "order": "Order",
    "empty": "Open a CT, or make one to try it with.",
    "view_keys": "Arrow keys and Page keys move through the slices, plus and minus zoom.",
    "draw_on": "Draw on",
    "tools": "Tools",
    "undo": "Undo",
    "redo": "Redo",
    "brush": "Brush",
    "ball": "Ball: reaches into neighbouring slices",
    "stamp": "Draw with the mouse, or move the cross with Shift and the arrow keys and press Space.",
    "cut": "Draw around:",
    "hide_curves": "Hide curves",
    "this_slice": "In this slice only",
    "largest": "Keep the largest piece",
    "specks": "Remove pieces under",
    "from": "From",
    "to": "to",
    "kernel": "Smooth over",
    "apply": "Apply",
    "working": "Working on the outlines…",
    "dropped": "Nothing was changed: these outlines were in use meanwhile, or are not shown any more. Press again.",
    "making_3d": "Making the 3D view…",
    "leaves": "What leaves this computer when you join",
    "stays": "What never leaves it",
    "rules": "By which rules",
    "request": "Save the request for the coordinator",
    "window": "Window",
    "fit": "Fit",
    "fit_hint": "Show the whole CT in every view (F)",
    "lost": "The connection to the workbench is lost. This page opens again as soon as the workbench answers.",
    "reload": "Try now",
    "ok": "OK",
    "cancel": "Cancel",
    "keyboard": "Keyboard",
}
"""What only the page says: a desktop has menus, other modules and a file dialogue for it."""

TOOL_WORDS = {
    "none": "Look",
    "paint": "Paint",
    "erase": "Erase",
    "scissors": "Scissors",
    "islands": "Islands",
    "threshold": "Threshold",
    "smoothing": "Smooth",
}
TOOL_KEYS = {"none": "0", "paint": "1", "erase": "2", "scissors": "3", "islands": "4", "threshold": "5", "smoothing": "6"}
CUT_WORDS = {"ERASE_INSIDE": "erase inside", "ERASE_OUTSIDE": "erase outside", "FILL_INSIDE": "fill inside"}
KEY_WORDS = {
    "Tab": "from control to control, and into a view",
    "↑ ↓, Page ↑ ↓": "in a view: one slice on, ten slices on",
    "Shift + arrows": "in a view: move the cross",
    "Space": "in a view: one dab of the brush at the cross",
    "+ −": "in a view: zoom",
    "0 to 6": "take a tool in hand",
    "[ ]": "smaller, larger brush",
    "Ctrl+Z, Ctrl+Y": "undo, redo",
    "F": "fit the views",
    "N": "next place to look",
}
