"""Memory of this process; ``None`` if the system does not report it."""

import sys
from pathlib import Path

_KIB = 1024


def resident_bytes() -> int | None:
    """Resident memory; Linux only."""
    return _status("VmRSS")


def peak_bytes() -> int | None:
    """Largest resident memory so far; Linux and macOS."""
    if (peak := _status("VmHWM")) is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB


def _status(key: str) -> int | None:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    values = [line.split()[1] for line in text.splitlines() if line.startswith(f"{key}:")]
    return int(values[0]) * _KIB if values else None
