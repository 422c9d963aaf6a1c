"""TensorRT and TensorRT-RTX: an engine that runs a plan.

The plan always computes its largest batch, so that one set of kernels computes all images.
"""

from math import prod
from typing import Any

from ...contracts import Device, EngineSpec
from ...errors import EngineError, EngineMemoryError, printable
from ..cuda.open_cuda import open_cuda
from ..cuda.pipeline import PipelinedEngine
from ..cuda.protocols import DeviceMemory, Stream
from .builder import logger, no_collection
from .plan import Plan, plan_bytes
from .tensorrt_api import FLAVOURS, load_tensorrt, plan_versions


class PlanRefusedError(EngineError):
    """The GPU cannot load a plan, which has to be built again."""


class TensorRTEngine(PipelinedEngine):
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
            EngineMemoryError: If the GPU is out of memory for the plan's largest batch.
            EngineUnavailableError: If TensorRT or CUDA is not available.
        """
        flavour = FLAVOURS[plan.key.backend]
        trt = load_tensorrt(flavour)
        super().__init__(
            open_cuda(device),
            lambda stream: _Context(trt, plan),
            spec,
            device,
            versions=plan_versions(flavour),
            crop_px=crop_px,
        )


class _Context:
    """A plan with its execution context, which computes the plan's largest batch; a ``Program``."""

    runtime = "TensorRT"

    def __init__(self, trt: Any, plan: Plan) -> None:
        self.fixed_rows: int | None = plan.key.profile.largest
        rows = plan.key.profile.largest
        self._errors: list[str] = []
        self._log = logger(trt, self._errors)
        self._loader = trt.Runtime(self._log)
        with no_collection(), plan_bytes(plan.path) as data:
            self._engine = self._loader.deserialize_cuda_engine(data)
        if self._engine is None:
            raise PlanRefusedError(
                f"The GPU cannot load {printable(plan.path)}: {self._last_error()}."
            )
        engine = self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._input, self._output = sorted(
            names, key=lambda name: engine.get_tensor_mode(name) != trt.TensorIOMode.INPUT
        )
        self._context = self._new_context(trt, engine, plan.key.kernels)
        if self._context is None:
            raise EngineMemoryError(
                f"No memory on the GPU for batches of {rows}: {self._last_error()}."
            )
        self.row_shape = tuple(engine.get_tensor_shape(self._input))[1:]
        self.input_dtype: Any = trt.nptype(engine.get_tensor_dtype(self._input))
        self.classes = prod(tuple(engine.get_tensor_shape(self._output))[1:])
        if not self._context.set_input_shape(self._input, (rows, *self.row_shape)):
            raise EngineError(f"The plan does not take batches of {rows}: {self._last_error()}.")

    def enqueue(
        self, rows: int, source: DeviceMemory, target: DeviceMemory, stream: Stream
    ) -> None:
        """Compute the logits of the plan's largest batch.

        Raises:
            EngineError: If TensorRT refuses.
        """
        self._context.set_tensor_address(self._input, source.address)
        self._context.set_tensor_address(self._output, target.address)
        if not self._context.execute_async_v3(stream.handle):
            raise EngineError(f"TensorRT failed on a batch: {self._last_error()}.")

    def close(self) -> None:
        """Destroy the context, then the plan."""
        self._context = self._engine = self._loader = None

    @staticmethod
    def _new_context(trt: Any, engine: Any, kernels: str) -> Any:
        """The context; TensorRT-RTX chooses its kernels before the first batch.

        By default it chooses while it runs: first a slow kernel answers, then a faster one takes
        over, so that results would depend on timing.
        """
        if not kernels:
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        strategy = getattr(trt.DynamicShapesKernelSpecializationStrategy, kernels)
        config.dynamic_shapes_kernel_specialization_strategy = strategy
        return engine.create_execution_context(config)

    def _last_error(self) -> str:
        return self._errors[-1] if self._errors else "it gives no reason"
