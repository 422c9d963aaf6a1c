"""Keeping freed memory in the process: eager convolutions on the CPU are several times faster.

PyTorch frees each layer's output and allocates the next. Above a threshold glibc returns such
blocks to the system, which zeroes their pages before it hands them out again. With higher
thresholds they are reused.

That helps only the main thread. Other threads, such as those that score, have arenas of their own,
made of pieces of 64 MB; larger blocks are mapped and unmapped whatever the thresholds are. With a
single arena for all threads they are reused as in the main thread.

glibc only; elsewhere these functions do nothing. ``perf/malloc.py`` measures it.
"""

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_NEVER = 2**31 - 1


@cache
def share_one_arena() -> bool:
    """Let future threads share the main arena; return whether glibc accepts that.

    Threads that allocated before keep their arenas, which later threads reuse: call it before any
    thread starts.
    """
    return _call("mallopt", _M_ARENA_MAX, 1)


@cache
def keep_freed_memory() -> bool:
    """Raise glibc's thresholds; return whether it accepts them. Torch may be imported already."""
    return (
        share_one_arena()
        and _call("mallopt", _M_MMAP_THRESHOLD, 2**30)
        and _call("mallopt", _M_TRIM_THRESHOLD, _NEVER)
    )


def give_back_freed_memory() -> None:
    """Return freed memory to the system, so that another library can use it."""
    _call("malloc_trim", 0)


def _call(function: str, *arguments: int) -> bool:
    """Call a function of glibc; return whether it succeeds. Without glibc it does nothing."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(getattr(ctypes.CDLL(None), function)(*arguments))
    except (OSError, AttributeError):  # another libc
        return False
