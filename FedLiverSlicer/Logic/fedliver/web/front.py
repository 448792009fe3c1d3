"""The door as a web application: tells users apart, refuses everybody else in words, takes uploads, and hands all else on to the user's workbench."""

import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientSession, WSCloseCode, web

from fedliver.errors import FedLiverError
from fedliver.web.door_keys import Keys
from fedliver.web.door_pages import ended_page, sentence_page, starting_page
from fedliver.web.door_process import Standing
from fedliver.web.door_proxy import forward, forward_socket, open_client
from fedliver.web.door_rules import Address, check_request, security_headers
from fedliver.web.door_users import User, Users
from fedliver.web.uploads import UploadLimits, Uploads

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_STATUS = {
    "disk-full": 507,
    "no-upload": 400,
    "no-workbench": 503,
    "not-writable": 507,
    "not-let-in": 403,
    "too-many-files": 413,
    "too-many-users": 503,
    "upload-broken": 400,
    "upload-running": 429,
    "upload-stalled": 408,
    "upload-too-large": 413,
    "wrong-host": 403,
    "wrong-method": 405,
    "wrong-origin": 403,
}
_WAIT_SECONDS = 1.0
"""How long a page is held back while the workbench starts, before the page says so."""
_LET_IN = "Open the address with the token that “fedliver app” printed: without it this workbench shows nothing."


@dataclass
class Front:
    """The door's parts, and what a request passes on its way through them."""

    address: Address
    keys: Keys
    users: Users
    limits: UploadLimits = field(default_factory=UploadLimits)
    uploads: Uploads = field(init=False)
    _client: ClientSession | None = field(default=None, init=False)
    _sockets: set[web.WebSocketResponse] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.users.limits.users, thread_name_prefix="upload")
        self.uploads = Uploads(self._threads, self.limits)

    def application(self) -> web.Application:
        """The application, to be run once."""
        made = web.Application(middlewares=[self._guard])
        made.router.add_get("/upload", self._tell_limits)
        made.router.add_post("/upload", self._upload)
        made.router.add_post("/restart", self._restart)
        made.router.add_post("/paraview/", self._tell_socket)
        made.router.add_get("/{path:.*}", self._show)
        made.on_response_prepare.append(self._mark)
        made.on_startup.append(self._open)
        made.on_shutdown.append(self._hang_up)
        made.on_cleanup.append(self._close)
        return made

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse in words whatever is not this door's own page of a user who was let in; mark every answer."""
        try:
            check_request(self.address, request.method, request.headers, is_socket=_is_socket(request))
            return await handler(request)
        except FedLiverError as error:
            return _refusal(request, error)
        except web.HTTPException as error:
            return _refusal(request, FedLiverError("wrong-method", "The workbench does not understand this kind of request."), error.status)

    async def _mark(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(security_headers(self.address))
        response.headers.pop("Server", None)

    async def _show(self, request: web.Request) -> web.StreamResponse:
        if "token" in request.query:
            return await self._let_in(request)
        user = self._user(request)
        self.users.begin(user)
        wants_page = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
        standing = await self.users.wait(user, _WAIT_SECONDS if wants_page else 0.0)
        if standing is Standing.READY:
            return await self._hand_on(request, user, wants_page)
        if wants_page:
            return _page(ended_page(user.refused), 500) if standing is Standing.ENDED else _page(starting_page(), 200)
        raise FedLiverError("no-workbench", user.refused or "The workbench is starting: wait a moment.")

    async def _hand_on(self, request: web.Request, user: User, wants_page: bool) -> web.StreamResponse:
        assert self._client is not None  # noqa: S101 opened with the application
        is_socket = _is_socket(request)
        user.connections += is_socket
        try:
            if is_socket:
                return await forward_socket(request, user.workbench, self._client, self._sockets)
            return await forward(request, user.workbench, self._client)
        except ClientError as error:
            if request.writer.output_size:
                raise  # the answer had begun: the connection is closed, so that a half is not taken for the whole
            if wants_page and self.users.standing(user) is Standing.ENDED:
                return _page(ended_page(user.refused), 500)
            raise FedLiverError("no-workbench", "The workbench did not answer: load the page again.") from error
        finally:
            user.connections -= is_socket
            self._user_of(request)  # seen now: a long connection has just ended

    async def _let_in(self, request: web.Request) -> web.StreamResponse:
        given = request.query.get("token", "")
        if request.path != "/" or len(request.query.getall("token")) != 1 or not self.keys.admits(given):
            raise FedLiverError("not-let-in", _LET_IN)
        answer = web.Response(status=303, headers={"Location": "/"})
        if self._user_of(request) is None:
            cookie = await self.users.admit()
            answer.set_cookie(self.address.cookie, cookie, httponly=True, samesite="Strict", secure=self.address.tls, path="/")
        return answer

    async def _restart(self, request: web.Request) -> web.StreamResponse:
        user = self._user(request)
        if self.users.standing(user) is Standing.ENDED:
            self.users.begin_again(user)
        return web.Response(status=303, headers={"Location": "/"})

    async def _tell_limits(self, request: web.Request) -> web.StreamResponse:
        self._user(request)
        too_large, too_many = self.uploads.too_large().sentence, self.uploads.too_many().sentence
        return web.json_response({"bytes": self.limits.total, "files": self.limits.files, "too_large": too_large, "too_many": too_many})

    async def _tell_socket(self, request: web.Request) -> web.StreamResponse:
        """Before anything else trame's client asks a launcher, under this name, where its session is: it is here, by whatever name the page was opened."""
        self._user(request)
        return web.json_response({"sessionURL": "ws://use_host/ws"})

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        user = self._user(request)
        if self.users.standing(user) is not Standing.READY:
            raise FedLiverError("no-workbench", "The workbench does not run: load the page again, then send the files.")
        if user.uploading:
            raise FedLiverError("upload-running", "Another upload of yours is still on its way: wait until it has ended.")
        user.uploading = True
        try:
            return web.json_response({"upload": await self.uploads.receive(request, user.workbench.inbox)})
        finally:
            user.uploading = False

    def _user(self, request: web.Request) -> User:
        user = self._user_of(request)
        if user is None:
            raise FedLiverError("not-let-in", _LET_IN)
        return user

    def _user_of(self, request: web.Request) -> User | None:
        return self.users.find(request.cookies.get(self.address.cookie))

    async def _open(self, application: web.Application) -> None:
        self._client = open_client()

    async def _hang_up(self, application: web.Application) -> None:
        for socket in list(self._sockets):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await socket.close(code=WSCloseCode.GOING_AWAY)

    async def _close(self, application: web.Application) -> None:
        if self._client is not None:
            await self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self.users.end_all()


def _is_socket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _refusal(request: web.Request, error: FedLiverError, status: int = 0) -> web.Response:
    status = status or _STATUS.get(error.code, 500)
    if "text/html" in request.headers.get("Accept", ""):
        return _page(sentence_page("This did not work" if status >= 404 else "Not let in", error.sentence), status)
    return web.json_response({"sentence": error.sentence, "code": error.code}, status=status)


def _page(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")
