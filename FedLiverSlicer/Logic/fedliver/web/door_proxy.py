"""Hands a user's requests on to their workbench, HTTP and WebSocket, streaming both ways."""

import asyncio
from collections.abc import Iterable

from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWebSocketResponse, DummyCookieJar, TCPConnector, WSMsgType, web

from fedliver.web.door_process import Workbench
from fedliver.web.settings import KEY_HEADER

# Of one connection only, or the door's own affair (RFC 9110, 7.6.1).
_NOT_HANDED_ON = {
    "connection",
    "content-length",
    "cookie",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_LARGEST_MESSAGE = 64 << 20
_HEARTBEAT_SECONDS = 20.0
Socket = web.WebSocketResponse | ClientWebSocketResponse


def open_client() -> ClientSession:
    """What speaks to the workbenches: never through a proxy, never remembering a cookie, bodies as they are."""
    return ClientSession(
        auto_decompress=False,
        cookie_jar=DummyCookieJar(),
        connector=TCPConnector(limit=0),
        timeout=ClientTimeout(total=None, sock_connect=10),
        trust_env=False,
    )


async def forward(request: web.Request, workbench: Workbench, client: ClientSession) -> web.StreamResponse:
    """The workbench's answer to a GET or HEAD.

    Raises
    ------
    ClientError
        If the workbench does not answer; not once the answer has begun.
    """
    headers = {**dict(_handed_on(request.headers.items())), KEY_HEADER: workbench.key}
    async with client.request(request.method, _address(request, workbench), headers=headers, allow_redirects=False) as inner:
        answer = web.StreamResponse(status=inner.status, reason=inner.reason)
        for name, value in _handed_on(inner.headers.items()):
            answer.headers.add(name, value)
        if inner.content_length is not None:
            answer.content_length = inner.content_length
        await answer.prepare(request)
        if request.method != "HEAD":
            async for piece in inner.content.iter_chunked(1 << 16):
                await answer.write(piece)
        await answer.write_eof()
        return answer


async def forward_socket(request: web.Request, workbench: Workbench, client: ClientSession, opened: "set[web.WebSocketResponse]") -> web.WebSocketResponse:
    """Join the browser's WebSocket with one to the workbench until either ends; ``opened`` holds it meanwhile.

    Nothing is compressed: pictures are already, and it costs the time that a stroke has to become visible.

    Raises
    ------
    ClientError
        If the workbench does not take it; the browser's has not been answered then.
    """
    protocols = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if name.strip()]
    address = _address(request, workbench)
    async with client.ws_connect(address, headers={KEY_HEADER: workbench.key}, protocols=protocols, max_msg_size=0, compress=0) as inner:
        # A browser that sleeps or lost its network does not answer a ping: its half is closed, and the workbench lives on.
        taken = [inner.protocol] if inner.protocol else []
        outer = web.WebSocketResponse(protocols=taken, heartbeat=_HEARTBEAT_SECONDS, max_msg_size=_LARGEST_MESSAGE, compress=False)
        await outer.prepare(request)
        opened.add(outer)
        try:
            ways = [asyncio.create_task(_pump(outer, inner)), asyncio.create_task(_pump(inner, outer))]
            _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in left:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            opened.discard(outer)
        await outer.close(code=1001 if inner.closed else 1000)
        return outer


async def _pump(source: Socket, target: Socket) -> None:
    """Hand on messages one by one: the next is not read before the last was taken, so a slow browser slows its workbench, not the door."""
    try:
        async for message in source:
            if message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
    except (ConnectionError, ClientError, RuntimeError):
        return  # the other side has gone


def _address(request: web.Request, workbench: Workbench) -> str:
    # raw_path: as the browser wrote it, so that nothing is decoded twice.
    path = request.raw_path if request.raw_path.startswith("/") else "/"
    return f"http://127.0.0.1:{workbench.port}{path}"


def _handed_on(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    pairs = list(headers)
    named = {word.strip().lower() for name, value in pairs if name.lower() == "connection" for word in value.split(",")}
    return [(name, value) for name, value in pairs if name.lower() not in _NOT_HANDED_ON | named and name.lower() != KEY_HEADER.lower()]
