"""The largest batch that fits into memory, which is only known after a larger one was tried."""

import threading


class BatchLimit:
    """The largest batch that may be tried; shared by all threads and shards of a run.

    Attributes:
        size: Largest number of images in a batch.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()

    def halve(self, failed: int) -> int | None:
        """Make the limit smaller than a batch that did not fit.

        Returns:
            The new size; ``None`` if another thread has already gone below that batch.
        """
        with self._lock:
            if (half := (failed + 1) // 2) >= self.size:
                return None
            self.size = half
            return half
