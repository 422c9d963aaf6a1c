"""TensorRT and TensorRT-RTX: an engine that runs a plan, with two batches in flight.

    pinned memory --copy_in--> device input --compute--> device output --copy_out--> pinned memory

Each arrow is a stream of its own; events join them, so that a batch is copied in while the one
before it is computed. A slot holds what one batch in flight needs. The host waits for a slot's
``copied_out`` before it uses the slot again: all earlier work of the slot has then ended, so no
other wait guards its memory.

The plan always computes its largest batch. Of a smaller one only its own rows are copied in and
out; the rest computes whatever the memory holds. Rows do not depend on each other, which parity
tests.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle
from math import prod
from typing import Any

import numpy as np

from ...contracts import Device, EngineSpec, ImageBatch
from ...errors import EngineError, EngineMemoryError, InputError, printable
from ..engine_io import LoadedEngine, Logits
from .builder import logger, no_collection
from .cuda import Array, Cuda, DeviceMemory, Event, Stream
from .open_cuda import open_cuda
from .pinned import PinnedPool
from .plan import Plan, plan_bytes
from .tensorrt_api import FLAVOURS, load_tensorrt, plan_versions

SLOTS = 2
"""Batches in flight: one is copied while the other is computed."""


class PlanRefusedError(EngineError):
    """The GPU cannot load a plan, which has to be built again."""


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
        piece: Rows in flight; ``None`` if the slot is free.
    """

    staging: Array
    input: DeviceMemory
    output: DeviceMemory
    logits: Array
    copied_in: Event
    computed: Event
    copied_out: Event
    piece: _Piece | None = None


class TensorRTEngine(LoadedEngine):
    """A plan on a GPU."""

    def __init__(self, plan: Plan, spec: EngineSpec, device: Device, crop_px: int) -> None:
        """Load the plan, and allocate all memory that it needs.

        Args:
            plan: Plan to run.
            spec: Identity of what it computes.
            device: GPU to run it on.
            crop_px: Side of the images.

        Raises:
            PlanRefusedError: If the GPU cannot load the plan.
            EngineMemoryError: If there is no memory for the plan's largest batch.
            EngineUnavailableError: If TensorRT or CUDA is not available.
        """
        flavour = FLAVOURS[plan.key.backend]
        trt = load_tensorrt(flavour)
        self._cuda = open_cuda(device)
        versions = plan_versions(flavour)
        super().__init__(spec, device, versions=versions, crop_px=crop_px, runtime=None)
        self._rows, self._stopped = plan.key.profile.largest, False
        self._slots: list[_Slot] = []
        self._streams: list[Stream] = []
        self._pool: PinnedPool = None  # type: ignore[assignment]  # until the plan is loaded
        try:
            with self._cuda.current():
                self._load(trt, plan)
        except BaseException:
            self.__exit__()
            raise

    def _load(self, trt: Any, plan: Plan) -> None:
        self._runtime = _Context(trt, plan, self._rows)
        cuda, classes = self._cuda, self._runtime.classes
        self._pool = PinnedPool(
            cuda, self._rows, self._runtime.row_shape, self._runtime.input_dtype
        )
        self._streams += [cuda.stream(), cuda.stream(), cuda.stream()]
        self._copy_in, self._compute, self._copy_out = self._streams
        for _ in range(SLOTS):
            self._slots.append(self._new_slot(cuda, classes))

    def _new_slot(self, cuda: Cuda, classes: int) -> _Slot:
        staging = self._pool.take(self._rows)
        slot = _Slot(
            staging=staging,
            input=cuda.memory(staging.nbytes),
            output=cuda.memory(self._rows * classes * 4),
            logits=cuda.pinned((self._rows, classes), np.float32),
            copied_in=cuda.event(),
            computed=cuda.event(),
            copied_out=cuda.event(),
        )
        staging[:] = 0
        slot.input.copy_from(staging, self._copy_in)  # floats that are not numbers compute slowly
        self._copy_in.synchronize()
        return slot

    def allocate(self, n: int) -> Array:
        """A buffer for n inputs, in pinned memory unless it is larger than the plan's batch."""
        return self._pool.take(n) if n <= self._rows else super().allocate(n)

    def stream(self, batches: Iterable[ImageBatch]) -> Iterator[tuple[ImageBatch, Logits]]:
        """Each batch with its logits (N, C), in order.

        Raises:
            EngineError: If TensorRT fails on a batch.
            InputError: If the input of a batch is not the plan's.
        """
        slots = cycle(self._slots)
        try:
            for piece in self._pieces(batches):
                slot = next(slots)
                finished = self._collect(slot)
                self._submit(slot, piece)
                yield from finished
            for _ in self._slots:
                yield from self._collect(next(slots))
        finally:
            self._abandon()

    def stop(self) -> None:
        """End streams before their next batch."""
        self._stopped = True

    def __exit__(self, *_: object) -> None:
        """Free everything on the device, and the pinned memory."""
        self._abandon()
        self._slots.clear()
        if self._pool is not None:
            self._pool.close()
        with self._cuda.current():
            self._runtime = None  # the context before the memory that it computes in
        self._cuda.close()

    def _pieces(self, batches: Iterable[ImageBatch]) -> Iterator[_Piece]:
        for batch in batches:
            if batch.kind != self.spec.input_kind:
                raise InputError(f"The engine takes {self.spec.input_kind}, got {batch.kind}.")
            rows = len(batch.items)
            logits = np.empty((rows, self._runtime.classes), np.float32)
            for start in range(0, rows, self._rows):
                yield _Piece(batch, start, min(start + self._rows, rows), logits)

    def _submit(self, slot: _Slot, piece: _Piece) -> None:
        """Give the device the work of a piece; it returns at once."""
        if self._stopped:
            raise EngineError("The engine was stopped.")
        rows = piece.batch.data[piece.start : piece.stop]
        if not self._pool.contains(rows):
            slot.staging[: len(rows)] = rows
            rows = slot.staging[: len(rows)]
        slot.piece = piece  # which keeps the rows until they are copied
        with self._cuda.current():
            slot.input.copy_from(rows, self._copy_in)
            self._copy_in.record(slot.copied_in)
            self._compute.wait(slot.copied_in)
            self._runtime.enqueue(slot.input.address, slot.output.address, self._compute)
            self._compute.record(slot.computed)
            self._copy_out.wait(slot.computed)
            slot.output.copy_to(slot.logits[: len(rows)], self._copy_out)
            self._copy_out.record(slot.copied_out)

    def _collect(self, slot: _Slot) -> Iterator[tuple[ImageBatch, Logits]]:
        """Wait for the piece of a slot; the batch, if it is complete with it."""
        piece, slot.piece = slot.piece, None
        if piece is None:
            return iter(())
        with self._cuda.current():
            slot.copied_out.synchronize()
        piece.logits[piece.start : piece.stop] = slot.logits[: piece.stop - piece.start]
        return iter([(piece.batch, piece.logits)] if piece.is_last else ())

    def _abandon(self) -> None:
        """Wait for all work in flight, whose memory may then be freed, and forget its results."""
        with self._cuda.current():
            for stream in self._streams:
                stream.synchronize()
        for slot in self._slots:
            slot.piece = None


