"""Inference in smaller batches after an engine ran out of memory.

How large a batch fits is not known before it is tried: other processes use the GPU, too. When an
engine raises ``EngineMemoryError``, the batches that it was given and has not answered are given to
it again in halves, and all later batches are cut to that size. However far the engine reads ahead,
no image is lost and none is computed twice.
"""

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from ..contracts import Engine, ImageBatch
from ..errors import EngineMemoryError, EvaluatorError, printable, reason_of
from ..system.batch_limit import BatchLimit


def run_batches(
    engine: Engine,
    batches: Iterator[ImageBatch],
    limit: BatchLimit,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[ImageBatch, npt.NDArray[np.float32]]]:
    """Each batch with its logits (N, C), in order; in parts if the engine runs out of memory.

    Args:
        engine: The engine that computes the logits.
        batches: The batches to compute.
        limit: Largest batch that the engine is given; it gets smaller when memory is short.
        note: Callback that is given the sentence to print when the limit becomes smaller.

    Raises:
        EngineMemoryError: If there is not enough memory for a single image.
    """
    pending: deque[ImageBatch] = deque()  # given to the engine, without logits so far
    parts: deque[ImageBatch] = deque()  # to be given to it next

    def feed() -> Iterator[ImageBatch]:
        while (batch := parts.popleft() if parts else next(batches, None)) is not None:
            parts.extendleft(reversed(_parts(batch, limit.size)))
            pending.append(parts.popleft())
            yield pending[-1]

    while True:
        try:
            for result in engine.stream(feed()):
                pending.popleft()
                yield result
            return
        except EngineMemoryError as error:
            failed = max((len(batch.items) for batch in pending), default=1)
            if failed == 1:
                raise _single_image_error(engine, pending, error) from error
            if (size := limit.halve(failed)) is not None:
                note(
                    f"Out of memory with {failed} images per batch ({engine.spec.backend} on "
                    f"{engine.device.name}); continuing with {size}. Use --batch-size {size} to "
                    "start there."
                )
        except Exception as error:
            if pending and not isinstance(error, EvaluatorError):
                first = printable(pending[0].items[0].location)
                error.add_note(f"{engine.spec.backend} failed at the batch that starts at {first}.")
            raise
        parts.extendleft(reversed(pending))
        pending.clear()


def _parts(batch: ImageBatch, size: int) -> list[ImageBatch]:
    rows = [slice(start, start + size) for start in range(0, len(batch.items), size)]
    return [ImageBatch(batch.data[r], batch.kind, batch.items[r], batch.frames[r]) for r in rows]


def _single_image_error(
    engine: Engine, pending: deque[ImageBatch], error: EngineMemoryError
) -> EngineMemoryError:
    image = printable(pending[0].items[0].location) if pending else "an image"
    return EngineMemoryError(
        f"{engine.spec.backend} runs out of memory on {engine.device} with a single image, "
        f"{image}: {reason_of(error)}. Close other programs that use the device, or choose another "
        "--device."
    )
