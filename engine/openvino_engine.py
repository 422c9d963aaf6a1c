"""OpenVINO on the CPU, in float32 or bfloat16, as the graph has it.

OpenVINO chooses the precision unless it is set, and silently computes in float32 if the processor
lacks the one that is set. So it is always set, and the compiled model is asked what it runs.

As many requests compute at once as there are cores, each on one core, and each of the threads that
call has a request of its own: decoding runs alongside inference as it does with ``onnx_engine.py``.
"""

import importlib.metadata
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakSet

from ..contracts import Bundle, Device, ImageBatch, Precision
from ..errors import EngineError, EngineUnavailableError, printable, reason_of
from .engine_io import LoadedEngine, Logits, bundle_spec, infer, reported_batch

_TYPES = {"fp32": "f32", "bf16": "bf16"}
"""Names of the precisions in OpenVINO."""

_HEAVY = frozenset(("Convolution", "FullyConnected", "MatMul"))
"""Layers with nearly all of the arithmetic; those between them may compute in another type."""

_TELEMETRY = "openvino_telemetry"

_IMPORT = threading.Lock()
"""Held while OpenVINO is imported, which changes ``sys.modules`` for all threads."""


class OpenVinoEngine(LoadedEngine):
    """A bundle's graph in OpenVINO."""

    def __init__(self, bundle: Bundle, device: Device, *, threads: int | None = None) -> None:
        """Load the graph.

        Args:
            bundle: Bundle of the model.
            device: The CPU.
            threads: Number of threads for a single caller. If not given, one thread for each of as
                many callers as cores.

        Raises:
            EngineUnavailableError: If OpenVINO is not installed, or lacks this precision.
            EngineError: If the graph cannot be loaded.
        """
        check_openvino(bundle.model.precision, device)
        self.callers = (os.cpu_count() or 1) if threads is None else 1
        super().__init__(
            bundle_spec("openvino", bundle),
            device,
            versions=openvino_versions(),
            crop_px=bundle.model.spec.preprocessing.crop_px,
            runtime=_compiled(bundle, self.callers, threads or self.callers),
        )
        self._requests: WeakSet[Any] = WeakSet()  # each ends with its stream
        self._lock = threading.Lock()  # a set cannot be read while another thread adds to it

    def stream(self, batches: Iterable[ImageBatch]) -> Iterator[tuple[ImageBatch, Logits]]:
        """Each batch with its logits (N, C), in order, by a request of this stream."""
        request = self._runtime.create_infer_request()
        with self._lock:
            self._requests.add(request)
        return infer(batches, self.spec.input_kind, partial(_logits, request))

    def stop(self) -> None:
        """Interrupt the current batches before the graph's next layer."""
        with self._lock:
            requests = list(self._requests)
        for request in requests:
            request.cancel()


def _logits(request: Any, batch: ImageBatch) -> Logits:
    with reported_batch("OpenVINO", batch):
        request.infer({0: batch.data}, share_inputs=True)
    # The request's next batch overwrites its output.
    result: Logits = request.get_output_tensor(0).data.copy()
    return result


def check_openvino(precision: Precision, device: Device) -> None:
    """Check before an export that OpenVINO supports the device and the precision.

    Raises:
        EngineUnavailableError: If it does not, or is not installed.
    """
    openvino_versions()
    if device.name != "cpu":
        raise EngineUnavailableError(
            f"OpenVINO runs on the CPU only, got the device {device}. Use --device cpu."
        )
    if precision not in _TYPES:
        raise EngineUnavailableError(
            f"OpenVINO has no {precision} on the CPU: it would compute in bfloat16 or float32 "
            "instead. Use --precision fp32 or bf16."
        )
    capabilities = _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bf16" and "BF16" not in capabilities:
        raise EngineUnavailableError(_no_bfloat16(device))


def openvino_versions() -> dict[str, str]:
    """Version of OpenVINO, by package.

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
    if other_types := _heavy_layer_types(model) - {_TYPES[precision]}:
        raise EngineUnavailableError(
            f"OpenVINO would silently compute in {' and '.join(sorted(other_types))} instead of "
            f"{precision} on this processor. Use --precision fp32, or "
            "--engine onnxruntime."
        )
    return model


def _heavy_layer_types(model: Any) -> set[str]:
    """Types that the compiled model multiplies in, as OpenVINO reports them."""
    layers = [layer.get_rt_info() for layer in model.get_runtime_model().get_ordered_ops()]
    heavy = [info for info in layers if info["layerType"].get() in _HEAVY]
    return {info["runtimePrecision"].get() for info in heavy}


def _no_bfloat16(device: Device) -> str:
    return (
        f"OpenVINO has no bfloat16 on {device}, which has neither AVX-512 BF16 nor AMX: it would "
        "silently compute in float32. Use --precision fp32."
    )


def _openvino() -> Any:
    """The module, without its telemetry.

    Importing OpenVINO imports its model converter, which writes an identifier of the user into the
    home folder and sends it, with the version, to an analytics service unless the user has opted
    out. The converter works without the package that does so, which is hidden here.
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
