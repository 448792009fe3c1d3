"""The door lets in who has the token and nobody else, keeps users apart, and hands everything on both ways."""

import asyncio
import json
from pathlib import Path

import pytest

aiohttp = pytest.importorskip("aiohttp")

from aiohttp import ClientSession, WSServerHandshakeError  # noqa: E402
from door_kit import opened_door, play, sentence  # noqa: E402
from stub_workbench import PAGE  # noqa: E402

HTML = {"Accept": "text/html"}


def test_the_token_opens_the_door_once_and_leaves_the_address(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            browser = await door.browser()
            async with browser.get("/", params={"token": door.front.keys.token}, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (303, "/")
                cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert cookie.startswith(f"fedliver-{door.front.address.port}=")
            async with browser.get("/", headers=HTML) as answer:
                assert await answer.text() == PAGE
            assert [workbench.starts for workbench in door.made] == [1]

    play(scenario())


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token={token}x", "?token={token}&token={token}", "?Token={token}", "?token=%00%ff"])
def test_without_the_right_token_there_is_nothing_but_a_sentence(tmp_path: Path, query: str) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            address = f"{door.home}/{query.format(token=door.front.keys.token)}"
            async with ClientSession() as stranger:
                async with stranger.get(address) as answer:
                    assert answer.status == 403
                    assert "Set-Cookie" not in answer.headers
                    assert "token" in await sentence(answer)
                async with stranger.get(address, headers=HTML) as answer:
                    assert answer.status == 403
                    assert "<h1>Not let in</h1>" in await answer.text()
                for path in ("/index.html", "/ws", "/upload", "/seen"):
                    async with stranger.get(door.home + path) as answer:
                        assert answer.status == 403
                for path in ("/upload", "/restart"):
                    async with stranger.post(door.home + path, headers=door.origin, data=b"x") as answer:
                        assert answer.status == 403
            assert door.made == [], "nothing was started for a stranger"

    play(scenario())


def test_the_token_is_not_taken_at_any_other_address_and_an_opened_browsers_token_is_good_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            browser, once = await door.browser(), door.front.keys.once()
            async with browser.get("/seen", params={"token": door.front.keys.token}) as answer:
                assert answer.status == 403
            async with browser.get("/", params={"token": once}, allow_redirects=False) as answer:
                assert answer.status == 303
            async with (await door.browser()).get("/", params={"token": once}, allow_redirects=False) as answer:
                assert answer.status == 403

    play(scenario())


@pytest.mark.parametrize("cookie", ["", "wrong", "a" * 4000, "%00", "\xe9"])
def test_a_made_up_cookie_opens_nothing(tmp_path: Path, cookie: str) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            await door.user()
            headers = {"Cookie": f"{door.front.address.cookie}={cookie}"}
            async with ClientSession() as stranger, stranger.get(f"{door.home}/seen", headers=headers) as answer:
                assert answer.status == 403

    play(scenario())


def test_every_browser_has_a_workbench_of_its_own_and_a_refresh_finds_it_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            one, two = await door.user(), await door.user()
            async with one.ws_connect("/ws", headers=door.origin) as first, two.ws_connect("/ws", headers=door.origin) as second:
                await first.send_str("x")
                await second.send_str("x")
                assert await first.receive_str() == "user-1: x"
                assert await second.receive_str() == "user-2: x"
            async with one.get("/", params={"token": door.front.keys.token}, headers=HTML) as answer:
                assert answer.status == 200
            async with one.ws_connect("/ws", headers=door.origin) as again:
                await again.send_str("x")
                assert await again.receive_str() == "user-1: x"
            assert len(door.made) == 2, "the same browser with the token again is the same user"

    play(scenario())


def test_the_workbench_gets_its_key_and_never_the_cookie_and_the_browser_neither_key_nor_its_cookies(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            async with user.get("/seen/a%2Fb/../c?x=%20&y", headers={"X-FedLiver-Key": "forged", "X-Own": "1", "Connection": "X-Own"}) as answer:
                seen = json.loads(await answer.text())
            assert seen["headers"]["X-FedLiver-Key"] == door.made[0].key
            assert "Cookie" not in seen["headers"]
            assert "X-Own" not in seen["headers"], "named by Connection: for the door only"
            async with user.get("/", headers=HTML) as answer:
                assert "Set-Cookie" not in answer.headers
                assert door.made[0].key not in str(answer.headers)

    play(scenario())


def test_every_answer_carries_the_rules_for_the_browser(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            for browser, path, status in ((user, "/", 200), (user, "/no-such", 404), (await door.browser(), "/", 403)):
                async with browser.get(path, headers=HTML) as answer:
                    assert answer.status == status
                    policy = answer.headers["Content-Security-Policy"]
                    assert "frame-ancestors 'none'" in policy
                    assert "default-src 'none'" in policy
                    assert "script-src 'self' 'unsafe-eval'; script-src-attr 'none';" in policy
                    assert [one for one in policy.split("; ") if "'unsafe-inline'" in one] == ["style-src 'self' 'unsafe-inline'"]
                    assert "http:" not in policy.replace(door.home, "")
                    found = {name: answer.headers.getall(name) for name in ("X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options", "Cache-Control")}
                    assert found == {
                        "X-Content-Type-Options": ["nosniff"],
                        "Referrer-Policy": ["no-referrer"],
                        "X-Frame-Options": ["DENY"],
                        "Cache-Control": ["no-store"],
                    }
                    assert "Server" not in answer.headers

    play(scenario())


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "localhost.evil.example:{port}", "127.0.0.1:{port}@evil"]
)
def test_a_name_that_somebody_else_made_mean_this_machine_is_refused(tmp_path: Path, host: str) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            asked = {"Host": host.format(port=door.front.address.port)}
            async with user.get("/seen", headers=asked) as answer:
                assert answer.status == 403
                assert "does not answer to that name" in await sentence(answer)
            async with user.get("/", params={"token": door.front.keys.token}, headers=asked, allow_redirects=False) as answer:
                assert answer.status == 403, "not even with the token"
            async with user.get("/seen", headers={"Host": f"LOCALHOST:{door.front.address.port}"}) as answer:
                assert answer.status == 200

    play(scenario())


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "https://127.0.0.1:{port}", ""])
def test_another_page_opens_no_socket_and_sends_no_file_though_the_browser_adds_the_cookie(tmp_path: Path, origin: str | None) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            headers = {} if origin is None else {"Origin": origin.format(port=door.front.address.port)}
            with pytest.raises(WSServerHandshakeError) as refused:
                await user.ws_connect("/ws", headers=headers)
            assert refused.value.status == 403
            for path in ("/upload", "/restart"):
                async with user.post(path, headers=headers, data={"files": b"x"}) as answer:
                    assert answer.status == 403
                    assert "Only the workbench's own page" in await sentence(answer)
            if origin is not None:
                async with user.get("/seen", headers=headers) as answer:
                    assert answer.status == 403

    play(scenario())


