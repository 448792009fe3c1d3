"""A workbench answers nobody but the front, which knows its key: any user of the computer can reach its port."""

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("aiohttp")

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fedliver.web.settings import KEY_HEADER, WorkbenchSettings
from fedliver.web.workbench import _close_to_others


async def _answer(key: str, headers: dict[str, str]) -> int:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="a patient's liver")

    application = web.Application()
    application.router.add_get("/", page)
    _close_to_others(SimpleNamespace(app=application), key)
    async with TestClient(TestServer(application)) as client, client.get("/", headers=headers) as answer:
        assert ("a patient's liver" in await answer.text()) == (answer.status == 200)
        return answer.status


@pytest.mark.parametrize(
    ("key", "sent", "status"),
    [("k" * 40, "k" * 40, 200), ("k" * 40, "", 403), ("k" * 40, "k" * 39, 403), ("k" * 40, "kö", 403), ("", "", 200)],
)
def test_only_the_key_opens(key: str, sent: str, status: int) -> None:
    assert asyncio.run(_answer(key, {KEY_HEADER: sent} if sent else {})) == status


def test_settings_go_through_the_file_that_the_front_writes_and_refuse_what_they_do_not_know() -> None:
    settings = WorkbenchSettings(home="/h", inbox="/i", key="k")
    assert WorkbenchSettings.model_validate_json(settings.model_dump_json()) == settings
    for wrong in ({"port": 70000}, {"port": -1}, {"host": "anywhere"}):
        with pytest.raises(ValueError, match="1 validation error"):
            WorkbenchSettings.model_validate({"home": "/h", "inbox": "/i", **wrong})
