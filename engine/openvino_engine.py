"""OpenVINO on the CPU, in float32 or bfloat16, as the graph has it.

OpenVINO computes in what it likes unless it is told, and in float32, silently, where the processor
cannot do what it is told. So it is always told, and the compiled model is asked what it runs.

As many requests compute at once as there are cores, each on one core, and each of the threads that
call has a request of its own: decoding runs beside inference as it does with ``onnx_engine.py``.
"""

import importlib.metadata
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from ..contracts import Bundle, Device, ImageBatch, Precision
from ..errors import (
    EngineError,
    EngineMemoryError,
    EngineUnavailableError,
    lacks_memory,
    printable,
    reason_of,
)
from .engine_io import answered, buffer, bundle_spec

_TYPES = {"fp32": "f32", "bf16": "bf16"}
"""As OpenVINO calls them."""

_HEAVY = frozenset(("Convolution", "FullyConnected", "MatMul"))
"""Layers that are nearly all of the arithmetic; what stands between them may be of another type."""

_TELEMETRY = "openvino_telemetry"

_IMPORT = threading.Lock()
"""Held while OpenVINO is imported: ``sys.modules`` is changed for all threads meanwhile."""


class OpenVinoEngine:
    """A bundle's graph in OpenVINO."""

    max_batch = 1024

    def __init__(self, bundle: Bundle, device: Device, *, threads: int | None = None) -> None:
        """Load the graph.

        Args:
            bundle: The model.
            device: The CPU.
            threads: For a single caller; with none, one for each of as many callers as cores.

        Raises:
            EngineUnavailableError: If it is not installed, or cannot compute in this precision.
            EngineError: If the graph cannot be loaded.
        """
        check_openvino(bundle.model.precision, device)
        self.spec = bundle_spec("openvino", bundle)
        self.device = device
        self.versions = openvino_versions()
        self.callers = (os.cpu_count() or 1) if threads is None else 1
        self._crop_px = bundle.model.spec.preprocessing.crop_px
        self._requests: WeakSet[Any] = WeakSet()  # each ends with its stream
        self._lock = threading.Lock()  # a set cannot be read while another thread adds to it
        self._model = _compiled(bundle, self.callers, threads or self.callers)

    def allocate(self, n: int) -> npt.NDArray[Any]:
        """A buffer for n inputs."""
        return buffer(n, self._crop_px, self.spec.input_kind)

    def stream(
        self, batches: Iterable[ImageBatch]
    ) -> Iterator[tuple[ImageBatch, npt.NDArray[np.float32]]]:
        """Each batch with its logits (N, C), in order."""
        request = self._model.create_infer_request()
        with self._lock:
            self._requests.add(request)
        return answered(batches, self.spec.input_kind, partial(self._logits, request))

    def stop(self) -> None:
        """End what is computed now, before the graph's next layer."""
        with self._lock:
            requests = list(self._requests)
        for request in requests:
            request.cancel()

    def _logits(self, request: Any, batch: ImageBatch) -> npt.NDArray[np.float32]:
        try:
            request.infer({0: batch.data}, share_inputs=True)
        except Exception as error:  # its exceptions share no public class
            kind = EngineMemoryError if lacks_memory(error) else EngineError
            raise kind(
                f"OpenVINO failed on a batch of {len(batch.items)} that begins with "
                f"{printable(batch.items[0].id)}: {reason_of(error)}."
            ) from error
        # The request's next batch overwrites its output.
        result: npt.NDArray[np.float32] = request.get_output_tensor(0).data.copy()
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self._model, self._requests


def check_openvino(precision: Precision, device: Device) -> None:
    """Find out, before a graph is made, whether OpenVINO can compute in this precision here.

    Raises:
        EngineUnavailableError: If it cannot, or is not installed.
    """
    openvino_versions()
    if device.name != "cpu":
        raise EngineUnavailableError(
            f"OpenVINO serves processors, and {device} was asked for. Use --device cpu."
        )
    if precision not in _TYPES:
        raise EngineUnavailableError(
            f"OpenVINO has no {precision} on processors: it would compute in bfloat16 or float32 "
            "instead. Use --precision fp32 or bf16."
        )
    capabilities = _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bf16" and "BF16" not in capabilities:
        raise EngineUnavailableError(_no_bfloat16(device))


def openvino_versions() -> dict[str, str]:
    """The package that computes.

    Raises:
        EngineUnavailableError: If it is not installed.
    """
    try:
        return {"openvino": importlib.metadata.version("openvino")}
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineUnavailableError(
            "OpenVINO is not installed. Install it with `pip install 'evaluator[openvino]'`."
        ) from error


def _compiled(bundle: Bundle, streams: int, threads: int) -> Any:
    precision = bundle.model.precision
    settings = {
        "INFERENCE_PRECISION_HINT": _TYPES[precision],
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # the callers decode on the same cores
    }
    try:
        model = _openvino().Core().compile_model(str(bundle.graph), "CPU", settings)
    except Exception as error:  # its exceptions share no public class
        raise EngineError(
            f"OpenVINO cannot load {printable(bundle.graph)}: {reason_of(error)}."
        ) from error
    if found := _types_of_heavy_layers(model) - {_TYPES[precision]}:
        raise EngineUnavailableError(
            f"OpenVINO was asked for {precision} and would silently compute in "
            f"{' and '.join(sorted(found))} on this processor. Use --precision fp32, or --engine "
            "onnxruntime."
        )
    return model


def _types_of_heavy_layers(model: Any) -> set[str]:
    """In which types the compiled model multiplies, as it tells itself."""
    told = [layer.get_rt_info() for layer in model.get_runtime_model().get_ordered_ops()]
    heavy = [info for info in told if info["layerType"].get() in _HEAVY]
    return {info["runtimePrecision"].get() for info in heavy}


def _no_bfloat16(device: Device) -> str:
    return (
        f"OpenVINO has no bfloat16 on {device}, which has neither AVX-512 BF16 nor AMX: it would "
        "silently compute in float32. Use --precision fp32."
    )


def _openvino() -> Any:
    """The module, without the part of it that reports to its makers.

    Importing OpenVINO imports its model converter, which writes an identifier of the user into the
    home folder and sends it, with the version, to an analytics service unless the user has opted
    out. The converter does without where the package that does so is missing: here, it seems to be.
    """
    with _IMPORT, _without_telemetry():
        try:
            import openvino
        except Exception as error:  # one that does not load is OSError, RuntimeError and others
            raise EngineUnavailableError(
                f"OpenVINO is installed, but does not load: {reason_of(error)}. Install it again "
                "with `pip install --force-reinstall openvino`."
            ) from error
        return openvino


@contextmanager
def _without_telemetry() -> Iterator[None]:
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before
