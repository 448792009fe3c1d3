"""What the site's records and the network need, imported while the window lives. Two things of such an import keep Python's lock for long, and are kept
from it here.

Opening torch's large library takes a third of a second; and importing makes half a million objects, over which Python's garbage collector goes in full
again and again, a fifth of a second each time.
"""

import ctypes
import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LIBRARIES = {"linux": ("libc10.so", "libtorch_cpu.so"), "darwin": ("libc10.dylib", "libtorch_cpu.dylib")}
_RECORDS = ("fedliver.cases.teachers", "fedliver.cases.store", "fedliver.site.federation", "fedliver.slicer.preferences")
_RTLD_NOW = 2
_NEVER = 1_000_000_000


def records_are_imported() -> bool:
    """Whether looking at the site's teacher, cases and federation costs no import any more."""
    return all(name in sys.modules for name in _RECORDS)


def import_records() -> None:
    """Import what reads the site's records, pydantic above all: for a worker thread, while the panel is on show already."""
    with _without_full_collections():
        for name in _RECORDS:
            importlib.import_module(name)


@contextmanager
def importing() -> Iterator[None]:
    """Around an import of the network's libraries, in a worker thread."""
    open_torch_library()
    with _without_full_collections():
        yield


@contextmanager
def _without_full_collections() -> Iterator[None]:
    """Young objects are collected as ever, the old ones not; and what is there at the end, which stays as long as the process does, is no more looked at
    by any later collection."""
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(young, middle, old)


def open_torch_library() -> bool:
    """Let the system's loader open what ``import torch`` needs most time for; the import finds it open then. For a worker thread.

    A foreign function that ctypes calls runs without Python's lock; ``ctypes.CDLL`` and ``import`` keep it. Whether it was opened here:
    False where torch is imported already, not installed, or the system is another; then the import does all by itself, as ever.
    """
    names = _LIBRARIES.get(sys.platform)
    if names is None or "torch" in sys.modules:
        return False
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    loader = ctypes.CDLL(None).dlopen
    loader.argtypes, loader.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    return all(bool(loader(os.fsencode(Path(found.origin).parent / "lib" / name), _RTLD_NOW)) for name in names)
