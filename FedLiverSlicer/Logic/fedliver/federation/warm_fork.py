"""What makes a fork of a site's warm process as good as a process that is started anew: whether it may be forked at all, and what is set right after. Linux."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import seed

from fedliver.federation.warm_wire import Request

CLIENT_APP, WARM = b"flwr-clientapp", b"fedliver-warm"
"""What the process list calls them; at most 15 bytes."""
GPUS = ("/dev/nvidia", "/dev/kfd", "/dev/dri", "/dev/dxg")
"""What is open where a GPU was touched: NVIDIA's, AMD's, Intel's, and any under WSL."""
_SET_PARENT_DEATH_SIGNAL, _SET_NAME = 1, 15
_SETTLING_SECONDS = 2.0


def become_client_app(parent: int, request: Request, streams: Sequence[int], home: Path) -> None:
    """Turn a process that was just forked into what a process started anew would be."""
    _process_control(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the warm process died first
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update({**request.environment, "FEDLIVER_HOME": str(home)})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _process_control(_SET_NAME, CLIENT_APP)
    draw_anew()


def draw_anew() -> None:
    """Seed what draws at random from the operating system: a fork begins with a copy of its parent's state, as every other fork does."""
    seed()
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
    if (torch := sys.modules.get("torch")) is not None:
        torch.seed()
    if (transforms := sys.modules.get("monai.transforms")) is not None:
        transforms.Randomizable.R.seed()  # that of every transform that was given none


def why_unable() -> str:
    """Why this process must not fork; empty if it may."""
    patience = time.monotonic() + _SETTLING_SECONDS  # a thread that was joined is in the list a moment longer
    while (threads := len(os.listdir("/proc/self/task"))) > 1 and time.monotonic() < patience:
        time.sleep(0.005)
    if threads > 1:
        return f"the warm process has {threads} threads"
    torch = sys.modules.get("torch")
    if (torch is not None and torch.cuda.is_initialized()) or any(name.startswith(GPUS) for name in _open_files()):
        return "the warm process has touched a GPU"
    return ""


def _open_files() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself is gone
            yield os.readlink(f"/proc/self/fd/{number}")


@contextmanager
def undisturbed() -> Iterator[None]:
    """While a process is forked, nobody asks it to end: until it is told apart, it has this one's way of hearing that."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def call_itself(name: bytes) -> None:
    """In the process list."""
    _process_control(_SET_NAME, name)


def _process_control(option: int, value: int | bytes) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
