"""The reference of a model that exists only as ONNX: its original file in ONNX Runtime.

On the CPU in float32, with every optimisation of the graph off, as PyTorch's reference is unfolded.
Images are prepared here in numpy, not by what the exporter puts in front of the graph.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..contracts import Device, EngineSpec, ImageBatch, InputKind, ModelSpec, ReadyOnnx
from ..errors import EngineError, printable, reason_of
from ..storage.documents import document_sha256
from .bfloat16 import EXTERNAL_FOLDER
from .engine_io import answered, buffer
from .onnx_engine import onnx_versions


class OriginalOnnx:
    """A user's ONNX file as it is; takes pixels, or images where it is opened for them."""

    callers = 1
    max_batch = 1024

    def __init__(
        self, path: Path, model: ModelSpec, device: Device, *, input_kind: InputKind = "pixels"
    ) -> None:
        assert isinstance(model.own, ReadyOnnx)
        self.spec = replace(original_spec(model), input_kind=input_kind)
        self.device = device
        self.versions = onnx_versions()
        self._model, self._own = model, model.own
        self._session = _session(path, model.own.output)

    def allocate(self, n: int) -> npt.NDArray[Any]:
        """A buffer for n inputs."""
        return buffer(n, self._model.preprocessing.crop_px, self.spec.input_kind)

    def stream(
        self, batches: Iterable[ImageBatch]
    ) -> Iterator[tuple[ImageBatch, npt.NDArray[np.float32]]]:
        """Each batch with its logits (N, C), in order."""
        return answered(batches, self.spec.input_kind, self._logits)

    def stop(self) -> None:
        """It computes small batches for a comparison: nobody needs to stop it."""

    def _logits(self, batch: ImageBatch) -> npt.NDArray[np.float32]:
        taken = self._session.get_inputs()[0]
        prepared = self._prepared(batch.data, taken.type)
        try:
            (logits,) = self._session.run([self._own.output], {taken.name: prepared})
        except Exception as error:  # its exceptions share no public class
            raise EngineError(
                f"ONNX Runtime failed on the original file of {self._model.name}, on a batch of "
                f"{len(batch.items)}: {reason_of(error)}."
            ) from error
        order = self._model.class_order
        result: npt.NDArray[np.float32] = logits if order is None else logits[:, order.indices]
        return result

    def _prepared(self, data: npt.NDArray[Any], kind: str) -> npt.NDArray[Any]:
        """What the graph takes, from pixels (N, S, S, 3) or images (N, 3, S, S)."""
        if self.spec.input_kind == "images":
            data = data.transpose(0, 2, 3, 1) * np.float32(255)
        images: npt.NDArray[Any] = data.astype(np.uint8 if "uint8" in kind else np.float32)
        if self._own.input != "pixels":
            images = images / np.float32(255)
        if self._own.input == "normalized":
            preprocessing = self._model.preprocessing
            images = images - np.array(preprocessing.mean, np.float32)
            images = images / np.array(preprocessing.std, np.float32)
        if self._own.layout == "nchw":
            images = images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self._session


def original_spec(model: ModelSpec) -> EngineSpec:
    """What this reference computes; no file is needed to say it."""
    assert isinstance(model.own, ReadyOnnx)
    parts = {
        "file": model.weights.sha256,
        "preprocessing": document_sha256(model.preprocessing),
        "own": document_sha256(replace(model.own, description="")),
        "classes": document_sha256(model.class_order and model.class_order.outputs),
    }
    return EngineSpec("onnxruntime", document_sha256(parts))


def _session(path: Path, output: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # what fails here is raised, and told once
    source: str | bytes = str(path)
    if (content := _with_output(path, output)) is not None:
        options.add_session_config_entry(EXTERNAL_FOLDER, str(path.parent))
        source = content
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no public class
        raise EngineError(
            f"ONNX Runtime cannot load {printable(path)}: {reason_of(error)}."
        ) from error


def _with_output(path: Path, output: str) -> bytes | None:
    """The graph with one more output, where the tensor is none; its external data stay away."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    if output in (value.name for value in model.graph.output):
        return None
    model.graph.output.append(onnx.ValueInfoProto(name=output))
    content: bytes = model.SerializeToString()
    return content
