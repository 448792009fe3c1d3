"""Opens the door: checks what it is given, listens, tells the address, opens the browser, and ends everything in the end."""

import asyncio
import contextlib
import ipaddress
import signal
import socket
import ssl
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from fedliver.errors import FedLiverError
from fedliver.site.home import SiteHome
from fedliver.web.door_folder import clear, clear_what_was_left, new_door_folder
from fedliver.web.door_keys import Keys
from fedliver.web.door_process import COMMAND, Standing, WorkbenchProcess
from fedliver.web.door_rules import LOOPBACK, Address
from fedliver.web.door_users import UserLimits, Users
from fedliver.web.front import Front
from fedliver.web.uploads import UploadLimits

_LOOK_FOR_IDLE_SECONDS = 60.0
_HANG_UP_SECONDS = 2.0


@dataclass(frozen=True)
class DoorSettings:
    """How the workbench is opened.

    ``home``: the site's folder, None for the usual one. ``data``: a folder of scans on this machine. ``host``: where to listen; anything but
    this machine itself asks for ``certificate`` and ``private_key`` (PEM files). ``port`` 0: any free one. ``command`` is a seam for tests.
    """

    home: Path | None = None
    data: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    private_key: Path | None = None
    open_browser: bool = True
    command: Sequence[str] = COMMAND
    users: UserLimits = field(default_factory=UserLimits)
    uploads: UploadLimits = field(default_factory=UploadLimits)


def run(settings: DoorSettings, show: Callable[[str], None] = print) -> None:
    """Serve until Ctrl-C, SIGTERM or the end of the terminal; then no process of ours is left, but a site that has joined a federation stays in it.

    Raises
    ------
    FedLiverError
        ``tls-needed``, ``certificate``, ``no-such-file``, ``cannot-listen`` or ``home-not-writable``.
    """
    tls = tls_of(settings)
    if settings.data is not None and not settings.data.is_dir():
        raise FedLiverError("no-such-file", f"There is no folder {settings.data}: give the folder that holds the scans with --data.")
    home = SiteHome.open(settings.home).path
    with listening(settings) as listener:
        clear_what_was_left(home)
        folder = new_door_folder(home)
        try:
            asyncio.run(_serve(settings, home, folder, listener, tls, show))
        finally:
            clear(folder)
    if _is_joined(home):
        show("This site is still in its federation and goes on training; 'fedliver site leave' ends that.")
    else:
        show("The workbench has ended.")


def tls_of(settings: DoorSettings) -> ssl.SSLContext | None:
    """The TLS that the door speaks, or None for plain HTTP on this machine only (``tls-needed``, ``certificate``)."""
    if settings.certificate is None or settings.private_key is None:
        if settings.certificate or settings.private_key or not is_loopback(settings.host):
            sentence = "Other computers can reach the workbench over TLS only: give --tls-certificate and --tls-key, or leave --host out."
            raise FedLiverError("tls-needed", sentence)
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.private_key, password=lambda: "")
    except (OSError, ValueError) as error:
        sentence = "The certificate and its key cannot be used: give two PEM files that belong together, the key without a password."
        raise FedLiverError("certificate", sentence) from error
    return context


def is_loopback(host: str) -> bool:
    """Whether only this machine itself can reach ``host``."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def address_of(settings: DoorSettings, port: int) -> Address:
    """What the door may be called: its certificate's names, or this machine's own where there is no certificate."""
    if settings.certificate is None:
        return Address(LOOPBACK, port)
    names = _names_in(settings.certificate)
    if not names:
        raise FedLiverError("certificate", "The certificate names no host (subjectAltName): browsers would refuse it; get one that does.")
    given = _in_brackets(settings.host)
    plain = [name for name in names if not name.startswith("*.")]
    first = [name for name in names if name == given] or [name for name in plain if not is_loopback(name.strip("[]"))] or plain
    return Address(tuple(dict.fromkeys([*first[:1], *names])), port, tls=True)


@contextlib.contextmanager
def listening(settings: DoorSettings) -> Iterator[socket.socket]:
    """A socket that listens where the settings say (``cannot-listen``)."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=128)
    except OSError as error:
        sentence = f"The workbench cannot listen on {settings.host} port {settings.port} ({error.strerror}): choose another with --port or --host."
        raise FedLiverError("cannot-listen", sentence) from error
    with listener:
        yield listener


def make_front(settings: DoorSettings, home: Path, folder: Path, port: int) -> Front:
    """The door, put together; nothing runs yet."""
    count = iter(range(1, 1_000_000))

    def new_workbench() -> WorkbenchProcess:
        return WorkbenchProcess(folder / f"user-{next(count)}", home, settings.data and settings.data.absolute(), settings.command)

    users = Users(new_workbench, settings.users, lambda: _is_joined(home))
    return Front(address_of(settings, port), Keys(), users, settings.uploads)


async def _serve(settings: DoorSettings, home: Path, folder: Path, listener: socket.socket, tls: ssl.SSLContext | None, show: Callable[[str], None]) -> None:
    front = make_front(settings, home, folder, listener.getsockname()[1])
    stop = _stop_on_signals()
    runner = web.AppRunner(front.application(), access_log=None, shutdown_timeout=_HANG_UP_SECONDS)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, ssl_context=tls).start()
        telling = asyncio.create_task(_tell_if_it_cannot_start(front.users, show))
        show(f"The workbench is at {front.address.home}/?token={front.keys.token}")
        show("Whoever has this address can use it: keep it to yourself. Ctrl-C ends the workbench.")
        if settings.open_browser:
            await asyncio.to_thread(webbrowser.open, f"{front.address.home}/?token={front.keys.once()}")
        await _until_stopped(stop, front.users)
        telling.cancel()
    finally:
        await runner.cleanup()


async def _tell_if_it_cannot_start(users: Users, show: Callable[[str], None]) -> None:
    """Start the first workbench ahead of its user; the page would say why it cannot start, but the terminal is where one is looking."""
    first = users.prepare()
    if await users.wait(first, users.limits.start_seconds) is Standing.ENDED:
        show(first.refused)


async def _until_stopped(stop: asyncio.Event, users: Users) -> None:
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK_FOR_IDLE_SECONDS)
        await users.end_idle()


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        with contextlib.suppress(NotImplementedError, AttributeError, RuntimeError):  # Windows; a test's thread
            asyncio.get_running_loop().add_signal_handler(getattr(signal, name), stop.set)
    return stop


def _is_joined(home: Path) -> bool:
    from fedliver.site.federation import SiteFederation

    return SiteFederation(home).status().joined


def _names_in(certificate: Path) -> list[str]:
    """The names and addresses that a certificate is for."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(certificate.read_bytes())[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return []
    return [*found.get_values_for_type(x509.DNSName), *(_in_brackets(str(address)) for address in found.get_values_for_type(x509.IPAddress))]


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
