"""The generated CT of Slicer's module Sample Data, made while the window lives. In the thread of the window."""

from collections.abc import Callable
from typing import Any

from fedliver.slicer.background import Job, ThreadJob

NAME = "Generated CT"


def generate_sample(seed: int, spacing_mm: tuple[float, float, float], live: Callable[[], None] | None = None) -> Any:
    """A generated CT as a volume node, in the slice views: a body with a liver and lesions, no patient's.

    ``live``: called again and again while it is made in a thread, so that the window lives; None makes it at once, for scripts.
    """
    if live is None:
        return _show(_generate(seed, spacing_mm))
    job: Job[Any] = ThreadJob(lambda _watcher: _generate(seed, spacing_mm))
    while not (snapshot := job.poll()).finished:
        live()
    if snapshot.error is not None:
        raise snapshot.error
    return _show(snapshot.result)


def _generate(seed: int, spacing_mm: tuple[float, float, float]) -> Any:
    from fedliver.phantom import PhantomSettings, generate

    return generate(PhantomSettings(seed=seed, spacing_mm=spacing_mm))[0]


def _show(ct: Any) -> Any:
    from fedliver.slicer import scene

    node = scene.node_from_volume(ct, NAME)
    scene.show_in_slices(node)
    return node
