"""Every sentence of the panel is looked up where Slicer's tools put it: in the context of its own file.

The ``desktop`` of all widget tests watches over it, too: see conftest.py.
"""

import ast
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from extraction import FILES, calls, context_of, extracted, misplaced, own_translators, sentence_of

from desktop import MODULE_FILE
from fedliver.slicer import segmenting_work
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.translation import by_file

SAYING = [path for path in FILES if calls(ast.parse(path.read_text()))]


def names_in(path: Path, desktop: Any) -> dict[str, Any]:
    """What the names of a file mean when it runs in the desktop."""
    if path == MODULE_FILE:
        return vars(desktop.load_module())
    translated = PanelSession(translate=desktop.app.translate).translated
    module = importlib.import_module(f"fedliver.slicer.{path.stem}")
    return {**vars(module), "_": translated, "self": SimpleNamespace(_=translated)}


@pytest.mark.parametrize("path", SAYING, ids=lambda path: path.stem)
def test_every_sentence_of_a_file_is_looked_up_in_the_context_that_it_is_extracted_under(path: Path, desktop: Any) -> None:
    names = names_in(path, desktop)
    for call in calls(ast.parse(path.read_text())):
        desktop.app.looked_up.clear()
        eval(compile(ast.Expression(call), str(path), "eval"), names)  # noqa: S307 (our own source)
        assert desktop.app.looked_up == {(context_of(path), sentence_of(call))}


@pytest.mark.parametrize("path", SAYING, ids=lambda path: path.stem)
def test_a_file_uses_the_translator_that_is_passed_to_it(path: Path) -> None:
    assert own_translators(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    ("passed_on", "its_own"),
    [
        ("self._ = session.translated", "self._ = lambda text: session.translate('slicer.workflow', text)"),
        ("self._ = session.translated", "self._ = session.translated_for('slicer.workflow')"),
    ],
)
def test_a_file_with_a_translator_of_its_own_is_noticed(passed_on: str, its_own: str) -> None:
    source = Path(segmenting_work.__file__).read_text()
    assert passed_on in source
    assert own_translators(ast.parse(source.replace(passed_on, its_own))) == [its_own]
    assert own_translators(ast.parse("def said(_=str):\n    return _('Choose a CT first.')")) != []


def test_a_look_into_another_files_context_is_noticed() -> None:
    assert misplaced({("slicer.case_controls", "Auto-segment"), ("SubjectHierarchy", "Delete")}) == []
    assert misplaced({("slicer.panel_view", "Auto-segment")}) == [("slicer.panel_view", "Auto-segment")]
    assert misplaced({("slicer.panel_view", "A sentence from elsewhere.")}) != []


@pytest.mark.parametrize("path", SAYING, ids=lambda path: path.stem)
def test_no_sentence_stands_inside_an_f_string_where_the_tools_do_not_see_it(path: Path) -> None:
    strings = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.JoinedStr)]
    assert [sentence_of(call) for string in strings for call in calls(string)] == []


def test_the_context_of_a_file_has_the_name_of_its_package() -> None:
    assert context_of(MODULE_FILE) == "FedLiverSlicer"
    assert context_of(Path(segmenting_work.__file__)) == "slicer.segmenting_work"
    assert len(extracted()) > 200


def test_a_translation_with_other_blanks_than_the_sentence_is_not_taken() -> None:
    said = {"{count} new": "{anzahl} neu", "{count} were refused ({reasons})": "abgelehnt ({reasons}): {count}"}
    _ = by_file(lambda context, text: said[text])
    assert _("{count} new") == "{count} new"
    assert _("{count} were refused ({reasons})") == "abgelehnt ({reasons}): {count}"
