"""The document that a browser loads first: trame's own, without the script in it, which the door's policy forbids, and under our name. No trame."""

import re
from typing import Any

_INLINE_SCRIPT = re.compile(r"<script>.*?</script>\s*", re.DOTALL)
_NAMES_OF_TRAME = re.compile(r'<meta\s+name="(?:description|keywords)".*?/>\s*', re.DOTALL)
_ICON = re.compile(r'<link rel="icon"[^>]*>')
_TITLE = re.compile(r"<title>.*?</title>")


def index_page(of_trame: str) -> str:
    """trame's ``index.html`` without its inline script (a spinner until the page is there), its icon and its name."""
    page = _NAMES_OF_TRAME.sub("", _INLINE_SCRIPT.sub("", of_trame))
    return _TITLE.sub("<title>FedLiver</title>", _ICON.sub('<link rel="icon" href="data:,">', page))


def add_index_page(wslink: Any, of_trame: str) -> None:
    """Let wslink's web server, which has not been started yet, answer with :func:`index_page` where it would with its own."""
    from aiohttp import web

    text = index_page(of_trame)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html", charset="utf-8")

    wslink.app.router.add_get("/index.html", answer)
