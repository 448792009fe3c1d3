"""The door before a real Chromium, with stubs for workbenches: what browsers do by themselves (cookies, origins, uploads) cannot be made up in a test."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("playwright")

from aiohttp import web
from browser_kit import PATIENCE, chromium, open_chromium
from test_launch import opened_with_stubs

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

# What the workbench's page does to send files, with names of our choice.
SEND = """async ([input, name]) => {
    const form = new FormData();
    form.append("files", input ? input.files[0] : new Blob(["x"]), name);
    const answer = await fetch("/upload", {method: "POST", body: form});
    return {status: answer.status, ...await answer.json()};
}"""


@dataclass
class Visit:
    """A page that was let in."""

    page: Any
    home: str
    door: int
    site: Path

    def seen(self) -> dict[str, Any]:
        """What the stub has seen so far."""
        return dict(self.page.evaluate("fetch('/seen').then(answer => answer.json())"))


@pytest.fixture
def visit(tmp_path: Path) -> Iterator[Visit]:
    chromium()
    with opened_with_stubs("--home", tmp_path / "site") as (address, process), open_chromium() as browser:
        page = browser.new_context().new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.wait_for_function("document.body.innerText.includes('I am a stub')")
        yield Visit(page, address.partition("?")[0], process.pid, tmp_path / "site")


def test_the_token_is_gone_from_the_address_and_the_cookie_is_hidden_from_scripts(visit: Visit) -> None:
    assert visit.page.url == visit.home
    assert visit.page.evaluate("document.cookie") == ""
    (cookie,) = visit.page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert "token" not in visit.page.evaluate("JSON.stringify(performance.getEntriesByType('navigation')[0].name)")


def test_a_page_of_another_port_reaches_nothing_though_the_browser_sends_the_cookie(visit: Visit) -> None:
    with _another_page() as address:
        other = visit.page.context.new_page()
        other.goto(address)
        tried = other.evaluate(
            """async (home) => {
                const outcome = {};
                const socket = new WebSocket(home.replace("http", "ws") + "ws");
                outcome.socket = await new Promise(done => {
                    socket.onopen = () => { socket.send("stroke"); done("open"); };
                    socket.onerror = () => done("refused");
                });
                const form = new FormData();
                form.append("files", new Blob(["x"]), "x.nii");
                await fetch(home + "upload", {method: "POST", body: form, mode: "no-cors", credentials: "include"}).catch(() => null);
                outcome.read = await fetch(home + "seen", {credentials: "include"}).then(answer => answer.text()).catch(() => "failed");
                const frame = Object.assign(document.createElement("iframe"), {src: home});
                document.body.append(frame);
                await new Promise(done => { frame.onload = done; });
                return outcome;
            }""",
            visit.home,
        )
        assert tried["socket"] == "refused"
        assert tried["read"] == "failed"
        assert "stub" not in other.frames[1].evaluate("document.body ? document.body.innerText : ''")
    seen = visit.seen()
    assert (seen["strokes"], seen["sockets"]) == (0, 0)
    assert _uploads(visit) == []


def test_two_gigabytes_are_refused_in_words_and_the_doors_memory_stays_flat(visit: Visit, tmp_path: Path) -> None:
    with (tmp_path / "large.nii").open("wb") as large:
        large.truncate(2_100_000_000)
    visit.page.evaluate("document.body.append(Object.assign(document.createElement('input'), {type: 'file', id: 'file'}))")
    visit.page.set_input_files("#file", str(tmp_path / "large.nii"))
    before = psutil.Process(visit.door).memory_info().rss
    answer = visit.page.evaluate(SEND, [visit.page.query_selector("#file"), "ct.nii"])
    assert answer["status"] == 413
    assert answer["sentence"] == "That is more than 2 GB at once: send one series, or one file, at a time."
    assert psutil.Process(visit.door).memory_info().rss < before + 30_000_000
    assert _uploads(visit) == []


def test_names_that_a_browser_sends_are_never_paths(visit: Visit) -> None:
    names = ["../../../../evil.nii", "/tmp/evil.nii", "..\\..\\evil.nii", "evil\0.nii", "e" * 4000 + ".nii", 'evil".nii', "evil\r\n.nii"]
    answers = {name: visit.page.evaluate(SEND, [None, name]) for name in names}
    refused = {name for name, answer in answers.items() if answer["status"] == 400 and answer["sentence"]}
    assert refused <= {"evil\0.nii"}, answers  # no header may hold a zero byte
    assert {answer["status"] for name, answer in answers.items() if name not in refused} == {200}
    assert len(_uploads(visit)) == len(names) - len(refused)
    assert {path.name for path in _uploads(visit)} <= {"00001", "00001.nii"}
    assert not list(visit.site.rglob("*evil*"))


def _uploads(visit: Visit) -> list[Path]:
    return [path for path in visit.site.glob("browser/*/*/inbox/**/*") if path.is_file()]


class _another_page:  # noqa: N801 used as a function
    """A page of somebody else's server on this machine: the same site to a browser, for a site knows no ports."""

    def __enter__(self) -> str:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(60)

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> str:
        async def page(request: web.Request) -> web.Response:
            return web.Response(text="<!doctype html><body>another page", content_type="text/html")

        application = web.Application()
        application.router.add_get("/", page)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