class _Context:
    """A plan with its execution context, for batches of one size."""

    def __init__(self, trt: Any, plan: Plan, rows: int) -> None:
        self._errors: list[str] = []
        self._log = logger(trt, self._errors)
        self._runtime = trt.Runtime(self._log)
        with no_collection(), plan_bytes(plan.path) as data:
            self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise PlanRefusedError(
                f"The GPU cannot load {printable(plan.path)}: {self._last_error()}."
            )
        engine = self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._input, self._output = sorted(
            names, key=lambda name: engine.get_tensor_mode(name) != trt.TensorIOMode.INPUT
        )
        self._context = self._new_context(trt, engine)
        if self._context is None:
            raise EngineMemoryError(
                f"No memory on the GPU for batches of {rows}: {self._last_error()}."
            )
        self.row_shape = tuple(engine.get_tensor_shape(self._input))[1:]
        self.input_dtype: Any = trt.nptype(engine.get_tensor_dtype(self._input))
        self.classes = prod(tuple(engine.get_tensor_shape(self._output))[1:])
        if not self._context.set_input_shape(self._input, (rows, *self.row_shape)):
            raise EngineError(f"The plan does not take batches of {rows}: {self._last_error()}.")

    def enqueue(self, input_address: int, output_address: int, stream: Stream) -> None:
        """Compute the logits of a batch in a stream.

        Raises:
            EngineError: If TensorRT refuses.
        """
        self._context.set_tensor_address(self._input, input_address)
        self._context.set_tensor_address(self._output, output_address)
        if not self._context.execute_async_v3(stream.handle):
            raise EngineError(f"TensorRT failed on a batch: {self._last_error()}.")

    @staticmethod
    def _new_context(trt: Any, engine: Any) -> Any:
        """The context; TensorRT-RTX chooses its kernels before the first batch.

        By default it chooses while it runs: first a slow kernel answers, then a faster one takes
        over, so that results would depend on timing.
        """
        if not hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        config.dynamic_shapes_kernel_specialization_strategy = eager
        return engine.create_execution_context(config)

    def _last_error(self) -> str:
        return self._errors[-1] if self._errors else "it gives no reason"
