"""A simulated GPU for the command line and for tests, with a double of TensorRT's runtime.

A plan computes what its ONNX graph computes in ONNX Runtime; the streams that it does so in are
those of ``simulated_cuda.py``. Plans are built by the real TensorRT-RTX. Nothing here says how fast
anything is.

    EVALUATOR_CUDA=evaluator.tests.simulated_gpu evaluator score MODEL imagenet --data DIR
        --engine tensorrt-rtx --device cuda:0
"""

import hashlib
import json
import os
import signal
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from evaluator.contracts import Device
from evaluator.engine.plans.tensorrt_api import Flavour
from evaluator.errors import EngineUnavailableError
from evaluator.exporter.bundle import GRAPH, MANIFEST
from evaluator.storage.cache import cache_folder
from evaluator.tests.simulated_cuda import GPUS, SimulatedCuda, as_bytes

GRAPHS: dict[str, tuple[Path, int]] = {}
"""Graph and largest batch of plans that are in no cache, by the SHA-256 of the plan."""

REFUSED: set[str] = set()
"""SHA-256 of plans that the GPU cannot load."""


class _Wrapped:
    """An object of TensorRT, with some methods replaced; a subclass of its own would leak."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


class RememberingParser(_Wrapped):
    """``trt.OnnxParser`` that remembers the graph of the plan that is built next."""

    parsed = Path()

    def parse_from_file(self, path: str) -> bool:
        RememberingParser.parsed = Path(path)
        return bool(self._own.parse_from_file(path))


class RememberingBuilder(_Wrapped):
    """``trt.Builder`` that remembers which graph a plan was built from."""

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        data = self._own.build_serialized_network(network, config)
        if data is not None:
            GRAPHS[hashlib.sha256(data).hexdigest()] = RememberingParser.parsed, 1024
        return data


class SimulatedTensorRT:
    """A module of TensorRT whose runtime is simulated; builders are those of TensorRT-RTX."""

    def __init__(self, module: Any, flavour: Flavour) -> None:
        self._module, self.Runtime = module, SimulatedRuntime
        if flavour.backend == "tensorrt-rtx":
            self.DynamicShapesKernelSpecializationStrategy = (
                module.DynamicShapesKernelSpecializationStrategy
            )
        else:
            self.__dict__["_absent"] = {"DynamicShapesKernelSpecializationStrategy"}

    def OnnxParser(self, network: Any, log: Any) -> RememberingParser:  # noqa: N802 - their name
        return RememberingParser(self._module.OnnxParser(network, log))

    def Builder(self, log: Any) -> RememberingBuilder:  # noqa: N802 - their name
        return RememberingBuilder(self._module.Builder(log))

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("_absent", ()):
            raise AttributeError(name)
        return getattr(self._module, name)


class SimulatedRuntime:
    """``trt.Runtime``."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def deserialize_cuda_engine(self, data: memoryview) -> "SimulatedEngine | None":
        sha256 = hashlib.sha256(data).hexdigest()
        found = None if sha256 in REFUSED else GRAPHS.get(sha256) or _cached_graph(sha256)
        if found is None:
            import tensorrt_rtx

            self._log.log(tensorrt_rtx.ILogger.ERROR, "the simulated GPU refuses this plan")
            return None
        return SimulatedEngine(*found)


class SimulatedEngine:
    """``trt.ICudaEngine``, with the names and shapes of the graph."""

    def __init__(self, graph: Path, largest: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(graph), options)
        self.largest = largest
        self._values = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self._values)

    def get_tensor_name(self, index: int) -> str:
        return str(self._values[index].name)

    def get_tensor_mode(self, name: str) -> Any:
        import tensorrt_rtx

        is_input = name == self._values[0].name
        return tensorrt_rtx.TensorIOMode.INPUT if is_input else tensorrt_rtx.TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        value = next(value for value in self._values if value.name == name)
        return (-1, *value.shape[1:])

    def get_tensor_dtype(self, name: str) -> Any:
        import tensorrt_rtx

        value = next(value for value in self._values if value.name == name)
        is_pixels = value.type == "tensor(uint8)"
        return tensorrt_rtx.DataType.UINT8 if is_pixels else tensorrt_rtx.DataType.FLOAT

    def create_runtime_config(self) -> SimpleNamespace:
        return SimpleNamespace(dynamic_shapes_kernel_specialization_strategy="LAZY")

    def create_execution_context(self, config: Any = None) -> "SimulatedContext":
        return SimulatedContext(self, config)


