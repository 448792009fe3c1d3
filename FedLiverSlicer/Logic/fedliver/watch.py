"""How long work tells the one who waits: what it is doing, how far it is, and whether it should stop.

Standard library only. A panel, a command line and a ClientApp each bring their own :class:`Watcher`.
"""

from typing import Protocol

from fedliver.errors import Cancelled


class Watcher(Protocol):
    """Seam between long-running work and whoever watches it."""

    def report(self, phase: str, fraction: float) -> None:
        """Tell the phase in the clinician's words and the part of it that is done, 0 to 1."""

    def cancelled(self) -> bool:
        """Say whether the work should stop at the next safe place. Called often: must be cheap."""


class Silent:
    """A watcher that shows nothing and never cancels."""

    def report(self, phase: str, fraction: float) -> None:
        pass

    def cancelled(self) -> bool:
        return False


def report(watcher: Watcher, phase: str, fraction: float) -> None:
    """Report progress, then raise :class:`~fedliver.errors.Cancelled` if the watcher wants the work to stop."""
    watcher.report(phase, fraction)
    if watcher.cancelled():
        raise Cancelled(phase)
