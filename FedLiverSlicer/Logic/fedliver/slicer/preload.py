"""torch's large library opened while the window lives. Python keeps its lock while it opens a library for an import, and this one takes a third of a second."""

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

_LIBRARIES = {"linux": ("libc10.so", "libtorch_cpu.so"), "darwin": ("libc10.dylib", "libtorch_cpu.dylib")}
_RTLD_NOW = 2


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
