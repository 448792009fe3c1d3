"""Stands in for ``flower-superlink`` at a coordinator, so that the port that faces the sites serves the sites and nothing else.

Flower answers everything on one port, and its Control API has no login. Here the same SuperLink listens on two: the sites' door, which knows ``/v1/fleet/``
and ``/health``, and the coordinator's own, on loopback, which knows everything but opens to the operating-system user alone who started it.

Flower takes a request's body into memory whole, and only then looks who sent it. So what comes in through the sites' door is counted here: a body, and all of
those that are on their way.

Made for flwr 1.41, whose way of starting its server it replaces.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedliver.coordinator.superlink import CONTROL_ADDRESS
from fedliver.federation.loopback_user import is_own_user
from fedliver.site.connection import FLOWER_HEADER, VERSION_HEADER

_FLEET, _HEALTH = "/v1/fleet/", "/health"
_PUSH, _PUSH_OBJECT, _HEARTBEAT = "/v1/fleet/push-messages", "/v1/fleet/push-object", "/v1/fleet/send-node-heartbeat"
_LARGEST_PUSH = 16 * 1024 * 1024
"""Bytes of one push: message and object identifiers, or one object. Weights travel in pieces of half a megabyte (5 MB, if Flower is left to itself), and the
longest object that is not cut up, the words of a masked sum, has 4 MB. nginx has the same limit (``coordinator.deployment``)."""
_LARGEST_QUESTION = 64 * 1024
"""Bytes of any other request: a node, a key and identifiers."""
_BODIES = 256 * 1024 * 1024
"""Bytes of all bodies that are on their way in: the pieces of some hundreds of sites at once."""
_BODY_SECONDS = 300.0
"""How long a body may take. Whoever sends one byte a minute would keep others out."""
_CONNECTIONS = 900
"""At once. A process may usually open 1024 files, and some are the database's and the logs'."""
_BACKLOG = 2048
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
_GONE = {"type": "http.disconnect"}


class Doors:
    """Decides by the socket that a request came in through, never by anything that the request says.

    Parameters
    ----------
    app:
        The SuperLink.
    control_port:
        The port of the coordinator's own door.
    is_own_user:
        Whether a connection, by its client's and the server's address, was made by this operating-system user.
    versions:
        Headers for the answer to ``/health``: a site that is another version than its coordinator is to be told.
    claims_another_node:
        Whether the body of a push claims to come from another node than the one that signed it; Flower does not look.
    """

    def __init__(
        self,
        app: App,
        control_port: int,
        is_own_user: Callable[[tuple[str, int], tuple[str, int]], bool],
        claims_another_node: Callable[[bytes], bool],
        versions: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self._app = app
        self._control_port = control_port
        self._is_own_user = is_own_user
        self._claims_another_node = claims_another_node
        self._versions = list(versions)
        self._room = _Room(_BODIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["server"][1] == self._control_port:
            await self._own_door(scope, receive, send)
        else:
            body = _Body(receive, send, _LARGEST_PUSH if scope["path"] in (_PUSH, _PUSH_OBJECT) else _LARGEST_QUESTION, self._room)
            try:
                if not await body.claims_too_much(scope):
                    await self._sites_door(scope, body.receive, body.send)
            except Exception:
                if not body.refused:  # else Flower says that it was disconnected
                    raise
            finally:
                body.leave()

    async def _sites_door(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == _PUSH:
            await self._push(scope, receive, send)
        elif scope["path"] == _HEALTH:
            await self._app(scope, receive, self._with_versions(send))
        elif scope["path"] == _HEARTBEAT:
            await self._app(scope, receive, _try_again_later(send))
        elif scope["path"].startswith(_FLEET):
            await self._app(scope, receive, send)
        else:
            await _refuse(send, 404)

    def _with_versions(self, send: Send) -> Send:
        async def sent(part: MutableMapping[str, Any]) -> None:
            if part["type"] == "http.response.start":
                part = {**part, "headers": [*part.get("headers", []), *self._versions]}
            await send(part)

        return sent

    async def _own_door(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("client") and self._is_own_user(tuple(scope["client"]), tuple(scope["server"])):
            await self._app(scope, receive, send)
        else:
            await _refuse(send, 403)

    async def _push(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            part = await receive()
            if part["type"] == "http.disconnect":
                return
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        if self._claims_another_node(body):
            await _refuse(send, 403)
            return
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def again() -> MutableMapping[str, Any]:
            return next(parts, None) or await receive()

        await self._app(scope, again, send)


@dataclass
class _Room:
    """The memory for bodies on their way in."""

    left: int


class _Body:
    """One request's body. Once it is too long, too slow, or one too many, it is refused, and whoever reads it finds that the client has gone."""

    def __init__(self, receive: Receive, send: Send, limit: int, room: _Room) -> None:
        self.refused = False
        self._receive = receive
        self._send = send
        self._limit = limit
        self._room = room
        self._bytes = 0
        self._whole = self._answered = False
        self._until = asyncio.get_running_loop().time() + _BODY_SECONDS

    async def claims_too_much(self, scope: Scope) -> bool:
        """Refuse by the Content-Length, before a byte is read. Without one, or if it lies, the bytes are counted."""
        claimed = max((int(value) for name, value in scope["headers"] if name == b"content-length" and value.isdigit()), default=0)
        if claimed > self._limit:
            await self._refuse(413)
        return self.refused

    async def receive(self) -> MutableMapping[str, Any]:
        if self.refused:
            return _GONE
        if self._whole:  # what comes now is the end of the connection, whenever that is
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                part = await self._receive()
        except TimeoutError:
            return await self._refuse(408)
        size = len(part.get("body", b""))
        self._bytes += size
        self._room.left -= size
        if self._bytes > self._limit:
            return await self._refuse(413)
        if self._room.left < 0:
            return await self._refuse(503)  # after which Flower's node tries again
        self._whole = not part.get("more_body", False)
        return part

    async def send(self, part: MutableMapping[str, Any]) -> None:
        if not self.refused:
            self._answered = True
            await self._send(part)

    def leave(self) -> None:
        """Give the room back."""
        self._room.left += self._bytes
        self._bytes = 0

    async def _refuse(self, status: int) -> MutableMapping[str, Any]:
        self.refused = True
        if not self._answered:
            await _refuse(self._send, status, (b"connection", b"close"))  # the rest of the body is not wanted
        return _GONE


