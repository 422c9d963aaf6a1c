"""Keeping freed memory in the process: eager convolutions on the CPU are several times faster.

PyTorch frees each layer's output and allocates the next. Above a threshold glibc gives such blocks
back to the system, which then hands them out again page by page, zeroed. With the thresholds out of
the way they are reused.

That alone helps the main thread only. Other threads, such as those that score, have arenas of their
own, made of pieces of 64 MB: what does not fit is mapped and unmapped whatever the thresholds say.
With a single arena for all threads they are served like the main one.

glibc only; elsewhere nothing happens. ``perf/malloc.py`` measures it.
"""

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_NEVER = 2**31 - 1


@cache
def share_one_arena() -> bool:
    """Let threads that are still to come allocate where the main one does; whether glibc does.

    Threads that allocated before keep their arenas, and hand them on to later ones when they end:
    call it before there are any.
    """
    return _set((_M_ARENA_MAX, 1))


@cache
def keep_freed_memory() -> bool:
    """Set glibc's thresholds, once; whether it took them. Torch may have been imported before."""
    return share_one_arena() and _set((_M_MMAP_THRESHOLD, 2**30), (_M_TRIM_THRESHOLD, _NEVER))


def _set(*wanted: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another libc
        return False
    return all([mallopt(parameter, value) for parameter, value in wanted])


def give_back_freed_memory() -> None:
    """Hand what was freed back to the system: another library may be about to need it."""
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another libc
        return
