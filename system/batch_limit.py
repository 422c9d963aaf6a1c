"""How many images there is memory for at once: known only after it was tried."""

import threading
from collections.abc import Callable


class Room:
    """The largest batch that may be tried; one for all shards of a run.

    Args:
        size: Where to begin.
        note: Is told when it becomes smaller.
    """

    def __init__(self, size: int, note: Callable[[str], None] = lambda text: None) -> None:
        self.size = size
        self._note = note
        self._lock = threading.Lock()

    def halve(self, failed: int) -> None:
        """Go below a batch that did not fit, unless another thread did so already."""
        with self._lock:
            if (half := (failed + 1) // 2) >= self.size:
                return
            self.size = half
        self._note(
            f"There is no memory to attack {failed} images at once: from here on it is {half}. "
            "--batch-size would say so from the start."
        )
