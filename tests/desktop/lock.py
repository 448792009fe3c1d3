"""How long a segmentation beside the window keeps Python's lock from it: ``python tests/desktop/lock.py [CT]``, without a desktop.

The main thread does what Slicer's window does: it looks at the work, lends it the lock, and wants it back. How long it waits for it is counted in
what the *worker* computed meanwhile, so the numbers are the same on a computer that does other work. A generated CT unless one is named.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "FedLiverSlicer" / "Logic"))
os.environ["FEDLIVER_HOME"] = tempfile.mkdtemp(prefix="fedliver-lock-")

import numpy  # noqa: F401 Slicer has these long before
import SimpleITK  # noqa: F401

from fedliver.image import Volume
from fedliver.slicer.background import LEND_SECONDS, ThreadJob
from fedliver.slicer.home_desk import HomeDesk

FELT_SECONDS = 0.25


def longest_wait(desk: HomeDesk, ct: Volume) -> tuple[float, str, float]:
    """Seconds that the worker computed while the window waited for the lock, at most; in which phase; and how long the segmentation took."""
    began = time.monotonic()
    job = ThreadJob(lambda watcher: desk.segment(ct, watcher))
    clock = time.pthread_getcpuclockid(job._thread.ident)  # type: ignore[arg-type]
    longest, phase = 0.0, ""
    while True:
        asked, worked = time.monotonic(), _computed(clock)
        snapshot = job.poll()
        waited = time.monotonic() - asked - LEND_SECONDS
        if snapshot.finished:
            if snapshot.error is not None:
                raise snapshot.error
            return longest, phase, time.monotonic() - began
        held = min(waited, _computed(clock) - worked)
        if held > longest:
            longest, phase = held, snapshot.phase


def _computed(clock: int) -> float:
    """Seconds of the processor; 0 where the thread has just ended."""
    try:
        return time.clock_gettime(clock)
    except OSError:
        return 0.0


def scan(path: str | None) -> Volume:
    if path is not None:
        from fedliver.ct_reader import read_ct

        return read_ct(Path(path)).volume
    from fedliver.phantom import PhantomSettings, generate

    return generate(PhantomSettings(seed=0, spacing_mm=(1.5, 1.5, 3.0)))[0]


def main() -> None:
    desk, ct = HomeDesk(), scan(sys.argv[1] if len(sys.argv) > 1 else None)
    size = " × ".join(str(length) for length in ct.geometry.size)
    print(f"| CT {size} | the window waited for Python's lock, at most | while | the segmentation took |\n|---|---|---|---|")
    for name in ("first of a session", "second"):
        held, phase, seconds = longest_wait(desk, ct)
        print(f"| {name} | {held:.3f} s | {phase} | {seconds:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
