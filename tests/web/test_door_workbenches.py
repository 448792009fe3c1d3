"""When the door starts and ends users' workbenches, how many there may be, and what is said meanwhile."""

import asyncio
from pathlib import Path

import pytest

aiohttp = pytest.importorskip("aiohttp")

from door_kit import opened_door, play, sentence  # noqa: E402
from stub_workbench import PAGE  # noqa: E402

from fedliver.web.door_users import UserLimits  # noqa: E402

HTML = {"Accept": "text/html"}


def test_while_it_starts_the_page_says_so_and_everything_else_is_told_to_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path, held=True) as door:
            browser = await door.browser()
            async with browser.get("/", params={"token": door.front.keys.token}, headers=HTML) as answer:
                text = await answer.text()
                assert "Starting your workbench" in text
                assert 'http-equiv="refresh"' in text
            async with browser.get("/seen") as answer:
                assert answer.status == 503
            async with browser.post("/upload", headers=door.origin, data={"files": b"x"}) as answer:
                assert answer.status == 503
            assert [workbench.starts for workbench in door.made] == [1], "asked again and again, started once"

    play(scenario())


def test_a_workbench_that_cannot_start_or_has_ended_says_why_and_is_started_again_on_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path, refuses="There is no <room> for it.") as door:
            browser = await door.browser()
            async with browser.get("/", params={"token": door.front.keys.token}, headers=HTML) as answer:
                assert answer.status == 500
                assert "There is no &lt;room&gt; for it." in await answer.text()
            door.made[0].refuses = ""
            async with browser.get("/", headers=HTML) as answer:
                assert answer.status == 500, "not by itself: it would start and fail for ever"
            async with browser.post("/restart", headers={**door.origin, **HTML}) as answer:
                assert await answer.text() == PAGE
            await asyncio.to_thread(door.made[0].end)
            async with browser.get("/", headers=HTML) as answer:
                assert "It ended by itself." in await answer.text()
            async with browser.post("/restart", headers={**door.origin, **HTML}) as answer:
                assert await answer.text() == PAGE
            assert door.made[0].starts == 3

    play(scenario())


def test_no_more_users_than_there_is_room_for_and_those_without_a_workbench_make_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path, UserLimits(users=2)) as door:
            await door.user()
            for _ in range(5):
                async with (await door.browser()).get("/", params={"token": door.front.keys.token}, allow_redirects=False) as answer:
                    assert answer.status == 303
            await door.user()
            async with (await door.browser()).get("/", params={"token": door.front.keys.token}) as answer:
                assert answer.status == 503
                assert "2 workbenches are open already" in await sentence(answer)

    play(scenario())


def test_a_workbench_that_nobody_uses_for_long_is_ended_but_not_one_with_a_browser_nor_while_the_site_trains(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path, UserLimits(idle_seconds=0.0)) as door:
            user, other = await door.user(), await door.user()
            users = door.front.users
            users._busy = lambda: True
            assert await users.end_idle() == 0
            users._busy = lambda: False
            async with user.ws_connect("/ws", headers=door.origin):
                while not any(one.connections for one in users._users.values()):
                    await asyncio.sleep(0.01)
                assert await users.end_idle() == 1
                assert [workbench.ended for workbench in door.made] == [False, True]
            async with other.get("/seen") as answer:
                assert answer.status == 403

    play(scenario())


def test_the_first_user_finds_a_workbench_that_was_started_before_they_came(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            door.front.users.prepare()
            await door.user()
            await door.user()
            assert [workbench.starts for workbench in door.made] == [1, 1]

    play(scenario())


def test_when_the_door_closes_open_sockets_are_hung_up_and_every_workbench_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            socket = await user.ws_connect("/ws", headers=door.origin)
            await socket.send_str("x")
            await socket.receive_str()
            closing = asyncio.create_task(socket.receive())
        assert (await closing).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)
        assert [workbench.ended for workbench in door.made] == [True]

    play(scenario())
