"""Keeping freed memory in the process: eager convolutions on the CPU are several times faster.

PyTorch frees each layer's output and allocates the next. Above a threshold glibc gives such blocks
back to the system, which then hands them out again page by page, zeroed. With the thresholds out of
the way they are reused. glibc only; elsewhere nothing happens. ``perf/malloc.py`` measures it.
"""

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_NEVER = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Set glibc's thresholds, once; whether it took them."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another libc
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**30) and mallopt(_M_TRIM_THRESHOLD, _NEVER))


def give_back_freed_memory() -> None:
    """Hand what was freed back to the system: another library may be about to need it."""
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another libc
        return
