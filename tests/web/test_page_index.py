"""The document that a browser loads first holds no script of its own, and all of trame's files."""

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedliver.web.index_page import add_index_page, index_page

OF_TRAME = """<!doctype html>
<html lang="en" data-app-name="trame">
  <head>
    <meta charset="UTF-8" />
    <meta
      name="description"
      content="made by somebody"
    />
    <link rel="icon" href="logo.png" />
    <title>trame</title>
    <script src="vue.global.js"></script>
    <script type="module" crossorigin src="./assets/index-abc.js"></script>
  </head>
  <body>
    <div id="app"></div>
    <script>
      fetch("./loading.tpl");
    </script>
  </body>
</html>
"""


def check(page: str, of_trame: str) -> None:
    assert not re.findall(r"<script(?![^>]*\ssrc=)", page), "the door's policy forbids a script in the page"
    assert re.findall(r'src="([^"]+)"', page) == re.findall(r'src="([^"]+)"', of_trame) != []
    assert "<title>FedLiver</title>" in page
    assert 'href="data:,"' in page
    assert "logo.png" not in page
    assert '<div id="app"></div>' in page


def test_it_is_trames_without_the_script_in_it_and_with_our_name() -> None:
    page = index_page(OF_TRAME)
    check(page, OF_TRAME)
    assert "made by somebody" not in page
    assert "loading.tpl" not in page


def test_so_it_is_with_the_trame_that_is_installed() -> None:
    trame_client = pytest.importorskip("trame_client", reason="trame is not installed in this Python: “make test” runs this in .venv-app")
    found = (Path(trame_client.__file__).parent / "module" / "vue3-www" / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\ssrc=)", found), "then index_page.py is not needed any more"
    check(index_page(found), found)


def test_the_web_server_answers_with_it() -> None:
    pytest.importorskip("aiohttp")
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    async def scenario() -> None:
        application = web.Application()
        add_index_page(SimpleNamespace(app=application), OF_TRAME)
        async with TestClient(TestServer(application)) as client, client.get("/index.html") as answer:
            assert await answer.text() == index_page(OF_TRAME)
            assert answer.content_type == "text/html"

    asyncio.run(scenario())