class SimulatedContext:
    """``trt.IExecutionContext``."""

    def __init__(self, engine: SimulatedEngine, config: Any) -> None:
        self.engine, self.config = engine, config
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = shape
        return 1 <= shape[0] <= self.engine.largest

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Compute in the stream; the graph's own tensors are ordered as a context's memory is."""
        gpu = next(gpu for gpu in GPUS.values() if 0 < stream_handle <= len(gpu.streams))
        names = [self.engine.get_tensor_name(index) for index in range(2)]
        if self._addresses.keys() != set(names):
            return False
        _die_if_told(gpu.index)
        gpu.contexts.append(weakref.ref(self))
        source, target = (gpu.memory_at(self._addresses[name]) for name in names)
        dtype = np.uint8 if "uint8" in self.engine.session.get_inputs()[0].type else np.float32
        size = int(np.prod(self._shape)) * np.dtype(dtype).itemsize
        classes = self.engine.get_tensor_shape(names[1])[1]
        ranges = [
            (source.address, size, False),
            (target.address, 4 * self._shape[0] * classes, True),
            (id(self), 1, True),  # one context computes one batch at a time
        ]

        def compute() -> None:
            images = source.alive()[:size].view(dtype).reshape(self._shape)
            (logits,) = self.engine.session.run(None, {names[0]: images.copy()})
            target.alive()[: logits.nbytes] = as_bytes(logits)

        gpu.streams[stream_handle - 1].submit(compute, ranges)
        return True


class DeferredProgram:
    """A program of the host whose work is deferred as that of a simulated GPU's stream is.

    With ``fixed_rows`` it always computes so many rows, as a plan does.
    """

    def __init__(self, program: Any, gpu: SimulatedCuda, fixed_rows: int | None = None) -> None:
        self._program, self._gpu, self.fixed_rows = program, gpu, fixed_rows
        self.runtime, self.row_shape = program.runtime, program.row_shape
        self.input_dtype, self.classes = program.input_dtype, program.classes
        self._context: Any = _Wrapped(None)
        gpu.contexts.append(weakref.ref(self._context))

    def enqueue(self, rows: int, source: Any, target: Any, stream: Any) -> None:
        computed = self.fixed_rows or rows
        row_bytes = int(np.prod(self.row_shape)) * self.input_dtype.itemsize
        ranges = [
            (source.address, computed * row_bytes, False),
            (target.address, computed * self.classes * 4, True),
            (id(self), 1, True),
        ]

        def compute() -> None:
            there = [SimpleNamespace(address=m.alive().ctypes.data) for m in (source, target)]
            self._program.enqueue(computed, *there, stream)

        stream.submit(compute, ranges)

    def close(self) -> None:
        self._context = None


def _die_if_told(gpu: int) -> None:
    """Kill the process of the GPU named in ``SIMULATED_GPU_DIES``; that of another waits for it."""
    dying, _, path = os.environ.get("SIMULATED_GPU_DIES", "").partition("=")
    if dying == f"cuda:{gpu}":
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    ends = time.monotonic() + 60
    while dying and not Path(path).exists() and time.monotonic() < ends:
        time.sleep(0.01)


def _cached_graph(plan_sha256: str) -> tuple[Path, int] | None:
    """The graph that a plan in the cache was built from, and its largest batch."""
    for manifest in cache_folder("plans").glob("*.plan.json"):
        plan = json.loads(manifest.read_text())
        if plan["plan_sha256"] != plan_sha256:
            continue
        for bundle in cache_folder("bundles").glob(f"*/{MANIFEST}"):
            if json.loads(bundle.read_text())["sha256"] == plan["key"]["model_sha256"]:
                return bundle.with_name(GRAPH), plan["key"]["profile"]["largest"]
    return None


# ------------------------------------------------------------ what EVALUATOR_CUDA asks a module for


VERSIONS = {"simulated-gpu": "1"}


def devices() -> tuple[Device, ...]:
    """The GPUs."""
    count = int(os.environ.get("SIMULATED_GPUS", "1"))
    return tuple(Device(f"cuda:{i}", "simulated GPU", "driver simulated") for i in range(count))


def compute_capability(device: Device) -> str:
    """As of a real GPU."""
    return "sm89"


def deferred(program: Any, cuda: SimulatedCuda) -> DeferredProgram:
    return DeferredProgram(program, cuda)


def open_cuda(index: int) -> SimulatedCuda:
    """The GPU of this index."""
    return SimulatedCuda(index)


def load_tensorrt(flavour: Flavour) -> SimulatedTensorRT:
    """TensorRT-RTX's builder with a simulated runtime."""
    try:
        import tensorrt_rtx
    except ImportError as error:
        raise EngineUnavailableError(
            "The simulated GPU needs TensorRT-RTX. Install it with `pip install tensorrt-rtx`."
        ) from error
    return SimulatedTensorRT(tensorrt_rtx, flavour)
