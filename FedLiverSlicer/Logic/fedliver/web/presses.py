"""Presses by name, and the questions that some of them ask. No trame, no Slicer.

On the desktop a question stops the program until it is answered. In a browser it cannot: the press ends without doing its work, the
page asks, and an OK presses again, this time with the answer.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fedliver.error_details import details_of

_LONGEST_TEXT = 2000
_LOG = logging.getLogger("fedliver")


class Presses:
    """``show``: called after every press and every question."""

    def __init__(self, show: Callable[[], None]) -> None:
        self._show = show
        self._actions: dict[str, Callable[..., None]] = {}
        self._chosen: dict[str, Any] = {}
        self._pressed: tuple[str, tuple[Any, ...]] | None = None
        self._question = ""
        self._asked_by: tuple[str, tuple[Any, ...]] | None = None
        self._agreed = ""

    def on(self, name: str, action: Callable[..., None], chosen: Any = None) -> None:
        """What a press of this name does. ``chosen``: for a box or a list, what it stands at until it is pressed."""
        self._actions[name] = action
        if chosen is not None:
            self._chosen[name] = chosen

    def press(self, name: str, *values: Any) -> None:
        """A press came from the page; an unknown one changes nothing. What it raises is logged: a page's mistake must not end the workbench."""
        action = self._actions.get(name)
        if action is None:
            return
        self._pressed = (name, values)
        if name in self._chosen and values:
            self._chosen = {**self._chosen, name: values[0]}
        try:
            action(*values)
        except Exception as error:
            _LOG.error("A press failed: %s\n%s", name, details_of(error))
        finally:
            self._pressed = None
        self._show()

    def ask(self, question: str) -> bool:
        """What the workflow asks with: True when this very question was just agreed to, else False, and the page asks it."""
        if self._agreed == question:
            self._agreed = ""
            return True
        self._question, self._asked_by = question, self._pressed
        return False

    def answer(self, agreed: bool) -> None:
        """The person's answer to the question on the page."""
        question, asked_by = self._question, self._asked_by
        self._question, self._asked_by = "", None
        if agreed and question and asked_by is not None:
            self._agreed = question
            self.press(asked_by[0], *asked_by[1])
            self._agreed = ""
        self._show()

    def shown(self) -> dict[str, Any]:
        """For the page: the question that waits, empty for none, and at what the boxes and lists stand."""
        return {"question": self._question, "chosen": self._chosen}


class WidgetsByName:
    """The panel's widgets as :func:`fedliver.slicer.panel_wiring.wire` connects them: what is connected becomes a press of the widget's name.

    ``at``: at which entry a list stands, by its name.
    """

    def __init__(self, presses: Presses, at: Mapping[str, int]) -> None:
        self._presses = presses
        self._at = at

    def __getattr__(self, name: str) -> "_Widget":
        return _Widget(self._presses, name, self._at.get(name, 0))


class _Widget:
    def __init__(self, presses: Presses, name: str, at: int) -> None:
        self._presses, self._name, self._at = presses, name, at

    def connect(self, signal: str, slot: Callable[[Any], None]) -> None:
        on = partial(self._presses.on, self._name)
        if signal == "clicked(bool)":
            on(lambda: slot(False))
        elif signal == "toggled(bool)":
            on(lambda ticked: slot(ticked is True), False)
        elif signal == "currentIndexChanged(int)":
            on(lambda number: slot(int(number)), self._at)
        else:  # a QString
            on(lambda text: slot(str(text)[:_LONGEST_TEXT]))
