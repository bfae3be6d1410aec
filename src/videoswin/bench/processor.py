"""Which processor a figure in seconds belongs to."""

import platform
from pathlib import Path

__all__ = ["processor_name"]


def processor_name() -> str:
    """As Linux tells it, or what Python knows elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
