"""A watcher that keeps the fractions it is told, and cancels from one on."""


class StoppingWatch:
    def __init__(self, stop_at: float = 2.0) -> None:
        self.fractions: list[float] = []
        self._stop_at = stop_at

    def report(self, phase: str, fraction: float) -> None:
        self.fractions.append(fraction)

    def cancelled(self) -> bool:
        return self.fractions[-1] >= self._stop_at
