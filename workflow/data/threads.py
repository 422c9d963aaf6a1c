"""Threads that read data, and stop when the command is interrupted."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def reader_pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads whose waiting tasks are dropped if the block raises.

    The pool's own context manager would run all of them first: an interrupt would wait for hours.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
