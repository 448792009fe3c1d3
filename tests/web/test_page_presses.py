"""Presses by name, questions that wait for their answer, and the panel's wiring reused for the page."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shim"))

from seams import Desk, Installed, Link

from fedliver.slicer.controls import Control
from fedliver.slicer.panel_session import PanelSession
from fedliver.slicer.panel_wiring import wire
from fedliver.slicer.workflow import Workflow
from fedliver.web.presses import Presses, WidgetsByName


class Shown:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def test_a_press_does_its_work_and_the_page_is_shown_anew() -> None:
    done: list[tuple[Any, ...]] = []
    show = Shown()
    presses = Presses(show)
    presses.on("go", lambda *values: done.append(values))
    presses.press("go", 1, "x")
    assert done == [(1, "x")]
    assert show.times == 1


def test_an_unknown_press_does_nothing_and_one_that_fails_does_not_end_the_workbench() -> None:
    done: list[str] = []
    show = Shown()
    presses = Presses(show)
    presses.on("bad", lambda: 1 / 0)
    presses.on("good", lambda: done.append("good"))
    presses.press("nobody knows this")
    assert show.times == 0
    presses.press("bad")
    presses.press("bad", "with", "too many values")
    presses.press("good")
    assert (done, show.times) == (["good"], 3)


def test_the_log_of_a_failed_press_names_the_kind_and_the_place_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    presses = Presses(lambda: None)
    presses.on("open", lambda: Path("/nowhere/DOE_JANE/ct.nii.gz").read_bytes())
    presses.press("open")
    assert "FileNotFoundError" in caplog.text
    assert "DOE_JANE" not in caplog.text


def excluding() -> tuple[Presses, list[str]]:
    """A press that asks before it does its work."""
    done: list[str] = []
    presses = Presses(lambda: None)
    presses.on("exclude", lambda case: done.append(case) if presses.ask("Exclude this case?") else None)
    return presses, done


def test_a_question_is_put_to_the_page_and_the_press_is_done_after_ok_with_its_values() -> None:
    presses, done = excluding()
    presses.press("exclude", "C-1")
    assert presses.shown()["question"] == "Exclude this case?"
    assert done == []
    presses.answer(True)
    assert done == ["C-1"]
    assert presses.shown()["question"] == ""


def test_cancel_does_nothing_and_a_stray_answer_does_nothing() -> None:
    presses, done = excluding()
    presses.answer(True)
    presses.press("exclude", "C-1")
    presses.answer(False)
    presses.answer(True)
    assert done == []
    assert presses.shown()["question"] == ""


def test_an_ok_counts_for_one_question_only() -> None:
    presses, done = excluding()
    presses.press("exclude", "C-1")
    presses.answer(True)
    presses.press("exclude", "C-2")
    assert done == ["C-1"]
    assert presses.shown()["question"] == "Exclude this case?"


def test_the_panels_wiring_makes_a_press_of_every_button_and_box_that_it_connects() -> None:
    called: list[tuple[str, tuple[Any, ...]]] = []

    class Part:
        def __init__(self, part: str) -> None:
            self.part = part

        def __getattr__(self, name: str) -> Any:
            return lambda *values: called.append((f"{self.part}.{name}", values))

    class Parts:
        def __getattr__(self, part: str) -> Part:
            return Part(part)

    presses = Presses(lambda: None)
    wire(WidgetsByName(presses, {"learnTimeBox": 1}), Parts(), lambda: called.append(("invitation", ())))
    assert presses.shown()["chosen"]["learnTimeBox"] == 1
    presses.press(Control.SEGMENT.value)
    presses.press(Control.OPT_IN.value, True)
    presses.press(Control.OPT_IN.value, "yes")
    presses.press(Control.LEARN_TIME.value, 2)
    presses.press(Control.REASON.value, "x" * 5000)
    assert called[:4] == [
        ("segmenting.press_segment", ()),
        ("federation.opt_in", (True,)),
        ("federation.opt_in", (False,)),
        ("learning.choose_minutes", (2,)),
    ]
    assert called[4] == ("approving.write_reason", ("x" * 2000,))
    assert presses.shown()["chosen"]["learnTimeBox"] == 2


def test_every_control_but_those_of_the_scene_is_wired() -> None:
    presses = Presses(lambda: None)
    wire(WidgetsByName(presses, {}), Workflow(Desk(), Link(), Installed(), PanelSession()), lambda: None)
    of_the_scene = {Control.CT, Control.EDITOR, Control.KEEP_INSIDE, Control.SOFT_TISSUE}
    assert {control.value for control in set(Control) - of_the_scene} <= set(presses._actions)
