"""How long a process spends inside networks, whoever calls them: torch's hooks around every module, of which the outermost counts."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class NetworkTime:
    """``calls`` is how often a network was called; 0 where an engine other than torch does the work."""

    seconds: float = 0.0
    calls: int = 0


@contextmanager
def network_time(clock: Callable[[], float] = time.perf_counter) -> Iterator[NetworkTime]:
    """Counts while the block runs. ``clock`` tells seconds; a seam for tests."""
    from torch.nn.modules import module

    spent, depth, started = NetworkTime(), 0, 0.0

    def before(*_: Any) -> None:
        nonlocal depth, started
        if depth == 0:
            started = clock()
        depth += 1

    def after(*_: Any) -> None:
        nonlocal depth
        depth -= 1
        if depth == 0:
            spent.seconds += clock() - started
            spent.calls += 1

    hooks = [module.register_module_forward_pre_hook(before), module.register_module_forward_hook(after)]
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()
