"""The panel opens at once: what takes long is imported beside it, and a later result does not make it wider."""

import sys
import threading
from typing import Any

import pytest
from hands import add_ct, segment
from seams import Desk, seams

from fedliver.slicer import panel_events as on
from fedliver.slicer import workflow


def test_the_panel_is_on_show_before_the_sites_records_are_imported_and_knows_its_site_then(desktop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = threading.Event()
    monkeypatch.setattr(workflow, "records_are_imported", imported.is_set)
    monkeypatch.setattr(workflow, "import_records", lambda: imported.wait(30))
    panel = desktop.open_panel(**seams(desk=Desk()))
    assert "starter" not in panel.ui.teacherLabel.text
    assert panel.ui.statusLabel.text
    assert not panel.workflow.working
    imported.set()
    desktop.wait(lambda: "starter" in panel.ui.teacherLabel.text)
    desktop.wait(lambda: not panel.workflow.needs_ticks)


def test_a_panel_that_goes_away_meanwhile_hears_nothing_of_it(desktop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = threading.Event()
    monkeypatch.setattr(workflow, "records_are_imported", imported.is_set)
    monkeypatch.setattr(workflow, "import_records", lambda: imported.wait(30))
    panel = desktop.open_panel(**seams())
    desktop.close_panel()
    imported.set()
    desktop.events()
    assert not panel.workflow.needs_ticks


def test_a_result_opens_sections_without_making_the_panel_wider(desktop: Any) -> None:
    add_ct()
    panel = desktop.open_panel(**seams())
    content = panel.ui.refineSection.parentWidget()
    assert panel.ui.refineSection.collapsed
    before = content.minimumWidth
    assert before > 0
    segment(desktop, panel)
    assert not panel.ui.refineSection.collapsed
    assert content.layout().minimumSize().width() <= before


def test_a_sentence_with_a_long_path_does_not_make_the_panel_wider(desktop: Any) -> None:
    panel = desktop.open_panel(**seams())
    content = panel.ui.refineSection.parentWidget()
    before = content.minimumWidth
    panel.workflow.session.tell(on.Noticed("Send this file to the coordinator: " + "/a-folder-of-a-hospital" * 12))
    assert panel.ui.statusLabel.text.endswith("hospital")
    assert content.layout().minimumSize().width() <= before


def test_the_colour_of_the_bar_is_not_the_words_own_so_that_they_follow_slicers_theme(desktop: Any) -> None:
    panel = desktop.open_panel(**seams())
    assert "border" in panel.ui.statusFrame.styleSheet
    assert panel.ui.statusLabel.styleSheet == ""


def test_a_panel_that_said_why_it_cannot_be_built_is_closed_without_the_package(desktop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desktop.load_module(), "OLDEST_PYTHON", (99, 0))
    monkeypatch.setitem(sys.modules, "fedliver.slicer.bound_parameters", None)  # as where nobody has found the package yet
    panel = desktop.open_panel(**seams())
    assert panel.workflow is None
    desktop.close_panel()
