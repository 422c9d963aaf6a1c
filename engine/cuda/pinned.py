"""Pinned host memory that images are decoded into, and that is used again."""

import weakref
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from .protocols import Array, Cuda


class PinnedPool:
    """Arrays of up to N rows in pinned memory.

    Allocating pinned memory takes milliseconds, so an array whose last view is gone is handed out
    again.
    """

    def __init__(self, cuda: Cuda, rows: int, row_shape: tuple[int, ...], dtype: Any) -> None:
        """Start with no memory.

        Args:
            cuda: GPU whose copies the memory is pinned for.
            rows: Number of rows of an array.
            row_shape: Shape of a row.
            dtype: Type of the values.
        """
        self._cuda, self._shape, self._dtype = cuda, (rows, *row_shape), np.dtype(dtype)
        self.rows = rows
        self._free: deque[Array] = deque()
        self._spans: list[tuple[int, int]] = []
        self._closed = False

    def take(self, rows: int) -> Array:
        """An array of at most the pool's number of rows, with any content."""
        try:
            memory = self._free.popleft()
        except IndexError:
            with self._cuda.current():
                memory = self._cuda.pinned(self._shape, self._dtype)
            self._spans.append((memory.ctypes.data, memory.ctypes.data + memory.nbytes))
        loan = _Loan(memory)
        weakref.finalize(loan, self._give_back, memory)
        return np.asarray(loan)[:rows]

    def contains(self, rows: Array) -> bool:
        """Whether rows lie in this pinned memory, one after the other."""
        first = rows.ctypes.data
        return rows.flags.c_contiguous and any(
            start <= first and first + rows.nbytes <= stop for start, stop in self._spans
        )

    def close(self) -> None:
        """Free all memory that nobody uses; the rest when its last view goes."""
        self._closed = True
        self._free.clear()

    def _give_back(self, memory: Array) -> None:
        if not self._closed:
            self._free.append(memory)


class _Loan:
    """Lends an array to numpy: each view refers to it, so it lives as long as the last one."""

    def __init__(self, memory: npt.NDArray[Any]) -> None:
        self.__array_interface__ = memory.__array_interface__
