"""ONNX Runtime on the CPU and on CUDA.

On the CPU a session has one thread and as many threads call it as there are cores, each with small
batches that it decoded itself. The engine alone is hardly faster for it (``perf/sessions.py``), but
decoding runs alongside inference without a queue, and no core waits for another. On CUDA one caller
feeds the session while other threads decode, and batches are copied while others are computed.
"""

import importlib.metadata
import os
from typing import Any

from ..contracts import Bundle, Device, ImageBatch
from ..errors import (
    EngineError,
    EngineUnavailableError,
    printable,
    reason_of,
)
from .bfloat16 import EXTERNAL_FOLDER, emulated
from .cuda.onnx_program import OnnxProgram
from .cuda.open_cuda import as_work_of, open_cuda
from .cuda.pipeline import PipelinedEngine, Program
from .cuda.protocols import Stream
from .engine_io import LoadedEngine, Logits, bundle_spec, reported_batch


def open_onnx(bundle: Bundle, device: Device, *, threads: int | None = None) -> LoadedEngine:
    """A bundle's graph in ONNX Runtime, on the CPU or on CUDA.

    Raises:
        EngineUnavailableError: If ONNX Runtime does not run on the device.
    """
    if device.name == "cpu":
        return OnnxEngine(bundle, device, threads=threads)
    return OnnxCudaEngine(bundle, device)


class OnnxEngine(LoadedEngine):
    """A bundle's graph in ONNX Runtime on the CPU."""

    def __init__(self, bundle: Bundle, device: Device, *, threads: int | None = None) -> None:
        """Load the graph.

        Args:
            bundle: Bundle of the model.
            device: The CPU, for people.
            threads: Number of threads of a session with a single caller. If not given, one
                thread, and as many callers as cores.
        """
        super().__init__(
            bundle_spec("onnxruntime", bundle),
            device,
            versions=onnx_versions(),
            crop_px=bundle.model.spec.preprocessing.crop_px,
            runtime=_session(bundle, device, threads or 1),
        )
        self.callers = (os.cpu_count() or 1) if threads is None else 1
        self._options = _run_options()

    def stop(self) -> None:
        """Interrupt the current batch before the graph's next operator."""
        self._options.terminate = True

    def _logits(self, batch: ImageBatch) -> Logits:
        name = self._runtime.get_inputs()[0].name
        with reported_batch("ONNX Runtime", batch):
            (logits,) = self._runtime.run(None, {name: batch.data}, self._options)
        result: Logits = logits
        return result


class OnnxCudaEngine(PipelinedEngine):
    """A bundle's graph in ONNX Runtime on a GPU."""

    def __init__(self, bundle: Bundle, device: Device) -> None:
        """Load the graph, for a session that computes in the pipeline's stream."""
        self._options = _run_options()
        cuda = open_cuda(device)

        def load(stream: Stream) -> Program:
            session = _session(bundle, device, 1, stream)
            return as_work_of(cuda, OnnxProgram(session, self._options, device.torch_name))

        super().__init__(
            cuda,
            load,
            bundle_spec("onnxruntime", bundle),
            device,
            versions=onnx_versions(),
            crop_px=bundle.model.spec.preprocessing.crop_px,
        )

    def stop(self) -> None:
        """Interrupt the current batch before the graph's next operator."""
        super().stop()
        self._options.terminate = True


def onnx_notice(bundle: Bundle, device: Device) -> str:
    """Notice that bfloat16 is emulated on the CPU; else empty."""
    if not _is_emulated(bundle, device):
        return ""
    return (
        "ONNX Runtime has no bfloat16 on the CPU: each operator computes in float32 and is then "
        "rounded to bfloat16. That is slow, and meant for parity."
    )


def _is_emulated(bundle: Bundle, device: Device) -> bool:
    return bundle.model.precision == "bf16" and device.name == "cpu"


def _session(bundle: Bundle, device: Device, threads: int, stream: Stream | None = None) -> Any:
    """A session; on CUDA it computes in a stream of ours."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # failures are raised, not logged
    provider = "CPUExecutionProvider"
    settings: dict[str, str] = {}
    if stream is not None and not device.is_simulated:
        import torch  # noqa: F401 - brings CUDA's libraries to where ONNX Runtime finds them

        provider = "CUDAExecutionProvider"
        settings = {
            "device_id": device.name.partition(":")[2],
            "use_tf32": "0",  # the default uses it, and its error is as large as float16's
            "user_compute_stream": str(stream.handle),
        }
    # A provider that does not load is only logged; the check below raises.
    onnxruntime.set_default_logger_severity(4)
    try:
        graph: str | bytes = str(bundle.graph)
        if _is_emulated(bundle, device):
            graph = emulated(bundle.graph)
            options.add_session_config_entry(EXTERNAL_FOLDER, str(bundle.folder))
        session = onnxruntime.InferenceSession(graph, options, providers=[(provider, settings)])
    except Exception as error:  # its exceptions share no public class
        raise EngineError(
            f"ONNX Runtime cannot load {printable(bundle.graph)} on {device.name}: "
            f"{reason_of(error)}."
        ) from error
    if session.get_providers()[0] != provider:
        raise EngineUnavailableError(
            f"ONNX Runtime would silently use the CPU instead of {device}: its CUDA provider did "
            "not load. It needs the package onnxruntime-gpu with CUDA 13 and cuDNN 9, which a CUDA "
            "build of torch brings. Use --device cpu, or --engine torch."
        )
    return session


def _run_options() -> Any:
    import onnxruntime

    return onnxruntime.RunOptions()


def onnx_versions() -> dict[str, str]:
    """Version of ONNX Runtime, by package: ``onnxruntime-gpu`` also runs without a GPU.

    Raises:
        EngineUnavailableError: If neither package is installed.
    """
    for name in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return {name: importlib.metadata.version(name)}
        except importlib.metadata.PackageNotFoundError:
            continue
    raise EngineUnavailableError("ONNX Runtime is not installed. Install it with evaluator itself.")
