"""Engines on a GPU: two batches in flight, whatever computes them.

    pinned memory --copy_in--> device input --compute--> device output --copy_out--> pinned memory

Each arrow is a stream of its own; events join them, so that a batch is copied in while the one
before it is computed. A slot holds what one batch in flight needs. The host waits for a slot's
``copied_out`` before it uses the slot again: all earlier work of the slot has then ended, so no
other wait guards its memory.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...contracts import Device, EngineSpec, ImageBatch
from ...errors import EngineError, InputError
from ..engine_io import LoadedEngine, Logits, reported_batch
from .pinned import PinnedPool
from .protocols import Array, Cuda, DeviceMemory, Event, Stream

SLOTS = 2
"""Batches in flight: one is copied while the other is computed."""


class Program(Protocol):
    """A loaded model that computes batches in a stream of a GPU.

    Attributes:
        runtime: Name of what computes, for messages.
        row_shape: Shape of an input.
        input_dtype: Type of an input's values.
        classes: Number of logits of an input.
        fixed_rows: Number of rows that are always computed, whatever the size of a batch; `None` if
            as many as the batch has.
    """

    runtime: str
    row_shape: tuple[int, ...]
    input_dtype: Any
    classes: int
    fixed_rows: int | None

    def enqueue(
        self, rows: int, source: DeviceMemory, target: DeviceMemory, stream: Stream
    ) -> None:
        """Give the stream the work of a batch; it returns before the work is done.

        Args:
            rows: Number of rows of the batch.
            source: Input of at least so many rows.
            target: Memory for their logits, float32.
            stream: Stream that the work is done in.

        Raises:
            EngineMemoryError: If the GPU is out of memory.
        """

    def close(self) -> None:
        """Free what the program has on the device, also if an exception still refers to it."""


@dataclass
class _Piece:
    """Rows of a batch that are computed together.

    Attributes:
        batch: The batch.
        start: First row.
        stop: Row after the last one.
        logits: Logits of the whole batch (N, C), filled piece by piece.
    """

    batch: ImageBatch
    start: int
    stop: int
    logits: Logits

    @property
    def is_last(self) -> bool:
        """Whether the batch is complete with this piece."""
        return self.stop == len(self.batch.items)


@dataclass
class _Slot:
    """Memory and events of one batch in flight.

    Attributes:
        staging: Pinned input, for images that were decoded elsewhere.
        input: Input on the device.
        output: Logits on the device.
        logits: Pinned logits.
        copied_in: The input is on the device.
        computed: The logits are on the device.
        copied_out: The logits are on the host.
        piece: Rows in flight; `None` if the slot is free.
    """

    staging: Array
    input: DeviceMemory
    output: DeviceMemory
    logits: Array
    copied_in: Event
    computed: Event
    copied_out: Event
    piece: _Piece | None = None


class PipelinedEngine(LoadedEngine):
    """A program on a GPU.

    If the program always computes a fixed number of rows, its memory is allocated when the engine
    is opened, and larger batches are split. Of a smaller batch only its own rows are copied in and
    out; the rest computes whatever the memory holds. Rows do not depend on each other, which parity
    tests. Otherwise memory grows with the largest batch so far.
    """

    def __init__(
        self,
        cuda: Cuda,
        load: Callable[[Stream], Program],
        spec: EngineSpec,
        device: Device,
        *,
        versions: Mapping[str, str],
        crop_px: int,
    ) -> None:
        """Load the program, and allocate the memory of one with fixed rows.

        Args:
            cuda: GPU to run it on.
            load: Loads the program, whose work will be in the given stream.
            spec: Identity of what it computes.
            device: The GPU, for people.
            versions: Versions of the packages that compute.
            crop_px: Side of the images.

        Raises:
            EngineMemoryError: If the GPU is out of memory.
        """
        super().__init__(spec, device, versions=versions, crop_px=crop_px, runtime=None)
        self._cuda, self._stopped = cuda, False
        self._free: list[_Slot] = []
        self._streams: list[Stream] = []
        self._pools: list[PinnedPool] = []
        self._lock = threading.Lock()
        try:
            with cuda.current():
                self._streams += [cuda.stream(), cuda.stream(), cuda.stream()]
                self._copy_in, self._compute, self._copy_out = self._streams
                self._runtime = self._program = load(self._compute)
            self._fixed_rows = self._program.fixed_rows
            if self._fixed_rows is not None:
                self._free += [self._new_slot(self._fixed_rows) for _ in range(SLOTS)]
        except BaseException:
            self.__exit__()
            raise

    def allocate(self, n: int) -> Array:
        """A buffer for n inputs, in pinned memory unless it is larger than a fixed batch."""
        if self._fixed_rows is not None and n > self._fixed_rows:
            return super().allocate(n)
        return self._pinned(n)

    def stream(self, batches: Iterable[ImageBatch]) -> Iterator[tuple[ImageBatch, Logits]]:
        """Each batch with its logits (N, C), in order.

        Raises:
            EngineError: If the runtime fails on a batch.
            InputError: If the input of a batch is not the engine's.
        """
        in_flight: deque[_Slot] = deque()
        try:
            for piece in self._pieces(batches):
                finished = self._collect(in_flight.popleft()) if len(in_flight) == SLOTS else ()
                in_flight.append(self._free_slot(piece))
                self._submit(in_flight[-1], piece)
                yield from finished
            while in_flight:
                yield from self._collect(in_flight.popleft())
        finally:
            self._abandon(in_flight)

    def stop(self) -> None:
        """End streams before their next batch."""
        self._stopped = True

    def __exit__(self, *_: object) -> None:
        """Free everything on the device, and the pinned memory."""
        self._stopped = True
        self._abandon()
        self._free.clear()
        for pool in self._pools:
            pool.close()
        if self._runtime is not None:
            with self._cuda.current():
                self._runtime.close()  # before the memory that it computes in
        self._cuda.close()

    def _pinned(self, rows: int) -> Array:
        """An array of so many rows in pinned memory."""
        with self._lock:
            pool = next((pool for pool in self._pools if rows <= pool.rows), None)
            if pool is None:
                size, program = self._fixed_rows or rows, self._program
                pool = PinnedPool(self._cuda, size, program.row_shape, program.input_dtype)
                self._pools.append(pool)
            return pool.take(rows)

    def _free_slot(self, piece: _Piece) -> _Slot:
        """A free slot that the piece fits into; smaller ones are dropped."""
        rows = self._fixed_rows or piece.stop - piece.start
        with self._lock:
            while self._free:
                slot = self._free.pop()
                if len(slot.staging) >= rows:
                    return slot
        return self._new_slot(rows)

    def _new_slot(self, rows: int) -> _Slot:
        cuda, classes, staging = self._cuda, self._program.classes, self._pinned(rows)
        with cuda.current():
            slot = _Slot(
                staging=staging,
                input=cuda.memory(staging.nbytes),
                output=cuda.memory(rows * classes * 4),
                logits=cuda.pinned((rows, classes), np.float32),
                copied_in=cuda.event(),
                computed=cuda.event(),
                copied_out=cuda.event(),
            )
            staging[:] = 0
            slot.input.copy_from(staging, self._copy_in)  # NaN would make a tail compute slowly
            self._copy_in.synchronize()
        return slot

    def _pieces(self, batches: Iterable[ImageBatch]) -> Iterator[_Piece]:
        for batch in batches:
            if batch.kind != self.spec.input_kind:
                raise InputError(f"The engine takes {self.spec.input_kind}, got {batch.kind}.")
            rows = len(batch.items)
            logits = np.empty((rows, self._program.classes), np.float32)
            size = self._fixed_rows or rows
            for start in range(0, rows, size):
                yield _Piece(batch, start, min(start + size, rows), logits)

    def _submit(self, slot: _Slot, piece: _Piece) -> None:
        """Give the device the work of a piece; it returns at once."""
        if self._stopped:
            raise EngineError("The engine was stopped.")
        rows = piece.batch.data[piece.start : piece.stop]
        if not any(pool.contains(rows) for pool in self._pools):
            slot.staging[: len(rows)] = rows
            rows = slot.staging[: len(rows)]
        slot.piece = piece  # which keeps the rows until they are copied
        with self._lock, self._cuda.current(), reported_batch(self._program.runtime, piece.batch):
            slot.input.copy_from(rows, self._copy_in)
            self._copy_in.record(slot.copied_in)
            self._compute.wait(slot.copied_in)
            self._program.enqueue(len(rows), slot.input, slot.output, self._compute)
            self._compute.record(slot.computed)
            self._copy_out.wait(slot.computed)
            slot.output.copy_to(slot.logits[: len(rows)], self._copy_out)
            self._copy_out.record(slot.copied_out)

    def _collect(self, slot: _Slot) -> list[tuple[ImageBatch, Logits]]:
        """Wait for the piece of a slot; the batch, if it is complete with it."""
        piece = slot.piece
        assert piece is not None
        with self._cuda.current(), reported_batch(self._program.runtime, piece.batch):
            slot.copied_out.synchronize()
        piece.logits[piece.start : piece.stop] = slot.logits[: piece.stop - piece.start]
        self._release(slot)
        return [(piece.batch, piece.logits)] if piece.is_last else []

    def _abandon(self, in_flight: Iterable[_Slot] = ()) -> None:
        """Wait for all work in flight, whose memory may then be freed, and forget its results."""
        with self._cuda.current():
            for stream in self._streams:
                stream.synchronize()
        for slot in in_flight:
            self._release(slot)

    def _release(self, slot: _Slot) -> None:
        slot.piece = None
        if not self._stopped:
            self._free.append(slot)
