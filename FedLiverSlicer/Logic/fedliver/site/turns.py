"""One Join or Leave of a site at a time, whichever window, page or command asks for it; and Leave goes before Join.

What a process that was killed left behind holds nobody up: the operating system takes its lock back, and a mark that was there before a Join began says
nothing to it.
"""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fedliver.errors import FedLiverError
from fedliver.files import write_text

if TYPE_CHECKING:
    from filelock import FileLock

_LET_GO_SECONDS = 90.0
"""A Join looks often whether it is to give up, but not while it waits for the coordinator's answer about its key (``site/reach.py``: 60 s at most)."""
_ASK_AGAIN_SECONDS = 0.5


class Turns:
    """Parameters
    ----------
    folder:
        Where the lock and the mark lie: the same for all who join and leave this site.
    let_go_seconds:
        How long a Leave waits for a Join to give up; a seam for tests.
    """

    def __init__(self, folder: Path, let_go_seconds: float = _LET_GO_SECONDS) -> None:
        self._folder = folder
        self._mark = folder / "leave-asked"
        self._let_go_seconds = let_go_seconds

    @contextlib.contextmanager
    def joining(self) -> Iterator[Callable[[], None]]:
        """Nobody else joins or leaves meanwhile. Gives what is to be called before every start and after every wait: it raises once Leave was asked for.

        Raises
        ------
        FedLiverError
            ``joining-already`` or ``not-writable``; and from what is given, ``left-meanwhile``.
        """
        from filelock import Timeout

        lock = self._lock()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise FedLiverError("joining-already", "This site is being joined already, perhaps in another window: wait, or press Leave.") from error
        except OSError as error:
            raise FedLiverError("not-writable", f"{self._folder} cannot be written to ({error.strerror}): make it writable, then try again.") from error
        try:
            before = self._read_mark()

            def look() -> None:
                # Another mark, not any mark: one may be left of a Leave that was killed.
                if self._read_mark() not in (None, before):
                    raise FedLiverError("left-meanwhile", "Joining was given up: Leave was pressed meanwhile, perhaps in another window.")

            yield look
        finally:
            lock.release()

    @contextlib.contextmanager
    def leaving(self) -> Iterator[bool]:
        """Has a Join that is under way give up, and lets no other begin. Gives False where that Join has not let go in time: it will, once it looks."""
        lock = self._lock()
        alone = self._taken(lock)
        try:
            yield alone
        finally:
            if alone:
                with contextlib.suppress(OSError):
                    self._mark.unlink(missing_ok=True)
                lock.release()

    def _lock(self) -> "FileLock":
        from filelock import FileLock  # not before it is needed: the panel reads a site's status where it may not be installed

        return FileLock(self._folder / ".join.lock")

    def _taken(self, lock: "FileLock") -> bool:
        from filelock import Timeout

        end = time.monotonic() + self._let_go_seconds
        while True:
            with contextlib.suppress(FedLiverError):  # a full disk must not keep a site joined: the lock will do, if only later
                write_text(self._mark, secrets.token_hex(8))  # anew each time: for a Join that began after the last one
            try:
                lock.acquire(timeout=_ASK_AGAIN_SECONDS)
                return True
            except Timeout:
                if time.monotonic() > end:
                    return False
            except OSError:  # where no lock can be made nobody has it
                return True

    def _read_mark(self) -> str | None:
        with contextlib.suppress(OSError):
            return self._mark.read_text()
        return None
