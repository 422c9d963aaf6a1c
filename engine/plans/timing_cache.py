"""Measured kernels, kept between builds: the next plan of a similar network is built faster.

One file for each version and device. Several builds may end at once: each adds what it measured to
what is there by then. TensorRT refuses what it cannot read and what is another device's.
"""

from pathlib import Path
from typing import Any

from ...storage.atomic import atomic_write_bytes
from ...storage.lock import locked


def use_timings(config: Any, path: Path) -> None:
    """Give a build what earlier ones measured."""
    there = config.create_timing_cache(_bytes(path))
    if there is None or not config.set_timing_cache(there, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def keep_timings(config: Any, path: Path) -> None:
    """Add what a build measured to what is kept.

    Raises:
        OutputError: If that cannot be written.
    """
    measured = config.get_timing_cache()
    if measured is None:
        return
    with locked(path):
        meanwhile = config.create_timing_cache(_bytes(path))
        if meanwhile is not None:
            measured.combine(meanwhile, False)
        atomic_write_bytes(path, bytes(measured.serialize()))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
