"""What a site's SuperExec starts as ``flwr-clientapp`` on Linux: has the warm process run the ClientApp in a process of its own, and ends as that one ends.

Begins in tens of milliseconds, for it imports the standard library only; the libraries are in the warm process (:mod:`.warm`), which the first stand-in starts.
Whatever is wrong with that, the ClientApp runs here instead, the plain way, and the log says so.
"""

import os
import resource
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fedliver.federation.launch import arguments
from fedliver.federation.signs_of_life import signs_of_life
from fedliver.federation.warm_wire import UNABLE, Request, Said, WireError, connect, listen, receive_answer, run_folder, say, send_request, the_only_one

_STARTED_SECONDS = 300.0
"""A machine with much else to do may take minutes to import it all; a warm process that is stopped or hangs must not hold a message for ever."""
_NOT_FOR_US = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Warm:
    """The warm process of a site: where it listens, which module it runs for each message, and for which SuperExec it works."""

    home: Path
    launcher: str
    super_exec: int
    program: str

    def reach(self) -> socket.socket:
        """A connection to it; it is started if it is not there. Raises :class:`WireError` or ``OSError``."""
        folder = run_folder(self.home)
        with the_only_one(folder):
            return connect(folder) or self._start(folder)

    def _start(self, folder: Path) -> socket.socket:
        import subprocess

        with listen(folder) as listening:  # already listening, so that everybody finds it while it imports
            command = [sys.executable, "-m", self.program, self.launcher, str(self.home), str(listening.fileno()), str(self.super_exec)]
            # It must have one thread when it forks, and OpenBLAS makes its threads when it is loaded.
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
            started = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[listening.fileno()], env=environment)
            started.returncode = 0  # it outlives this process, which does not wait for it
        connection = connect(folder)
        if connection is None:
            raise WireError("the warm process ended as soon as it began")
        return connection


def handed_over(warm: Warm, words: list[str]) -> socket.socket:
    """Have it run the ClientApp; returns when that has begun. Raises :class:`WireError` or ``OSError`` if it has not."""
    unable = run_folder(warm.home) / UNABLE
    if unable.exists():
        raise WireError(unable.read_text().strip())
    connection = warm.reach()
    try:
        connection.settimeout(_STARTED_SECONDS)
        send_request(connection, Request(words, dict(os.environ), os.getcwd()), [0, 1, 2])
        begun = receive_answer(connection)
        if begun is None or begun[0] is not Said.STARTED:
            raise WireError(unable.read_text().strip() if unable.exists() else "the warm process ended before the ClientApp began")
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection


def wait(connection: socket.socket) -> int:
    """The wait status of the ClientApp, once it has ended.

    Signals that ask to end are the ClientApp's, which is in the same session and gets them as well; this process ends with it.
    Raises :class:`WireError` if the warm process was killed, which ends the ClientApp too.
    """
    for number in _NOT_FOR_US:
        signal.signal(number, signal.SIG_IGN)
    ended = receive_answer(connection)
    if ended is None:
        raise WireError("the warm process was killed, and the ClientApp with it")
    return ended[1]


def end_as(status: int) -> NoReturn:
    """End with the same exit status, or by the same signal."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # what was to be kept of it, the ClientApp itself has left
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code if code >= 0 else 128 - code)


def main(program: str = "fedliver.federation.warm") -> None:
    """``python -m fedliver.federation.warm_stand_in LAUNCHER [what a SuperExec says to a ClientApp]``. ``program``: a seam for tests."""
    launcher, *words = sys.argv[1:]
    asked = arguments().parse_args(words)
    try:
        with signs_of_life(asked.runtime_api_address, asked.token):
            connection = handed_over(Warm(Path(os.environ["FEDLIVER_HOME"]), launcher, asked.parent_pid or os.getppid(), program), words)
    except (WireError, OSError) as error:
        say(f"this ClientApp starts without the warm process ({error}).")
        os.execv(sys.executable, [sys.executable, "-m", launcher, *words])  # noqa: S606
    try:
        status = wait(connection)
    except WireError as error:
        say(f"{error}.")
        sys.exit(1)
    end_as(status)


if __name__ == "__main__":
    main()
