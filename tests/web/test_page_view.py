"""What the page shows: every control, every tone, the panel's own words; and the template asks for nothing that nobody tells it."""

import re
from pathlib import Path

import pytest

from fedliver.slicer import panel_state
from fedliver.slicer.controls import Control
from fedliver.slicer.panel_state import Check, Lesion, Measurements, Notice, PanelState, Tone, Work
from fedliver.slicer.panel_view import view
from fedliver.web import words as words_module
from fedliver.web.page_view import OTHER_WORDS, TONE_MARKS, TONE_WORDS, in_a_browser, shown
from fedliver.web.words import CUT_WORDS, KEY_WORDS, PAGE_WORDS, TOOL_KEYS, TOOL_WORDS, panel_words

PACKAGE = Path(panel_state.__file__).parent
PAGE = (Path(words_module.__file__).parent / "assets" / "page.html").read_text()
SCRIPT = (Path(words_module.__file__).parent / "assets" / "page.js").read_text()
WORDS = panel_words()


def page_of(state: PanelState) -> dict[str, object]:
    return shown(view(state, lambda text: in_a_browser("slicer.panel_view", text)), state, WORDS)


def test_every_control_of_the_panel_is_told_with_a_hint_and_those_that_carry_text_with_their_words() -> None:
    controls = page_of(PanelState())["controls"]
    assert set(controls) == {control.value for control in Control}
    assert all(look["hint"] for look in controls.values())
    assert controls["segmentButton"] == {"live": False, "hint": "Choose a CT first.", "visible": True, "label": "Auto-segment"}
    assert controls["joinButton"]["label"] == "Join federation"


def test_a_running_segmentation_is_a_cancel_button_a_bar_and_a_phase() -> None:
    state = PanelState(ct="CT", work=Work.SEGMENT, progress=panel_state.Progress("Looking for the liver", 0.4, 0.0, 1.0))
    page = page_of(state)
    assert page["controls"]["segmentButton"]["label"] == "Cancel"
    assert page["percent"] == 40
    assert page["progress_text"] == "Looking for the liver"
    assert page["busy"] is True


def test_the_table_has_the_result_and_a_line_for_each_lesion() -> None:
    page = page_of(PanelState(ct="CT", segmentation="S", measurements=Measurements(1400.0, 7.5, 20.0, (Lesion(4.8, 23.0), Lesion(2.7, 21.0)))))
    assert page["result"] == "Liver 1400 ml (with tumour), tumour 7.5 ml, in 20 s"
    assert page["lesions"] == ["Lesion 1: 4.8 ml, 23 mm across", "Lesion 2: 2.7 ml, 21 mm across"]


def test_nothing_is_told_by_colour_alone() -> None:
    for tone in Tone:
        page = page_of(PanelState(notice=Notice("A sentence.", tone)))
        assert page["tone_mark"] == TONE_MARKS[tone.value]
        assert page["tone_word"] == TONE_WORDS[tone.value]
    assert len(set(TONE_MARKS.values())) == len(set(TONE_WORDS.values())) == len(Tone)
    failed = PanelState(segmentation="S", checks=(Check("a", True, "Right."), Check("b", False, "Wrong."), Check("c", False, "Odd.", True)))
    assert [(line["mark"], line["said"]) for line in page_of(failed)["checklist"]] == [("✓", "passed"), ("✗", "failed"), ("✗", "failed")]


def test_no_sentence_that_a_reader_of_the_page_meets_speaks_of_slicers_desktop() -> None:
    page = page_of(PanelState())
    assert "Add Data" not in page["controls"]["ctSelector"]["hint"]
    assert page["status"] == "Open a CT, or the next case of the worklist."


@pytest.mark.parametrize("sentence", OTHER_WORDS)
def test_a_sentence_that_a_browser_says_otherwise_is_still_one_of_the_panels(sentence: str) -> None:
    assert any(f'"{sentence}"' in path.read_text() for path in PACKAGE.glob("*.py")), "the panel's sentence has changed: change the browser's, too"