def _try_again_later(send: Send) -> Send:
    """Make "I have failed" (500, as with a full disk) "not now" (503): Flower's node tries again after that, and never sends a sign of life after the other."""

    async def sent(part: MutableMapping[str, Any]) -> None:
        if part["type"] == "http.response.start" and part["status"] == 500:
            part = {**part, "status": 503}
        await send(part)

    return sent


async def _refuse(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0"), *headers]})
    await send({"type": "http.response.body", "body": b""})


def claims_another_node(body: bytes) -> bool:
    """Whether a message in a push names another source than the node that pushes it. What cannot be read claims nothing: Flower refuses it."""
    from flwr.proto.fleet_pb2 import PushMessagesRequest
    from google.protobuf.message import DecodeError

    try:
        request = PushMessagesRequest.FromString(body)
    except DecodeError:
        return False
    return any(message.metadata.src_node_id != request.node.node_id for message in request.messages_list)


def versions() -> list[tuple[bytes, bytes]]:
    """What runs here, as headers."""
    from importlib.metadata import version

    from fedliver import __version__

    return [(VERSION_HEADER.encode(), __version__.encode()), (FLOWER_HEADER.encode(), version("flwr").encode())]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket (``OSError`` if the port is taken)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    made.listen(_BACKLOG)
    made.set_inheritable(True)
    return made


def serve(app: App, host: str, port: int, **settings: Any) -> None:
    """Takes the place of ``uvicorn.run``: one server, two doors."""
    import uvicorn

    control_host, _, control_port = os.environ[CONTROL_ADDRESS].rpartition(":")
    doors = Doors(app, int(control_port), is_own_user, claims_another_node, versions())
    sockets = [listen(host, port), listen(control_host.strip("[]"), int(control_port))]
    # No proxy's word about who the client is: a header could say anything.
    wanted = {key: settings[key] for key in ("log_config", "access_log", "ssl_keyfile", "ssl_certfile") if key in settings}
    server = uvicorn.Server(uvicorn.Config(doors, proxy_headers=False, server_header=False, ws="none", limit_concurrency=_CONNECTIONS, **wanted))
    server.run(sockets=sockets)


def main() -> None:
    """Run Flower's own SuperLink behind two doors."""
    import importlib

    original = importlib.import_module("flwr.superlink.cli.flower_superlink")  # the package's own name of it is the function
    if not hasattr(original, "uvicorn") or not hasattr(original.uvicorn, "run"):
        sys.exit("fedliver: this Flower does not start uvicorn as expected; flwr 1.41 is needed")

    class _Uvicorn:
        run = staticmethod(serve)

    vars(original)["uvicorn"] = _Uvicorn
    original.flower_superlink()


if __name__ == "__main__":
    main()
