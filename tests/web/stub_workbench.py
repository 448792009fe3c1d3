"""A stub of a workbench, for tests of the door: no trame, no Slicer. It echoes what reaches it, says that it is a stub, and remembers one number.

``python stub_workbench.py --settings FILE`` runs it as the door runs the real one; tests also run it in their own event loop.
Words of the ``data`` folder's name make it misbehave: ``crash``, ``library``, ``slow``.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from aiohttp import WSMsgType, web

from fedliver.web.settings import KEY_HEADER, WorkbenchSettings

PAGE = "<!doctype html><title>stub</title>I am a stub of a workbench"


def stub_application(settings: WorkbenchSettings) -> web.Application:
    state = {"strokes": 0, "sockets": 0}

    @web.middleware
    async def with_the_key(request: web.Request, handler):  # type: ignore[no-untyped-def]
        if request.headers.get(KEY_HEADER) != settings.key:
            return web.Response(status=403, text="no key")
        return await handler(request)

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html", headers={"Set-Cookie": "mine=1", "X-Frame-Options": "ALLOWALL"})

    async def seen(request: web.Request) -> web.Response:
        return web.json_response({"headers": dict(request.headers), "path": request.raw_path, "pid": os.getpid(), **state})

    async def large(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(int(request.query["pieces"])):
            await answer.write(bytes(1 << 20))
        return answer

    async def half(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return answer

    async def die(request: web.Request) -> web.Response:
        os._exit(3)

    async def socket(request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse(max_msg_size=0, compress=False)
        await answer.prepare(request)
        state["sockets"] += 1
        try:
            async for message in answer:
                if message.type is WSMsgType.BINARY:
                    await answer.send_bytes(message.data[::-1])
                elif message.data == "stroke":
                    state["strokes"] += 1
                elif message.data == "bye":
                    await answer.close()
                elif message.data == "flood":
                    for _ in range(64):
                        await answer.send_bytes(bytes(1 << 20))
                else:
                    await answer.send_str(f"{settings.home.name}: {message.data}")
        finally:
            state["sockets"] -= 1
        return answer

    made = web.Application(middlewares=[with_the_key])
    made.add_routes([web.get("/", page), web.get("/seen{rest:.*}", seen), web.get("/large", large), web.get("/half", half), web.get("/die", die)])
    made.router.add_get("/ws", socket)
    return made


async def _serve(settings: WorkbenchSettings) -> None:
    runner = web.AppRunner(stub_application(settings))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", settings.port)
    await site.start()
    print("I am a stub of a workbench.", flush=True)
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    found = WorkbenchSettings.model_validate_json(Path(sys.argv[sys.argv.index("--settings") + 1]).read_bytes())
    manners = found.data.name if found.data else ""
    if manners == "crash":
        sys.exit("Traceback: /patients/DOE^JOHN is what nobody may read here")
    if manners == "library":
        sys.exit("ImportError: libEGL.so.1: cannot open shared object file: No such file or directory")
    if manners == "slow":
        asyncio.run(asyncio.sleep(600))
    asyncio.run(_serve(found))
