"""How long a case has been worked on, by a rule that a coffee break does not spoil. Standard library only."""

from collections.abc import Callable

PAUSE_SECONDS = 120.0
"""Between two edits at most this much counts as work: who looks longer at one place than that has most likely left."""


class CorrectionClock:
    """Counts the time per segmentation, from its appearance, over each edit, to its approval. ``clock``: seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counted: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def begin(self, key: str, seconds: float = 0.0) -> None:
        """Begin with ``seconds`` that were spent on it earlier."""
        self._counted[key], self._last[key] = seconds, self._clock()

    def touch(self, key: str) -> None:
        """A sign of life. Begins by itself where nobody has begun, as with a segmentation that came with a scene."""
        if key not in self._last:
            self.begin(key)
            return
        self._counted[key], self._last[key] = self._seconds(key), self._clock()

    def seconds(self, key: str) -> float | None:
        """The time so far; None for what nobody has begun."""
        return self._seconds(key) if key in self._last else None

    def forget(self) -> None:
        self._counted.clear()
        self._last.clear()

    def _seconds(self, key: str) -> float:
        return self._counted[key] + min(max(self._clock() - self._last[key], 0.0), PAUSE_SECONDS)
