"""A door in the test's own event loop, before stubs of workbenches in the same loop: no processes, so hostile cases cost milliseconds."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, ClientSession, CookieJar, web
from stub_workbench import PAGE, stub_application

from fedliver.web.door_keys import Keys, new_secret
from fedliver.web.door_process import Standing
from fedliver.web.door_rules import LOOPBACK, Address
from fedliver.web.door_users import UserLimits, Users
from fedliver.web.front import Front
from fedliver.web.settings import WorkbenchSettings
from fedliver.web.uploads import UploadLimits

_A_TEST_SECONDS = 120.0
"""Only to end a hang."""


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, _A_TEST_SECONDS))


@dataclass
class LoopWorkbench:
    """A stub of a workbench in the test's event loop. ``refuses``: it cannot be started, and says so. ``held``: it never becomes ready."""

    folder: Path
    loop: asyncio.AbstractEventLoop
    refuses: str = ""
    held: bool = False
    port: int = 0
    key: str = field(default_factory=new_secret)
    starts: int = 0
    ended: bool = False
    _runner: web.AppRunner | None = None

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    def start(self) -> None:
        self.starts += 1
        self.ended = False
        self.inbox.mkdir(parents=True, exist_ok=True)
        if not (self.refuses or self.held):
            asyncio.run_coroutine_threadsafe(self._serve(), self.loop).result(30)

    def look(self) -> Standing:
        if self.refuses or self.ended:
            return Standing.ENDED
        return Standing.READY if self.port else Standing.STARTING

    def why_it_ended(self) -> str:
        return self.refuses or "It ended by itself."

    def end(self) -> None:
        self.ended = True
        self.port = 0
        if self._runner is not None:
            runner, self._runner = self._runner, None
            asyncio.run_coroutine_threadsafe(runner.cleanup(), self.loop).result(30)

    async def _serve(self) -> None:
        self._runner = web.AppRunner(stub_application(WorkbenchSettings(home=self.folder, inbox=self.inbox, key=self.key)), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]


@dataclass
class Door:
    """An open door. ``browser()``: somebody with cookies of their own; ``made``: the workbenches, in the order of their users."""

    front: Front
    made: list[LoopWorkbench]
    _sessions: contextlib.AsyncExitStack

    @property
    def home(self) -> str:
        return self.front.address.home

    @property
    def origin(self) -> dict[str, str]:
        return {"Origin": self.home}

    async def browser(self) -> ClientSession:
        return await self._sessions.enter_async_context(ClientSession(self.home, cookie_jar=CookieJar(unsafe=True)))

    async def user(self) -> ClientSession:
        """A browser that came in, with its workbench running."""
        browser = await self.browser()
        async with browser.get("/", params={"token": self.front.keys.token}, headers={"Accept": "text/html"}) as answer:
            assert await answer.text() == PAGE
        return browser


@contextlib.asynccontextmanager
async def opened_door(folder: Path, users: UserLimits | None = None, uploads: UploadLimits | None = None, **manners: Any) -> AsyncIterator[Door]:
    """``manners``: how the workbenches are, see :class:`LoopWorkbench`."""
    loop, made = asyncio.get_running_loop(), []

    def make() -> LoopWorkbench:
        made.append(LoopWorkbench(folder / f"user-{len(made) + 1}", loop, **manners))
        return made[-1]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        front = Front(Address(LOOPBACK, listener.getsockname()[1]), Keys(), Users(make, users), uploads or UploadLimits())
        runner = web.AppRunner(front.application(), access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        async with contextlib.AsyncExitStack() as sessions:
            try:
                yield Door(front, made, sessions)
            finally:
                await runner.cleanup()


async def sentence(answer: ClientResponse) -> str:
    """What a refusal says, as JSON."""
    return str((await answer.json())["sentence"])