def test_the_words_are_those_of_the_desktops_panel() -> None:
    assert WORDS.text["approveButton"] == "Approve case"
    assert WORDS.text["reasonEdit"].startswith("Your reason")
    assert WORDS.choices["strategyBox"][0] == "in order of arrival"
    assert WORDS.at["learnTimeBox"] == 1


@pytest.mark.parametrize(
    ("table", "told"),
    [("controls", {control.value for control in Control}), ("words", set(WORDS.text)), ("words_of_page", set(PAGE_WORDS)), ("choices", set(WORDS.choices))],
)
def test_the_template_asks_for_nothing_that_is_not_told(table: str, told: set[str]) -> None:
    asked = set(re.findall(rf"\b{table}\.(\w+)", PAGE))
    assert asked
    assert asked <= told


def test_every_control_of_the_panel_is_on_the_page() -> None:
    on_page = set(re.findall(r"\bcontrols\.(\w+)", PAGE))
    assert {control.value for control in Control} - {Control.EDITOR.value} <= on_page


def test_every_word_of_the_page_is_used() -> None:
    not_in_the_template = {"lost", "reload", "close_question"}
    assert set(re.findall(r"\bwords_of_page\.(\w+)", PAGE)) == set(PAGE_WORDS) - not_in_the_template


def test_every_tool_has_a_word_and_a_key_that_the_script_knows() -> None:
    from fedliver.web.tools import TOOLS, Settings

    assert tuple(TOOL_WORDS) == tuple(TOOL_KEYS) == TOOLS
    in_script = re.search(r"const TOOLS = \[(.*?)\]", SCRIPT)
    assert in_script
    assert re.findall(r'"(\w+)"', in_script.group(1)) == list(TOOLS)
    assert list(TOOL_KEYS.values()) == [str(number) for number in range(len(TOOLS))]
    assert set(CUT_WORDS) == set(Settings.model_json_schema()["properties"]["cut"]["enum"])
    assert KEY_WORDS


def test_everything_that_is_pressed_by_a_mouse_is_a_button_or_a_box_that_the_keyboard_reaches() -> None:
    assert not re.findall(r"<(?!button)\w+[^>]*@click", PAGE)
    assert set(re.findall(r"<(\w+)[^>]*\bdata-do=", PAGE)) == {"button", "input"}
    for field in re.findall(r"<(?:input|select)\b[^>]*>", PAGE):
        named = re.search(r"aria-label|aria-hidden", field) or f"{field}" in "".join(re.findall(r"<label.*?</label>", PAGE, re.DOTALL))
        assert named, f"a screen reader cannot name {field}"


def test_no_script_stands_in_the_page_and_the_script_knows_whatever_a_control_asks_of_it() -> None:
    """The door's Content-Security-Policy forbids handlers in the page: one that came back would do nothing."""
    assert not re.findall(r"\son\w+=|<script|javascript:", PAGE, re.IGNORECASE)
    assert not re.findall(r"\son\w+=|<script", (PACKAGE.parent / "web" / "page.py").read_text())
    asked = {kind: set(re.findall(rf'<{tag}[^>]*\bdata-do="([\w-]+)"', PAGE)) for kind, tag in (("CLICK", "button"), ("CHANGE", "input"))}
    asked["CLICK"].add("reload")  # on what page.py shows when the connection is lost
    for kind, words in asked.items():
        known = re.search(rf"const AT_A_{kind} = \{{(.*?)\}};", SCRIPT, re.DOTALL)
        assert known
        assert words == {name.partition(":")[0].strip(' "') for name in known[1].split(",")}, kind
    for input_of in re.findall(r'\bdata-input="(\w+)"', PAGE):
        assert re.search(rf'<input id="{input_of}" type="file"', PAGE)


def test_no_address_outside_the_workbench_is_loaded() -> None:
    assert not re.findall(r"(?:https?:)?//[\w.]", PAGE)
    assert not re.findall(r"https?://", SCRIPT)
