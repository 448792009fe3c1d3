"""A view of the panel's state as the page's own state: plain values for a browser. No trame, no Slicer.

The page shows the words of :mod:`~fedliver.slicer.panel_view`; what only a browser needs (marks beside colours) is added here.
"""

from collections.abc import Sequence
from typing import Any

from fedliver.slicer.panel_state import PanelState
from fedliver.slicer.panel_view import ChecklistLine, Control, PanelView
from fedliver.web.words import Words

TONE_MARKS = {"information": "i", "success": "✓", "warning": "!", "error": "✗"}
TONE_WORDS = {"information": "Note", "success": "Done", "warning": "Attention", "error": "Problem"}
_CHECK_MARKS = {"passed": ("✓", "passed"), "failed": ("✗", "failed"), "overridden": ("!", "overruled"), "open": ("…", "open")}

OTHER_WORDS = {
    "Load a CT and choose it below.": "Open a CT, or the next case of the worklist.",
    "The CT to segment. Load one with Add Data or DICOM if the list is empty.": "The CT to segment. Open one with “Open a CT” if the list is empty.",
    "This CT was not loaded from Slicer's DICOM database: use the command “fedliver case export” with the scan's folder.": (
        "A browser has no DICOM database: use the command “fedliver case export” with the scan's folder."
    ),
    "Draw loss and Dice of all rounds on this computer in Slicer's chart view.": "Draw loss and Dice of all rounds on this computer.",
    "Add scans…": "Add all to the worklist",
    "Add the scans of a folder to the worklist: DICOM studies, or NIfTI files. They are kept on this computer under a pseudonym.": (
        "Add all scans on this computer to the worklist. They are kept there under a pseudonym."
    ),
    "Correct the outlines with the tools of the Segment Editor.": "Correct the outlines with the tools below.",
}
"""Sentences of the panel that speak of the desktop, and what a browser says instead."""


def in_a_browser(_context: str, text: str) -> str:
    """The translator of the page: the panel's own words but for :data:`OTHER_WORDS`."""
    return OTHER_WORDS.get(text, text)


def shown(view: PanelView, state: PanelState, words: Words) -> dict[str, Any]:
    """What the page's template reads, by name: dictionaries, lists, text and numbers."""
    return {
        "controls": {control.value: _control(view, control, words) for control in Control},
        "status": view.status,
        "tone": view.tone.value,
        "tone_mark": TONE_MARKS[view.tone.value],
        "tone_word": TONE_WORDS[view.tone.value],
        "percent": view.percent,
        "progress_text": view.progress_text,
        "busy": state.busy,
        "teacher": state.teacher or "none yet",
        "result": view.result,
        "lesions": list(view.lesions),
        "effort": view.effort,
        "ahead": view.ahead,
        "environment": view.environment,
        "learning": view.learning,
        "wants_ahead": state.ahead.wanted,
        "checklist": _lines(view.checklist),
        "needs_reason": state.needs_reason,
        "federation": view.federation,
        "connection": _lines(view.connection),
        "account": view.account,
        "ledger": list(view.ledger),
        "round_percent": view.round_percent,
        "asks_consent": view.asks_consent,
        "leaves": list(view.leaves),
        "stays": list(view.stays),
        "rules": list(view.rules),
        "details": view.details,
        "processor": view.processor,
        "opted_in": state.opted_in,
        "candidate": view.candidate,
        "case": state.case,
        "has_ct": bool(state.ct),
        "has_segmentation": bool(state.segmentation),
        "sections_of_use": list(view.sections_of_use),
    }


def _control(view: PanelView, control: Control, words: Words) -> dict[str, Any]:
    look = view.controls[control]
    return {"live": look.live, "hint": look.hint, "visible": look.visible, "label": look.label or words.text.get(control.value, "")}


def _lines(lines: Sequence[ChecklistLine]) -> list[dict[str, str]]:
    return [{"mark": _CHECK_MARKS[line.mark][0], "said": _CHECK_MARKS[line.mark][1], "kind": line.mark, "text": line.text} for line in lines]
