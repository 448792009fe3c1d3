"""The warm process of a site: imports once what every ClientApp needs, and for each message forks a process that runs the ClientApp.

What a message brings stays in its own process, as it does without this one: this one imports nothing of an app bundle, reads no case and opens no connection.
It begins with a SuperExec's first message (:mod:`.warm_stand_in`), and ends with that SuperExec or its SuperNode, when it is asked to, or after ten minutes
without a message, or with the first message after other code was installed than it holds. Linux only.

Forking is safe for a process that has one thread and has not touched a GPU. It looks before each fork; where that is not so, or where it cannot import what it
should, it says so in ``run/warm.unable`` and ends, and the ClientApps start without it until the site joins again.
"""

import gc
import importlib
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from select import POLLIN, poll

from fedliver.federation.warm_code import installed_code
from fedliver.federation.warm_fork import WARM, become_client_app, call_itself, undisturbed, why_unable
from fedliver.federation.warm_wire import UNABLE, Request, Said, WireError, answer, check_peer, receive_request, run_folder, say

LIBRARIES = (
    "torch",
    "torch._dynamo",
    "monai",
    "flwr.supernode.runtime.run_clientapp",
    "fedliver.federation.client_app",
    "fedliver.federation.guard",
    "fedliver.federation.local_work",
    "fedliver.cases.store",
    "fedliver.cases.case_files",
    "fedliver.teacher.inference",
    "fedliver.training.student",
    "fedliver.evaluation.metrics",
)
"""What the work on a message imports; ours import torch and MONAI when they need them, and torch's optimisers import torch._dynamo."""
_IDLE_SECONDS = 600.0
_REQUEST_SECONDS = 5.0
_GRACE_SECONDS = 3.0


class WarmProcess:
    """Serves stand-ins until there is a reason to end.

    Parameters
    ----------
    listening:
        Where stand-ins connect.
    home:
        The site's folder; every ClientApp is told this one.
    watched:
        Pidfds of the processes that this one must not outlive.
    is_outdated:
        Whether other code is installed by now than this process holds.
    idle_seconds:
        Without a message for so long, it ends.
    """

    def __init__(
        self, listening: socket.socket, home: Path, watched: Sequence[int], is_outdated: Callable[[], bool], idle_seconds: float = _IDLE_SECONDS
    ) -> None:
        self._listening = listening
        self._home = home
        self._watched = list(watched)
        self._is_outdated = is_outdated
        self._idle_seconds = idle_seconds
        self._running: dict[int, _Running] = {}
        self._end = inf
        """When what still runs is killed."""
        self._accepting = True
        self._selector = selectors.PollSelector()  # not epoll, whose state would be the children's too

    def serve(self) -> Request | None:
        """Returns once in each process that was forked, with its request, and once here, with None, when it is over."""
        awake, self._wake = socket.socketpair()
        for end in (awake, self._wake):
            end.setblocking(False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._listening, selectors.EVENT_READ, self._accept)
        self._selector.register(awake, selectors.EVENT_READ, self._close)
        for process in self._watched:
            self._selector.register(process, selectors.EVENT_READ, self._close)
        while self._accepting or self._running:
            ready = self._selector.select(self._patience())
            if not ready and (self._end < inf or not self._running):
                break
            for key, _ in ready:
                # Its number may have been given away since, in this very loop.
                if self._selector.get_map().get(key.fileobj) is key and (request := key.data()) is not None:
                    return request
        for running in list(self._running.values()):
            os.kill(running.pid, signal.SIGKILL)
            self._reap(running)
        return None

    def _patience(self) -> float | None:
        if self._end < inf:
            return max(0.0, self._end - time.monotonic())
        return None if self._running else self._idle_seconds

    def _accept(self) -> Request | None:
        """A request, in the new process; None here."""
        try:
            connection, _ = self._listening.accept()
        except OSError as error:  # no more files may be opened, say: what runs must not die of it
            say(f"the warm process takes no more messages ({error}).")
            self._stop_accepting()
            return None
        streams: list[int] = []
        try:
            check_peer(connection)
            connection.settimeout(_REQUEST_SECONDS)
            request, streams = receive_request(connection)
            connection.setblocking(False)
            if _is_gone(connection):
                raise WireError("the stand-in has ended")
            if are_readable(self._watched):
                raise WireError("what it works for has ended")
            if self._is_outdated():
                self._stop_accepting()
                raise WireError("other code is installed here since it began; it ends, and the next message has a new one")
            if reason := why_unable():
                tell_unable(self._home, reason)
                self._stop_accepting()
                connection.close()
                return None
            return self._fork(connection, request, streams)
        except (WireError, OSError) as error:
            say(f"the warm process passed over a message ({error}).")
            connection.close()  # the stand-in runs the ClientApp itself
            return None
        finally:
            for stream in streams:
                with suppress(OSError):
                    os.close(stream)

    def _fork(self, connection: socket.socket, request: Request, streams: Sequence[int]) -> Request | None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        with undisturbed():
            pid = os.fork()
            if pid == 0:
                try:
                    self._let_go(connection)
                    become_client_app(parent, request, streams, self._home)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                return request
        try:
            ended = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)  # nobody would end it with its stand-in, which runs the ClientApp itself now
            os.waitpid(pid, 0)
            raise
        running = _Running(pid, ended, connection)
        self._running[pid] = running
        self._selector.register(running.ended, selectors.EVENT_READ, lambda: self._reap(running))
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._abandoned(running))
        answer(connection, Said.STARTED, pid)
        return None

    def _reap(self, running: "_Running") -> None:
        _, status = os.waitpid(running.pid, 0)
        answer(running.stand_in, Said.ENDED, status)
        for source in (running.ended, running.stand_in):
            with suppress(KeyError):
                self._selector.unregister(source)
        os.close(running.ended)
        running.stand_in.close()
        del self._running[running.pid]

    def _abandoned(self, running: "_Running") -> None:
        """A stand-in says nothing more after its request: it was killed, and its ClientApp must end too."""
        self._selector.unregister(running.stand_in)
        os.kill(running.pid, signal.SIGKILL)

    def _stop_accepting(self) -> None:
        if self._accepting:
            self._accepting = False
            self._selector.unregister(self._listening)
            self._listening.close()

    def _close(self) -> None:
        """End soon. What runs is told by those who end all (a Leave) or by Flower (whose SuperExec is gone), and killed if it does not listen."""
        self._stop_accepting()
        if self._end == inf:
            self._end = time.monotonic() + _GRACE_SECONDS
        for key in list(self._selector.get_map().values()):
            if key.data == self._close:
                self._selector.unregister(key.fileobj)

    def _let_go(self, connection: socket.socket) -> None:
        """In a new process: of all that is this one's."""
        signal.set_wakeup_fd(-1)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
            else:
                os.close(key.fd)
        self._wake.close()
        connection.close()
        self._selector.close()


