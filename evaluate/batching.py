"""The frames of a shard's items, one after another, in batches.

The borders of batches follow from the items alone, so a frame is in the same batch however often
the work is resumed: the frames of a bad item are taken out, and none move up from the next batch.
Frames are decoded straight into the engine's buffers; a video may continue in the next one.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from ..contracts import Engine, ImageBatch, Item
from ..errors import ImageError


@dataclass
class Placed:
    """An item, with the rows that its frames are decoded into.

    Attributes:
        item: The item.
        rows: Rows of the engine's buffers, one for each frame.
        content: SHA-256 over the item's bytes; over nothing if it cannot be read.
        error: Reason why the item is skipped, if it is.
        kept: Whether the frames were decoded; ``False`` if the item is skipped, ``None`` before
            that is known.
    """

    item: Item
    rows: list[npt.NDArray[Any]] = field(default_factory=list)
    content: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    error: ImageError | None = None
    kept: bool | None = None


@dataclass(frozen=True)
class _Batch:
    """A batch that is being filled: its buffer, and the item and frame of each row."""

    buffer: npt.NDArray[Any]
    rows: list[tuple[Placed, int]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.rows) == len(self.buffer)

    @property
    def decoded(self) -> bool:
        return self.full and all(placed.kept is not None for placed, _ in self.rows)


class Packing:
    """The batches of a shard; one thread places items and takes batches, others may fill them."""

    def __init__(self, items: Sequence[Item], batch_size: int, engine: Engine) -> None:
        self._items, self._size, self._engine = items, batch_size, engine
        self._left = sum(item.frames for item in items)
        self._batches: deque[_Batch] = deque()

    def groups(self) -> Iterator[list[Placed]]:
        """Groups of items to decode together, in order, each with about a batch of frames."""
        group: list[Placed] = []
        frames = 0
        for item in self._items:
            group.append(self._place(item))
            frames += item.frames
            if frames >= self._size:
                yield group
                group, frames = [], 0
        if group:
            yield group

    def ready(self) -> Iterator[ImageBatch]:
        """Batches whose frames are all decoded, in order, each once."""
        while self._batches and self._batches[0].decoded:
            batch = self._batches.popleft()
            kept = [row for row, (placed, _) in enumerate(batch.rows) if placed.kept]
            if not kept:
                continue
            if len(kept) < len(batch.rows):
                batch.buffer[: len(kept)] = batch.buffer[kept]
            yield ImageBatch(
                batch.buffer[: len(kept)],
                self._engine.spec.input_kind,
                tuple(batch.rows[row][0].item for row in kept),
                tuple(batch.rows[row][1] for row in kept),
            )

    def _place(self, item: Item) -> Placed:
        placed = Placed(item)
        for frame in range(item.frames):
            if not self._batches or self._batches[-1].full:
                self._batches.append(_Batch(self._engine.allocate(min(self._size, self._left))))
            batch = self._batches[-1]
            placed.rows.append(batch.buffer[len(batch.rows)])
            batch.rows.append((placed, frame))
            self._left -= 1
        return placed
