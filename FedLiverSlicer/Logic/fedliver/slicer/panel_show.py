"""A view put onto the panel's widgets. No import of Qt: the widgets of PythonQt have their properties as attributes, and that is all this needs."""

import re
from typing import Any

from fedliver.slicer import panel_html
from fedliver.slicer.panel_state import PanelState
from fedliver.slicer.panel_view import PanelView
from fedliver.slicer.translation import Translate

TONE_COLOURS = {"information": "#4a90c2", "success": "#3c9d5d", "warning": "#d08a1d", "error": "#cc4433"}


class PanelPainter:
    """``ui``: the widgets by the names they have in the .ui file."""

    def __init__(self, ui: Any, translate: Translate) -> None:
        self._ui = ui
        self._ = translate
        self._tone: object = None
        self._opened: set[str] = set()

    def show(self, view: PanelView, state: PanelState) -> None:
        """Let the panel look as ``view`` says."""
        ui = self._ui
        self._show_controls(view)
        self._show_status(view)
        ui.teacherLabel.text = self._("{teacher}, for research only").format(teacher=state.teacher) if state.teacher else self._("none yet")
        ui.progressFrame.visible = view.percent is not None
        ui.progressBar.value = view.percent or 0
        ui.progressLabel.text = view.progress_text
        ui.processorLabel.text = view.processor
        _text(ui.resultLabel, view.result)
        _text(ui.lesionsLabel, panel_html.lesions(view))
        _text(ui.effortLabel, view.effort)
        _text(ui.aheadLabel, view.ahead)
        _tick(ui.aheadCheckBox, state.ahead.wanted)
        _text(ui.learnLabel, view.learning)
        _text(ui.checklistLabel, panel_html.checklist(view.checklist))
        if not state.needs_reason:
            ui.reasonEdit.text = ""
        self._show_federation(view, state)
        for section in set(view.sections_of_use) - self._opened:
            getattr(ui, section).collapsed = False
        self._opened = set(view.sections_of_use)

    def _show_controls(self, view: PanelView) -> None:
        for control, look in view.controls.items():
            widget = getattr(self._ui, control.value)
            widget.enabled = look.live
            widget.toolTip = look.hint
            widget.visible = look.visible
            if look.label:
                widget.text = look.label

    def _show_status(self, view: PanelView) -> None:
        self._ui.statusLabel.text = _breakable(view.status)
        if view.details != self._ui.detailsLabel.text:
            self._ui.detailsLabel.text = view.details
            self._ui.detailsSection.collapsed = True
        self._ui.detailsSection.visible = bool(view.details)
        if view.tone is not self._tone:  # a new style sheet is slow
            self._tone = view.tone
            style = f"#statusFrame {{ border: 1px solid {TONE_COLOURS[view.tone.value]}; border-left-width: 6px; }}"
            self._ui.statusFrame.setStyleSheet(style)  # of the frame: a label with a style of its own keeps its colour when Slicer's theme changes

    def _show_federation(self, view: PanelView, state: PanelState) -> None:
        ui = self._ui
        ui.federationLabel.text = view.federation
        _text(ui.connectionLabel, panel_html.checklist(view.connection))
        _text(ui.ledgerLabel, panel_html.ledger(view))
        _text(ui.environmentLabel, view.environment)
        ui.roundBar.visible = view.round_percent is not None
        ui.roundBar.value = view.round_percent or 0
        ui.consentFrame.visible = view.asks_consent
        _text(ui.leavesLabel, panel_html.consent(view, self._))
        _tick(ui.optInCheckBox, state.opted_in)
        ui.candidateFrame.visible = bool(view.candidate)
        ui.candidateLabel.text = view.candidate


def _breakable(text: str) -> str:
    """A path may be broken after a slash: the longest word of a label is the least width of the whole panel."""
    return re.sub(r"(?<=\w)([/\\])(?=\w)", "\\1\N{ZERO WIDTH SPACE}", text)


def _tick(box: Any, checked: bool) -> None:
    """Without its telling anyone: nobody has pressed it."""
    box.blockSignals(True)
    box.checked = checked
    box.blockSignals(False)


def _text(label: Any, text: str) -> None:
    label.text = text
    label.visible = bool(text)