class _Running:
    """A process that was forked: its PID, a pidfd that is readable once it has ended, and its stand-in."""

    def __init__(self, pid: int, ended: int, stand_in: socket.socket) -> None:
        self.pid = pid
        self.ended = ended
        self.stand_in = stand_in


def tell_unable(home: Path, reason: str) -> None:
    """Until the site joins again, its ClientApps start without a warm process."""
    (run_folder(home) / UNABLE).write_text(f"{reason}\n")


def are_readable(sources: Iterable[int]) -> bool:
    """Whether one of them is, now; a pidfd is once its process has ended."""
    poller = poll()
    for source in sources:
        poller.register(source, POLLIN)
    return bool(poller.poll(0))


def _is_gone(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


@contextmanager
def ending_with(watched: Iterable[int]) -> Iterator[None]:
    """While this process imports and cannot listen, end it with the first of the watched. Leaves one thread."""
    stop, stopped = os.pipe()
    poller = poll()
    for source in (*watched, stop):
        poller.register(source, POLLIN)

    def watch() -> None:
        if any(source != stop for source, _ in poller.poll()):
            os._exit(0)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        os.write(stopped, b"x")
        thread.join()
        os.close(stop)
        os.close(stopped)


def super_node_of(home: Path) -> list[int]:
    """A pidfd of the site's SuperNode; empty if none is recorded."""
    from fedliver.site.federation import SiteFiles
    from fedliver.site.processes import is_alive, read_record

    record = read_record(SiteFiles(home).records[1])
    if record is None:
        return []
    with suppress(ProcessLookupError):
        found = os.pidfd_open(record.pid)
        if is_alive(record):  # looked at last: the number may have been given away before
            return [found]
    sys.exit(0)


def watch_over(process: int, home: Path) -> list[int]:
    """Its pidfd. Ends this process where that one has ended, and where the system has none or lets nobody have one (an old kernel, a container)."""
    try:
        return [os.pidfd_open(process)]
    except ProcessLookupError:
        sys.exit(0)
    except (OSError, AttributeError) as error:
        tell_unable(home, f"this system does not let a process watch over another: {type(error).__name__}")
        sys.exit(1)


def hold(libraries: Iterable[str], home: Path, watched: Iterable[int], is_outdated: Callable[[], bool]) -> None:
    """Import them. What cannot be imported now will not be with the next message either, unless it is just being replaced: that is told, and raised."""
    try:
        with ending_with(watched):
            for name in libraries:
                importlib.import_module(name)
    except Exception as error:
        if not is_outdated():
            tell_unable(home, f"the warm process could not import what it should: {type(error).__name__}")
        raise
    gc.collect()
    gc.freeze()  # the collector of a new process would touch, and so copy, every page


def differs(code: Callable[[], str], held: str) -> bool:
    """Whether the installed code is another now; so it is where it is just being replaced."""
    try:
        return code() != held
    except OSError:
        return True


def main(
    libraries: Sequence[str] = LIBRARIES,
    watched_of: Callable[[Path], list[int]] = super_node_of,
    idle_seconds: float = _IDLE_SECONDS,
    code: Callable[[], str] = installed_code,
) -> None:
    """``python -m fedliver.federation.warm LAUNCHER HOME LISTENING-DESCRIPTOR SUPEREXEC-PID``; started by a stand-in. The parameters are seams for tests."""
    launcher, home, descriptor, super_exec = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    call_itself(WARM)
    held = code()  # first: what changes while it is imported counts as changed

    def is_outdated() -> bool:
        return differs(code, held)

    listening = socket.socket(fileno=descriptor)
    watched = watch_over(super_exec, home)
    hold(libraries, home, watched, is_outdated)
    request = WarmProcess(listening, home, [*watched, *watched_of(home)], is_outdated, idle_seconds).serve()
    if request is not None:
        sys.argv = [launcher, *request.arguments]
        runpy.run_module(launcher, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
