"""What something was measured on."""

from pathlib import Path

from fedliver.study import tables

_CPUINFO = Path("/proc/cpuinfo")


def machine() -> str:
    """Processor, cores and versions, in words."""
    return ", ".join(filter(None, (_processor(), tables.machine())))


def _processor() -> str:
    """Its name where Linux says it; empty elsewhere."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
