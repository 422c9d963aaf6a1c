"""Measured kernels, stored between builds: the next plan of a similar network is built faster.

There is one file for each version and device. Builds may end at the same time: each adds its
measurements to the file. TensorRT refuses a file that it cannot read, or of another device.
"""

from pathlib import Path
from typing import Any

from ...storage.atomic import atomic_write_bytes
from ...storage.lock import locked


def use_timings(config: Any, path: Path) -> None:
    """Give a build the measurements of earlier ones."""
    cache = config.create_timing_cache(_bytes(path))
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def keep_timings(config: Any, path: Path) -> None:
    """Add the measurements of a build to the file.

    Raises:
        OutputError: If the file cannot be written.
    """
    measured = config.get_timing_cache()
    if measured is None:
        return
    with locked(path):
        stored = config.create_timing_cache(_bytes(path))
        if stored is not None:
            measured.combine(stored, False)
        atomic_write_bytes(path, bytes(measured.serialize()))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
