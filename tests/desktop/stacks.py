"""Where the window stands still: Python's stack of its thread, as long as a beat of the pulse is overdue, into a file.

A second process looks at the beats and asks with a signal: the thread that stands still writes down its own stack, which needs no lock, and which a
second thread could not do without one.
"""

import faulthandler
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

OVERDUE_SECONDS = 0.06
AGAIN_SECONDS = 0.03


class Stacks:
    """``target``: the file."""

    def __init__(self, target: Path) -> None:
        self._file = target.open("w", buffering=1)
        beats = target.with_suffix(".beats")
        beats.write_bytes(b"\0" * mmap.PAGESIZE)
        with beats.open("r+b") as opened:
            self._beats = mmap.mmap(opened.fileno(), mmap.PAGESIZE)
        self.beat()
        faulthandler.register(signal.SIGUSR1, self._file, all_threads=False)
        python = next(name for name in ("/usr/bin/python3", sys.executable) if os.access(name, os.X_OK))
        self._watcher = subprocess.Popen([python, __file__, str(os.getpid()), str(beats)], env={"PATH": os.environ.get("PATH", "")})

    def beat(self) -> None:
        self._beats[:8] = struct.pack("d", time.monotonic())

    def close(self) -> None:
        self._watcher.terminate()
        self._watcher.wait()

    def say(self, words: str) -> None:
        self._file.write(words + "\n")


def watch(process: int, beats: Path) -> None:
    with beats.open("rb") as opened:
        seen = mmap.mmap(opened.fileno(), mmap.PAGESIZE, access=mmap.ACCESS_READ)
    while os.path.exists(f"/proc/{process}"):
        if time.monotonic() - struct.unpack("d", seen[:8])[0] > OVERDUE_SECONDS:
            os.kill(process, signal.SIGUSR1)
            time.sleep(AGAIN_SECONDS - 0.005)
        time.sleep(0.005)


if __name__ == "__main__":
    watch(int(sys.argv[1]), Path(sys.argv[2]))
