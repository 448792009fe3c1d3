"""``fedliver app``: the workbench in a browser."""

import ctypes
import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedliver.cli.options import Home

_NEEDED = ("aiohttp", "psutil", "cryptography", "trame_slicer", "slicer", "torch", "monai")
_EGL = "libEGL.so.1"


def app(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 for any that is free.")] = 0,
    data: Annotated[Path | None, typer.Option(help="A folder of scans on this computer, to be opened without an upload.")] = None,
    home: Home = None,
    browser: Annotated[bool, typer.Option(help="Open the page in this computer's browser.")] = True,
    host: Annotated[str, typer.Option(help="Where to listen. Any but this computer itself needs a certificate.")] = "127.0.0.1",
    tls_certificate: Annotated[Path | None, typer.Option(help="The certificate, with its chain (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key (PEM, without a password).")] = None,
) -> None:
    """Open the workbench in a browser: the same as the panel in 3D Slicer, without a 3D Slicer."""
    check_environment()
    from fedliver.web.launch import DoorSettings, run

    run(DoorSettings(home, data, host, port, tls_certificate, tls_key, browser), typer.echo)


def check_environment() -> None:
    """Raises FedLiverError (``no-web-environment``, ``no-egl``) where a package, or the system's library that the views are drawn with, is missing."""
    from fedliver.errors import FedLiverError

    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        how = "run “make app”, or “pip install '.[federation,app]'” from the repository in a new one"
        sentence = f"The workbench in a browser has an environment of its own, and this one lacks {', '.join(missing)}: {how}."
        raise FedLiverError("no-web-environment", sentence)
    if sys.platform == "linux":
        try:
            ctypes.CDLL(_EGL)
        except OSError as error:
            from fedliver.web.door_process import reason_in

            raise FedLiverError("no-egl", reason_in(f"{_EGL}: cannot open shared object file")) from error
