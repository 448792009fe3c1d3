"""Stands in for ``flwr-clientapp`` at a site, so that the site and not the coordinator decides what runs.

Flower installs and imports the app bundle that the coordinator ships. Here nothing of the bundle is installed, imported or executed: its hash is compared
with the ones that this site allowed when it enrolled, and then the ClientApp that is installed on this machine runs, with the site's egress filter around it.

Made for flwr 1.41, whose internals it replaces.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedliver.error_details import details_of
from fedliver.federation.signs_of_life import signs_of_life
from fedliver.site.codes import ErrorCode

if TYPE_CHECKING:
    from flwr.app import Context, Message

    from fedliver.federation.guard import App


def allowed_apps(home: Path) -> frozenset[str]:
    """The hashes in the invitation that this site accepted; none if it cannot be read."""
    from fedliver.site.enrolment import accepted_invitation
    from fedliver.site.federation import SiteFiles

    try:
        return frozenset(accepted_invitation(SiteFiles(home).invitation).allowed_apps)
    except (OSError, ValueError):
        return frozenset()


def guarded(home: Path) -> "App":
    """The app that is installed here, with the site's egress filter around it."""
    from fedliver.federation.client_app import app
    from fedliver.federation.guard import Guard

    return Guard(home, app)


def refusing(home: Path) -> "App":
    """Answers every message with the code of a refused app, and tells the site."""

    def refuse(message: "Message", context: "Context") -> "Message":
        from fedliver.federation.guard import refusal

        return refusal(home, message, None, ErrorCode.APP_NOT_ALLOWED)

    return refuse


class Speechless:
    """Runs ``app``, and makes of its exceptions the number of an unexpected error.

    The app and its filter answer their own errors. This is the last resort: Flower sends an exception's text, and any path in it, to the coordinator.
    """

    def __init__(self, app: "App") -> None:
        self.app = app

    def __call__(self, message: "Message", context: "Context") -> "Message":
        try:
            return self.app(message=message, context=context)
        except Exception as error:
            from flwr.app import Message

            from fedliver.federation.messages import error_reply

            with suppress(Exception):  # no log to write into: the number still has to leave
                print(details_of(error), file=sys.stderr)
            return Message(error_reply(ErrorCode.UNEXPECTED), reply_to=message)


class Gate:
    """Takes the places of Flower's "install the bundle" and "load the app"."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._allowed = allowed_apps(home)
        self._may_run = False

    def install(self, bundle: bytes, *_: Any, **__: Any) -> None:
        """Look at the bundle's hash; install nothing."""
        self._may_run = hashlib.sha256(bundle).hexdigest() in self._allowed

    def loader(self, *_: Any, **__: Any) -> "Callable[[str, str, str], App]":
        """Give the installed app inside the egress filter, whatever the bundle names."""

        def load(*_: str) -> "App":
            return Speechless(guarded(self._home) if self._may_run else refusing(self._home))

        return load


def arguments() -> argparse.ArgumentParser:
    """What a SuperExec says to the ClientApp that it starts; the SuperNode is always on this machine."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runtime-api-address", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--insecure", action="store_true", required=True)
    parser.add_argument("--parent-pid", type=int)
    return parser


def main() -> None:
    """Run Flower's own ClientApp process with the gate in place."""
    asked = arguments().parse_args()
    with signs_of_life(asked.runtime_api_address, asked.token):
        from flwr.supernode.runtime import run_clientapp

        gate = Gate(Path(os.environ["FEDLIVER_HOME"]))
        for name, replacement in (("install_from_fab", gate.install), ("get_load_client_app_fn", gate.loader)):
            if not hasattr(run_clientapp, name):
                sys.exit(f"fedliver: this Flower has no {name}; flwr 1.41 is needed")
            setattr(run_clientapp, name, replacement)
    run_clientapp.run_clientapp(asked.runtime_api_address, asked.token, insecure=True, parent_pid=asked.parent_pid)


if __name__ == "__main__":
    main()
