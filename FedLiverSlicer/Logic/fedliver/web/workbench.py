"""One user's workbench: a process with a scene, the panel's workflow and a page. ``python -m fedliver.web.workbench --settings FILE``."""

import argparse
import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from fedliver.web.index_page import add_index_page
from fedliver.web.settings import KEY_HEADER, WorkbenchSettings

_FOLDER = Path(__file__).resolve().parent


def serve(settings: WorkbenchSettings) -> None:
    """Serve the page on 127.0.0.1 until the process is ended; prints ``{"port": N}`` in one line when it is ready.

    Raises
    ------
    FedLiverError
        ``no-trame`` where trame-slicer is not installed in this Python.
    """
    os.environ.setdefault("WSLINK_WS_COMPRESS", "0")  # the pictures are compressed already
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")  # no display is asked for; elsewhere than on Linux it is passed over
    server = _make_server()
    from fedliver.web.page import Page

    page = Page(server, settings)
    server.add_protocol_to_configure(lambda root: root.registerLinkProtocol(_goodbye(page)))
    server.controller.on_server_bind.add(lambda wslink: _close_to_others(wslink, settings.key))
    server.controller.on_server_bind.add(lambda wslink: add_index_page(wslink, Path(wslink.config["static"]["/"], "index.html").read_text(encoding="utf-8")))
    server.controller.on_server_ready.add(lambda **_state: print(json.dumps({"port": server.port}), flush=True))
    server.controller.on_server_ready.add(lambda **_state: page.begin())
    server.start(port=settings.port, host="127.0.0.1", open_browser=False, show_connection_info=False, timeout=0)
    page.close()


def _make_server() -> Any:
    from fedliver.errors import FedLiverError

    try:
        import trame_slicer  # noqa: F401
        from trame.app import get_server
    except ImportError as error:
        raise FedLiverError("no-trame", "The workbench in the browser needs trame-slicer: start it with “make app” or “fedliver app”.") from error
    asyncio.set_event_loop(asyncio.new_event_loop())
    sys.argv = sys.argv[:1]  # trame reads the command line by itself
    server = get_server("fedliver", client_type="vue3")
    server.enable_module({"serve": {"fedliver": str(_FOLDER / "assets")}, "scripts": ["fedliver/page.js"], "styles": ["fedliver/page.css"]})
    return server


def _goodbye(page: Any) -> Any:
    """Tells the page when a browser's connection ends, however it ends."""
    from wslink.websocket import LinkProtocol

    class Goodbye(LinkProtocol):
        def onClose(self, client_id: str) -> None:  # noqa: N802 wslink's name
            page.someone_left()

    return Goodbye()


def _close_to_others(wslink: Any, key: str) -> None:
    """Answer only the front, which knows the key: any user of this computer can reach a port on 127.0.0.1."""
    if not key:
        return
    import hmac

    from aiohttp import web

    @web.middleware
    async def only_with_the_key(request: Any, handler: Any) -> Any:
        if not hmac.compare_digest(request.headers.get(KEY_HEADER, "").encode(errors="replace"), key.encode()):
            raise web.HTTPForbidden(text="Open the workbench by the address that “fedliver app” printed.")
        return await handler(request)

    wslink.app.middlewares.append(only_with_the_key)


def main() -> None:
    """The command line: one option, the settings' file."""
    parser = argparse.ArgumentParser(description="One user's workbench in the browser; started by “fedliver app”.")
    parser.add_argument("--settings", type=Path, required=True, help="WorkbenchSettings as JSON")
    settings = WorkbenchSettings.model_validate_json(parser.parse_args().settings.read_text())
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    from fedliver.errors import FedLiverError

    try:
        serve(settings)
    except FedLiverError as error:
        print(f"fedliver: {error.sentence}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