def test_a_page_of_another_port_of_this_machine_is_told_apart_by_what_the_browser_says_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            for site, mode, status in (
                ("same-site", "no-cors", 403),
                ("cross-site", "cors", 403),
                ("cross-site", "navigate", 200),
                ("same-origin", "cors", 200),
            ):
                async with user.get("/seen", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}) as answer:
                    assert answer.status == status

    play(scenario())


def test_a_socket_without_a_cookie_or_with_anothers_is_refused_or_anothers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            await door.user()
            with pytest.raises(WSServerHandshakeError) as refused:
                await (await door.browser()).ws_connect("/ws", headers=door.origin)
            assert refused.value.status == 403

    play(scenario())


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "POST"])
def test_only_looking_is_handed_on(tmp_path: Path, method: str) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            async with user.request(method, "/seen", headers=door.origin) as answer:
                assert answer.status == 405

    play(scenario())


def test_where_the_socket_is_a_user_is_told_and_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            async with user.post("/paraview/", headers=door.origin, json={"application": "trame"}) as answer:
                assert await answer.json() == {"sessionURL": "ws://use_host/ws"}
            for browser, headers in ((await door.browser(), door.origin), (user, {"Origin": "http://evil.example"}), (user, {})):
                async with browser.post("/paraview/", headers=headers) as answer:
                    assert answer.status == 403

    play(scenario())


def test_both_directions_stream_large_binary_messages_and_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            async with user.ws_connect("/ws", headers=door.origin, max_msg_size=0) as socket:
                sent = bytes(range(256)) * 8_000
                await socket.send_bytes(sent)
                assert await socket.receive_bytes() == sent[::-1]
                await socket.send_str("bye")
                assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            async with user.get("/large", params={"pieces": "4"}) as answer:
                assert len(await answer.read()) == 4 << 20
            async with user.head("/") as answer:
                assert answer.status == 200

    play(scenario())


def test_an_answer_that_breaks_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            with pytest.raises(aiohttp.ClientError):
                async with user.get("/half") as answer:
                    await answer.read()

    play(scenario())


def test_a_connection_that_drops_loses_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            socket = await user.ws_connect("/ws", headers=door.origin)
            await socket.send_str("stroke")
            await socket.send_str("x")
            await socket.receive_str()
            connection = socket._response.connection  # type: ignore[attr-defined]
            connection.transport.abort()
            async with user.ws_connect("/ws", headers=door.origin) as again:
                await again.send_str("stroke")
                await again.send_str("x")
                await again.receive_str()
                while (seen := json.loads(await (await user.get("/seen")).text()))["sockets"] > 1:
                    await asyncio.sleep(0.02)
            assert seen["strokes"] == 2
            assert door.made[0].starts == 1

    play(scenario())


def test_a_browser_that_does_not_read_does_not_fill_the_doors_memory(tmp_path: Path) -> None:
    """The workbench offers 64 MB; the browser reads nothing. What is not taken stays with the workbench."""
    import resource

    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            async with user.ws_connect("/ws", headers=door.origin, max_msg_size=0) as socket:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                await socket.send_str("flood")
                received = 0
                while received < 64:
                    received += len(await socket.receive_bytes()) >> 20
                assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000

    play(scenario())
