"""Batches that an engine has no memory for: answered in halves, and in halves from there on.

How much fits is not known before it is tried: other processes use a GPU, too. An engine raises
``EngineMemoryError``; what it was given and had not answered is given to it again, cut smaller, so
that nothing is lost and nothing doubled, however far it had read ahead.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from ..contracts import Engine, ImageBatch
from ..errors import EngineMemoryError, EvaluatorError, printable, reason_of

Answer = tuple[ImageBatch, npt.NDArray[np.float32]]


class BatchLimit:
    """The largest batch that there is memory for, as far as it is known; shared by threads.

    Args:
        warn: Is told when it becomes smaller.
    """

    def __init__(self, warn: Callable[[str], None] = lambda text: None) -> None:
        self.size = sys.maxsize
        self._warn = warn
        self._lock = threading.Lock()

    def halve(self, failed: int, engine: Engine) -> None:
        """Go below a batch that did not fit, unless another thread did so already."""
        with self._lock:
            if (half := (failed + 1) // 2) >= self.size:
                return
            self.size = half
        self._warn(
            f"{engine.spec.backend} on {engine.device.name} has no memory for {failed} images at "
            f"once: from here on it is given {half}. --batch-size would say so from the start."
        )


def run_batches(
    engine: Engine, batches: Iterator[ImageBatch], limit: BatchLimit
) -> Iterator[Answer]:
    """Each batch with its logits (N, C), in order; in parts where the engine has no memory for it.

    Raises:
        EngineMemoryError: If there is no memory for a single image.
    """
    waiting: deque[ImageBatch] = deque()  # given to the engine, not yet answered
    cut: deque[ImageBatch] = deque()  # to be given to it next

    def fed() -> Iterator[ImageBatch]:
        while (batch := cut.popleft() if cut else next(batches, None)) is not None:
            cut.extendleft(reversed(_parts(batch, limit.size)))
            waiting.append(cut.popleft())
            yield waiting[-1]

    while True:
        try:
            for answer in engine.stream(fed()):
                waiting.popleft()
                yield answer
            return
        except EngineMemoryError as error:
            failed = max((len(batch.items) for batch in waiting), default=1)
            if failed == 1:
                raise _no_room(engine, waiting, error) from error
            limit.halve(failed, engine)
        except Exception as error:
            if waiting and not isinstance(error, EvaluatorError):
                first = printable(waiting[0].items[0].location)
                error.add_note(f"{engine.spec.backend} was at the batch that begins with {first}.")
            raise
        cut.extendleft(reversed(waiting))
        waiting.clear()


def _parts(batch: ImageBatch, size: int) -> list[ImageBatch]:
    count = len(batch.items)
    if count <= size:
        return [batch]
    return [
        ImageBatch(
            batch.data[start : start + size],
            batch.kind,
            batch.items[start : start + size],
            batch.frames[start : start + size],
        )
        for start in range(0, count, size)
    ]


def _no_room(
    engine: Engine, waiting: deque[ImageBatch], error: EngineMemoryError
) -> EngineMemoryError:
    image = printable(waiting[0].items[0].location) if waiting else "an image"
    return EngineMemoryError(
        f"{engine.spec.backend} has no memory on {engine.device} for a single image, {image}: "
        f"{reason_of(error)}. Close what else uses the device, or choose another --device."
    )
