"""A real workbench behind a real door, in a real Chromium. Skips with a reason where one of them is absent."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 600_000
"""Milliseconds that something on the page may take; only to end a hang."""
_PROGRAM = REPOSITORY / ".venv-app" / "bin" / "fedliver"
# Remembers the page's connections, so that a test can cut them.
_REMEMBER_SOCKETS = """
window.connections = [];
const Real = window.WebSocket;
window.WebSocket = class extends Real { constructor(...given) { super(...given); window.connections.push(this); } };
"""


def chromium() -> str:
    """Where the browser is."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: “apt-get install chromium”")
    return found


def workbench_program() -> Path:
    """``fedliver`` of the environment that the workbench runs in."""
    program = Path(os.environ.get("FEDLIVER_APP", _PROGRAM))
    if not program.is_file():
        pytest.skip("the workbench's environment is not there: “make setup-app”")
    return program


@dataclass(frozen=True)
class OpenDoor:
    """A running ``fedliver app``: the address that it printed, with the token, and its process."""

    address: str
    process: int

    @property
    def home(self) -> str:
        return self.address.partition("?")[0]

    def memory_mb(self) -> float:
        """Of the door itself, without its workbenches."""
        return float(psutil.Process(self.process).memory_info().rss / 1e6)


@contextlib.contextmanager
def open_workbench(home: Path, log: Path, *options: object) -> Iterator[OpenDoor]:
    """``fedliver app`` as a person starts it. Ctrl-C ends it."""
    command = [str(workbench_program()), "app", "--no-browser", "--home", str(home), *map(str, options)]
    with log.open("w") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, (line, log.read_text())
            yield OpenDoor(found[0], process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=120)
    assert process.returncode == 0, log.read_text()


@contextlib.contextmanager
def open_chromium() -> Iterator[Any]:
    """Playwright's browser."""
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Bench:
    """The page, in a clinician's words. ``complaints``: what the browser's console called an error, and scripts that failed."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, browser: Any, door: OpenDoor) -> "Bench":
        """As somebody new: with cookies of their own."""
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(PATIENCE)
        context.add_init_script(_REMEMBER_SOCKETS)
        page = context.new_page()
        bench = cls(page)
        page.on("console", lambda said: bench.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: bench.complaints.append(str(error)))
        page.goto(door.address)
        page.wait_for_selector(".workbench")
        return bench

    @property
    def status(self) -> str:
        return str(self.page.inner_text(".panel > .status"))

    def text(self) -> str:
        """All that the panel says, folded sections too."""
        return str(self.page.text_content(".panel"))

    def reload(self) -> None:
        self.page.reload()
        self.page.wait_for_selector(".workbench")

    def show(self, selector: str) -> None:
        """Unfold the sections that hold it."""
        self.page.wait_for_selector(selector, state="attached")
        for section in self.page.locator(selector).locator("xpath=ancestor::details").all():
            if section.get_attribute("open") is None:
                section.locator("xpath=./summary").click()

    def press(self, selector: str) -> None:
        """Press a button once it is live."""
        self.show(selector)
        self.page.wait_for_selector(f"{selector}:not([aria-disabled=true])")
        self.page.click(selector)

    def wait_for(self, words: str) -> None:
        """Until the panel says so."""
        self.wait(lambda: words in self.text(), words)

    def wait(self, true: Callable[[], object], what: str) -> None:
        for _ in range(PATIENCE // 100):
            if true():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{what}: {self.text()}")

    def open_ct(self, path: Path) -> None:
        with self._another("ct"):
            self.page.set_input_files("#files", str(path))
        self.page.wait_for_selector("#segment:not([aria-disabled=true])")

    def make_a_ct(self) -> None:
        """What the page offers to whoever has none."""
        with self._another("ct"):
            self.press("#sample")
        self.page.wait_for_selector("#segment:not([aria-disabled=true])")

    def auto_segment(self) -> str:
        """Press it; what it says of the liver."""
        self.press("#segment")
        self.page.wait_for_selector("caption")
        return str(self.page.inner_text("caption"))

    def choose_tool(self, name: str, segment: str) -> None:
        self.show("#undo")
        self.page.wait_for_selector("fieldset:not([disabled]) #undo")
        if self.page.get_attribute(f"button:text-is('{segment}')", "aria-pressed") != "true":
            self.page.click(f"button:text-is('{segment}')")
        if self.page.get_attribute(f"button:text-is('{name}')", "aria-pressed") != "true":
            self.page.click(f"button:text-is('{name}')")
        self.page.wait_for_selector(f"button:text-is('{name}')[aria-pressed=true]")

    def at(self, view: str, across: float, down: float) -> tuple[float, float]:
        """A place in a view, in parts of its width and height, as the mouse has it."""
        box = self.page.locator(f"[data-view={view}]").bounding_box()
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    def stroke(self, start: tuple[float, float], end: tuple[float, float], *, let_go: bool = True) -> None:
        """Press the mouse, move it, and let go; then wait until the stroke is in the segmentation."""
        with self._another("edits") if let_go else contextlib.nullcontext():
            mouse = self.page.mouse
            mouse.move(*start)
            mouse.down()
            mouse.move(*end, steps=8)
            if let_go:
                mouse.up()

    def undo(self) -> None:
        """Press it, and wait until the segmentation is as it was."""
        with self._another("edits"):
            self.press("#undo")

    @contextlib.contextmanager
    def _another(self, name: str) -> Iterator[None]:
        """Wait until what the workbench tells by this name is another than before."""
        before = self.page.evaluate("name => window.trame.state.get(name)", name)
        yield
        self.page.wait_for_function("([name, before]) => window.trame.state.get(name) !== before", arg=[name, before])

    def cut_connection(self) -> None:
        """As if the network went: the page's WebSockets close, whatever it was doing."""
        self.page.evaluate("window.connections.forEach(socket => socket.close())")
