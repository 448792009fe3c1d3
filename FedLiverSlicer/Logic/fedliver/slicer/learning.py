"""What a training of minutes shows in a panel's bar."""

import time
from collections.abc import Callable

from fedliver.watch import Watcher

_READING = 0.05
_JUDGING = 0.85


class LearningProgress:
    """A training watcher that tells a panel's watcher. The bar: reading the cases, training by the clock, judging both teachers.

    ``minutes``: for how long the training goes at most.
    """

    def __init__(self, watcher: Watcher, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._watcher = watcher
        self._seconds = 60.0 * minutes
        self._clock = clock
        self._began: float | None = None

    def report(self, phase: str, fraction: float) -> None:
        if self._began is None:
            self._watcher.report(phase, _READING * fraction)
        else:
            self._watcher.report(phase, _JUDGING + (1 - _JUDGING) * fraction)

    def step(self, n: int, total: int, loss: float) -> None:
        """After step ``n`` of at most ``total``, which the clock ends earlier."""
        if self._began is None:
            self._began = self._clock()
        done = max((self._clock() - self._began) / self._seconds, n / total)
        self._watcher.report(f"Learning: step {n}, loss {loss:.3f}", _READING + (_JUDGING - _READING) * min(1.0, done))

    def cancelled(self) -> bool:
        return self._watcher.cancelled()
