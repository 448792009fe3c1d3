"""The SuperLink's two doors: which one a request came in through is told by its socket, and decides what it may ask."""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from federation_kit import as_another_user
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import Message, Metadata
from flwr.proto.node_pb2 import Node
from flwr.supercore.protobuf.translation import ProtobufTranslationMiddleware
from flwr.superlink.main import fleet_router
from flwr.superlink.routers.control import router as control_router
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request

from fedliver.coordinator.superlink import CONTROL_ADDRESS
from fedliver.federation.front import Doors, claims_another_node, listen, serve, versions
from fedliver.federation.loopback_user import is_own_user, user_of

SITES, OWN = 8443, 9001


async def superlink(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Stands in for Flower: answers everything with 200 and what it was sent."""
    part = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": part["body"]})


def ask(
    path: str, port: int, own_user: bool = True, pieces: tuple[bytes, ...] = (b"",), kind: str = "http", headers: tuple = (), app: Any = superlink
) -> tuple[int, bytes, list]:
    """Status, body and headers of the answer."""
    sent: list[MutableMapping[str, Any]] = []
    parts = iter([{"type": "http.request", "body": piece, "more_body": number < len(pieces)} for number, piece in enumerate(pieces, start=1)])

    async def receive() -> MutableMapping[str, Any]:
        return next(parts)

    async def send(part: MutableMapping[str, Any]) -> None:
        sent.append(part)

    doors = Doors(app, OWN, lambda client, server: own_user, claims_another_node, [(b"fedliver-version", b"1")])
    scope = {"type": kind, "path": path, "server": ("127.0.0.1", port), "client": ("127.0.0.1", 5555), "headers": list(headers)}
    asyncio.run(doors(scope, receive, send))
    if kind != "http":
        return 0, b"", sent
    return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:]), sent[0]["headers"]


def paths_of(router: Any) -> list[str]:
    return sorted({route.path for route in router.routes})


@pytest.mark.parametrize("path", paths_of(control_router))
def test_no_path_of_the_control_api_passes_the_sites_door(path: str) -> None:
    assert ask(path, SITES)[0] == 404


@pytest.mark.parametrize(
    "path",
    ["/", "/docs", "/openapi.json", "/v1/runtime/pull-messages", "/v1/responses", "/v1/fleet", "/v1/fleetx", "/health/", "//v1/fleet/get-run", "/v1/Control/x"],
)
def test_nothing_else_passes_the_sites_door_either(path: str) -> None:
    assert ask(path, SITES)[0] == 404


@pytest.mark.parametrize("path", [*paths_of(fleet_router), "/health"])
def test_the_fleet_api_and_the_health_check_pass_the_sites_door(path: str) -> None:
    assert path.startswith(("/v1/fleet/", "/health"))
    assert ask(path, SITES)[0] == 200


@pytest.mark.parametrize(("path", "status"), [("/v1/fleet/send-node-heartbeat", 503), ("/v1/fleet/pull-messages", 500)])
def test_a_sign_of_life_that_failed_here_is_to_be_tried_again_for_flower_would_never_send_another(path: str, status: int) -> None:
    async def full_disk(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"disk is full"})

    assert path in paths_of(fleet_router)
    assert ask(path, SITES, app=full_disk)[0] == status


def test_a_header_cannot_turn_the_sites_door_into_the_own_one() -> None:
    headers = ((b"host", f"127.0.0.1:{OWN}".encode()), (b"x-forwarded-for", b"127.0.0.1"), (b"x-forwarded-port", str(OWN).encode()))
    assert ask("/v1/control/start-run", SITES, headers=headers)[0] == 404


def test_the_own_door_opens_to_this_operating_system_user_alone() -> None:
    assert ask("/v1/control/start-run", OWN)[0] == 200
    assert ask("/v1/control/start-run", OWN, own_user=False)[0] == 403
    assert ask("/health", OWN, own_user=False)[0] == 403


def test_a_websocket_is_closed_at_every_door() -> None:
    assert ask("/v1/fleet/x", SITES, kind="websocket")[2] == [{"type": "websocket.close", "code": 1008}]


def test_the_health_check_tells_the_versions() -> None:
    assert (b"fedliver-version", b"1") in ask("/health", SITES)[2]
    assert {name for name, _ in versions()} == {b"fedliver-version", b"fedliver-flower"}


def push(node: int, source: int) -> bytes:
    return PushMessagesRequest(node=Node(node_id=node), messages_list=[Message(metadata=Metadata(src_node_id=source))]).SerializeToString()


def test_a_site_that_pushes_in_anothers_name_is_refused() -> None:
    honest = push(7, 7)
    assert ask("/v1/fleet/push-messages", SITES, pieces=(honest[:5], honest[5:]))[:2] == (200, honest)
    assert ask("/v1/fleet/push-messages", SITES, pieces=(push(7, 8),))[0] == 403


def test_a_push_that_cannot_be_read_is_left_to_flower_and_one_that_never_ends_is_cut() -> None:
    assert ask("/v1/fleet/push-messages", SITES, pieces=(b"\xff\xff",))[:2] == (200, b"\xff\xff")
    assert ask("/v1/fleet/push-messages", SITES, pieces=(b"x" * 9_000_000, b"x" * 9_000_000))[0] == 413


class Sender:
    """A request, as uvicorn hands it on, and what becomes of it. ``before``: what is done before each piece; after the last one, silence."""

    def __init__(self, *pieces: bytes, headers: tuple = (), path: str = "/v1/fleet/push-object", before: Any = None) -> None:
        self.parts = [{"type": "http.request", "body": piece, "more_body": number < len(pieces)} for number, piece in enumerate(pieces, start=1)]
        self.scope = {"type": "http", "path": path, "server": ("127.0.0.1", SITES), "client": ("9.9.9.9", 5555), "headers": list(headers), "method": "POST"}
        self.scope |= {"asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "https", "raw_path": path.encode(), "query_string": b""}
        self.before = before
        self.taken = 0
        self.sent: list[MutableMapping[str, Any]] = []

    @property
    def statuses(self) -> list[int]:
        return [part["status"] for part in self.sent if part["type"] == "http.response.start"]

    async def receive(self) -> MutableMapping[str, Any]:
        if self.before is not None:
            await self.before(self)
        if self.taken == len(self.parts):
            await asyncio.Event().wait()
        self.taken += 1
        return self.parts[self.taken - 1]

    async def send(self, part: MutableMapping[str, Any]) -> None:
        self.sent.append(part)


async def whole(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Stands in for Flower: takes the whole body into memory, as Starlette does, then answers."""
    await Request(scope, receive).body()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def doors_of(app: Any) -> Doors:
    return Doors(app, OWN, lambda client, server: True, claims_another_node)


MEGABYTE = bytes(1 << 20)
SITES_PATHS = paths_of(fleet_router)


@pytest.mark.parametrize("path", SITES_PATHS)
def test_a_body_of_hundreds_of_megabytes_from_nobody_is_cut_before_flower_has_it_in_memory(path: str) -> None:
    """Flower's own order: it reads the body, and then looks for the signature, which is missing here."""
    flower = Starlette(middleware=[Middleware(ProtobufTranslationMiddleware), Middleware(NodeAuthMiddleware)])
    sender = Sender(*[MEGABYTE] * 300, headers=((b"content-type", b"application/protobuf"),), path=path)
    asyncio.run(doors_of(flower)(sender.scope, sender.receive, sender.send))
    assert sender.taken <= (17 if path.startswith("/v1/fleet/push-") else 1)
    assert sender.statuses == [413]
    assert (b"connection", b"close") in sender.sent[0]["headers"], "the rest is not to be sent"


@pytest.mark.parametrize("path", [*SITES_PATHS, "/health", "/v1/fleet/nothing"])
def test_a_body_that_says_it_is_too_long_is_refused_before_a_byte_is_read(path: str) -> None:
    sender = Sender(MEGABYTE, headers=((b"content-length", b"314572800"),), path=path)
    asyncio.run(doors_of(whole)(sender.scope, sender.receive, sender.send))
    assert (sender.taken, sender.statuses) == (0, [413])


def test_a_body_that_is_longer_than_it_says_is_counted() -> None:
    sender = Sender(*[MEGABYTE] * 20, headers=((b"content-length", b"5"),))
    asyncio.run(doors_of(whole)(sender.scope, sender.receive, sender.send))
    assert (sender.taken, sender.statuses) == (17, [413])


def test_the_largest_object_that_flower_makes_of_weights_or_words_passes() -> None:
    from flwr.app import Array, ConfigRecord
    from flwr.common.constant import FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE
    from flwr.proto.message_pb2 import PushObjectRequest

    from fedliver.federation.messages import _LARGEST_WORDS

    weights = Array(np.zeros(FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE, np.float32))
    objects = [piece.deflate() for _, piece in weights.slice_array()] + [weights.deflate(), ConfigRecord({"words": "x" * _LARGEST_WORDS}).deflate()]
    assert len(objects) >= 6
    for content in objects:
        body = PushObjectRequest(node=Node(node_id=1), run_id=1, object_id="0" * 64, object_content=content).SerializeToString()
        sender = Sender(*[body[at : at + 65536] for at in range(0, len(body), 65536)], headers=((b"content-length", str(len(body)).encode()),))
        asyncio.run(doors_of(whole)(sender.scope, sender.receive, sender.send))
        assert sender.statuses == [200]


def test_many_bodies_at_once_share_one_room_and_what_finds_none_may_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedliver.federation.front._BODIES", 10 << 20)

    async def scenario() -> None:
        doors, more = doors_of(whole), asyncio.Event()

        async def waits(sender: Sender) -> None:
            if sender.taken == 3:
                await more.wait()

        held = [Sender(*[MEGABYTE] * 4, before=waits) for _ in range(3)]
        holding = [asyncio.create_task(doors(one.scope, one.receive, one.send)) for one in held]
        while any(one.taken < 3 for one in held):
            await asyncio.sleep(0)
        late = Sender(MEGABYTE, MEGABYTE)
        await doors(late.scope, late.receive, late.send)
        assert late.statuses == [503]
        small = Sender(b"a question", path="/v1/fleet/pull-messages")
        await doors(small.scope, small.receive, small.send)
        assert small.statuses == [200]
        holding[0].cancel()
        holding[1].cancel()
        await asyncio.wait(holding[:2])
        more.set()
        await holding[2]
        again = Sender(*[MEGABYTE] * 10)
        await doors(again.scope, again.receive, again.send)
        assert (held[2].statuses, again.statuses) == ([200], [200]), "who has gone, is refused or answered holds nothing"

    asyncio.run(scenario())


def test_a_body_that_takes_for_ever_is_refused_and_a_connection_that_waits_for_its_answer_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedliver.federation.front._BODY_SECONDS", 0.05)

    async def slow_answer(scope: Any, receive: Any, send: Any) -> None:
        await Request(scope, receive).body()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    stuck, waiting = Sender(b"x", b"y"), Sender(b"x")
    stuck.parts.pop()
    asyncio.run(doors_of(whole)(stuck.scope, stuck.receive, stuck.send))
    asyncio.run(doors_of(slow_answer)(waiting.scope, waiting.receive, waiting.send))
    assert (stuck.statuses, waiting.statuses) == ([408], [200])


def test_the_own_door_takes_a_long_body() -> None:
    assert ask("/v1/control/start-run", OWN, pieces=(bytes(40 << 20),), headers=((b"content-length", b"41943040"),))[0] == 200


def test_the_server_takes_a_bounded_number_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    started: list[uvicorn.Config] = []

    class Server:
        def __init__(self, config: uvicorn.Config) -> None:
            started.append(config)

        def run(self, sockets: list[socket.socket]) -> None:
            for one in sockets:
                one.close()

    monkeypatch.setattr(uvicorn, "Server", Server)
    monkeypatch.setenv(CONTROL_ADDRESS, "127.0.0.1:0")
    serve(superlink, "127.0.0.1", 0)
    assert 100 < (started[0].limit_concurrency or 0) < 1000


# As /proc/net/tcp of a little-endian machine writes them: 127.0.0.1:40000 (user 1000) and 127.0.0.1:40001 (user 33) connected to 127.0.0.1:9001.
LINES = (
    "   0: 0100007F:2329 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100",
    "   1: 0100007F:9C40 0100007F:2329 01 00000000:00000000 00:00000000 00000000  1000        0 101",
    "   2: 0100007F:9C41 0100007F:2329 01 00000000:00000000 00:00000000 00000000    33        0 102",
    "   3: 0100007F:9C40 0100007F:232A 01 00000000:00000000 00:00000000 00000000     0        0 103",
)


@pytest.mark.skipif(sys.byteorder != "little", reason="the lines are of a little-endian machine")
def test_the_kernels_table_tells_who_holds_the_other_end() -> None:
    server = ("127.0.0.1", 9001)
    assert user_of(("127.0.0.1", 40000), server, LINES) == 1000
    assert user_of(("127.0.0.1", 40001), server, LINES) == 33
    assert user_of(("127.0.0.1", 40002), server, LINES) is None
    mapped = "   4: 0000000000000000FFFF00000100007F:9C42 0000000000000000FFFF00000100007F:2329 01 0:0 00:0 0  1001        0 104"
    assert user_of(("127.0.0.1", 40002), server, (*LINES, mapped)) == 1001


needs_the_table = pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="the kernel keeps no such table here")


@needs_the_table
def test_a_real_connection_of_this_user_is_known_as_its_own() -> None:
    with listen("127.0.0.1", 0) as door, socket.create_connection(door.getsockname()) as client:
        assert is_own_user(client.getsockname(), door.getsockname())
        port = client.getsockname()[1]
    assert not is_own_user(("127.0.0.1", port), ("127.0.0.1", 1)), "a connection that the kernel does not know is nobody's"


@needs_the_table
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can start a process of another user")
def test_a_real_connection_of_another_user_is_known_as_not_its_own() -> None:
    found = []
    with listen("127.0.0.1", 0) as door:

        def look() -> None:
            accepted, client = door.accept()
            with accepted:
                found.append(is_own_user(client, door.getsockname()))
                accepted.sendall(b"seen")

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        address = door.getsockname()

        def connect() -> int:
            with socket.create_connection(address, timeout=60) as mine:
                return 0 if mine.recv(4) == b"seen" else 1

        assert as_another_user(connect) == 0
        looking.join(60)
    assert found == [False]


def test_a_taken_port_is_an_error() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use"), socket.socket() as _:
        listen("127.0.0.1", taken.getsockname()[1])
