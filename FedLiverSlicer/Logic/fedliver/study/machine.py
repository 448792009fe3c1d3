"""What something was measured on."""

import os
import platform
from pathlib import Path

from fedliver import __version__

_CPUINFO = Path("/proc/cpuinfo")


def machine() -> str:
    """Processor, cores and versions, in words."""
    about = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, fedliver {__version__}"
    return ", ".join(filter(None, (_processor(), about)))


def _processor() -> str:
    """Its name where Linux says it; empty elsewhere."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
