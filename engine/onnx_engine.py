"""ONNX Runtime on the CPU and on CUDA.

On the CPU a session has one thread and as many threads call it as there are cores, each with small
batches that it decoded itself. The engine alone is hardly faster for it (``perf/sessions.py``), but
decoding runs beside inference without a queue, and no core waits for another. On CUDA one caller
feeds the session while other threads decode.
"""

import importlib.metadata
import os
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..contracts import Bundle, Device, ImageBatch
from ..errors import (
    EngineError,
    EngineMemoryError,
    EngineUnavailableError,
    lacks_memory,
    printable,
    reason_of,
)
from .bfloat16 import EXTERNAL_FOLDER, emulated
from .engine_io import answered, buffer, bundle_spec


class OnnxEngine:
    """A bundle's graph in ONNX Runtime."""

    max_batch = 1024

    def __init__(self, bundle: Bundle, device: Device, *, threads: int | None = None) -> None:
        """Load the graph.

        Args:
            bundle: The model.
            device: Where to run it.
            threads: Of the session, on the CPU; with none, one, for as many callers as cores.
        """
        self.spec = bundle_spec("onnxruntime", bundle)
        self.device = device
        self.callers = (os.cpu_count() or 1) if threads is None and device.name == "cpu" else 1
        self._crop_px = bundle.model.spec.preprocessing.crop_px
        self._session = _session(bundle, device, threads or 1)
        self._options = _run_options()
        self.versions = onnx_versions()

    def allocate(self, n: int) -> npt.NDArray[Any]:
        """A buffer for n inputs."""
        return buffer(n, self._crop_px, self.spec.input_kind)

    def stream(
        self, batches: Iterable[ImageBatch]
    ) -> Iterator[tuple[ImageBatch, npt.NDArray[np.float32]]]:
        """Each batch with its logits (N, C), in order."""
        return answered(batches, self.spec.input_kind, self._logits)

    def stop(self) -> None:
        """End what is computed now, before the graph's next operator."""
        self._options.terminate = True

    def _logits(self, batch: ImageBatch) -> npt.NDArray[np.float32]:
        name = self._session.get_inputs()[0].name
        try:
            (logits,) = self._session.run(None, {name: batch.data}, self._options)
        except Exception as error:  # its exceptions share no public class
            kind = EngineMemoryError if lacks_memory(error) else EngineError
            raise kind(
                f"ONNX Runtime failed on a batch of {len(batch.items)} that begins with "
                f"{printable(batch.items[0].id)}: {reason_of(error)}."
            ) from error
        result: npt.NDArray[np.float32] = logits
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self._session


def onnx_notice(bundle: Bundle, device: Device) -> str:
    """What a user must know of how ONNX Runtime computes this bundle, if anything."""
    if not _is_emulated(bundle, device):
        return ""
    return (
        "ONNX Runtime has no bfloat16 on the CPU: each operator computes in float32 and is then "
        "rounded to bfloat16. That is slow, and meant for parity."
    )


def _is_emulated(bundle: Bundle, device: Device) -> bool:
    return bundle.model.precision == "bf16" and device.name == "cpu"


def _session(bundle: Bundle, device: Device, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails here is raised, and told once
    provider = "CPUExecutionProvider"
    settings: dict[str, str] = {}
    if device.name != "cpu":
        import torch  # noqa: F401 - brings CUDA's libraries to where ONNX Runtime finds them

        provider = "CUDAExecutionProvider"
        # TF32 is its default, and its error is as large as float16's.
        settings = {"device_id": device.name.partition(":")[2], "use_tf32": "0"}
    # A provider that does not load is only logged; it is found out below and raised.
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
            f"ONNX Runtime was asked for {device} and would silently use the CPU: its CUDA "
            "provider did not load. It needs the package onnxruntime-gpu with CUDA 13 and "
            "cuDNN 9, which a CUDA build of torch brings. Use --device cpu, or --engine torch."
        )
    return session


def _run_options() -> Any:
    import onnxruntime

    return onnxruntime.RunOptions()


def onnx_versions() -> dict[str, str]:
    """The package that computes: ``onnxruntime-gpu`` also where there is no GPU.

    Raises:
        EngineUnavailableError: If there is none.
    """
    for name in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return {name: importlib.metadata.version(name)}
        except importlib.metadata.PackageNotFoundError:
            continue
    raise EngineUnavailableError("ONNX Runtime is not installed. Install it with evaluator itself.")
