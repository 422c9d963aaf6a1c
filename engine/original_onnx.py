"""The reference of a model that exists only as ONNX: its original file in ONNX Runtime.

On the CPU in float32, with every optimisation of the graph off, as PyTorch's reference is unfolded.
Images are prepared here in numpy, not by what the exporter puts in front of the graph.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contracts import Device, EngineSpec, ImageBatch, InputKind, ModelSpec, ReadyOnnx
from ..errors import EngineError, printable, reason_of
from ..storage.documents import document_sha256
from .bfloat16 import EXTERNAL_FOLDER
from .engine_io import LoadedEngine, Logits
from .onnx_engine import onnx_versions


class OriginalOnnx(LoadedEngine):
    """A user's ONNX file, unchanged; takes pixels, or images if opened so."""

    def __init__(
        self, path: Path, model: ModelSpec, device: Device, *, input_kind: InputKind = "pixels"
    ) -> None:
        assert isinstance(model.own, ReadyOnnx)
        super().__init__(
            replace(original_spec(model), input_kind=input_kind),
            device,
            versions=onnx_versions(),
            crop_px=model.preprocessing.crop_px,
            runtime=_session(path, model.own.output),
        )
        self._model, self._own = model, model.own

    def _logits(self, batch: ImageBatch) -> Logits:
        graph_input = self._runtime.get_inputs()[0]
        prepared = self._prepared(batch.data, graph_input.type)
        try:
            (logits,) = self._runtime.run([self._own.output], {graph_input.name: prepared})
        except Exception as error:  # its exceptions share no public class
            raise EngineError(
                f"ONNX Runtime failed on the original file of {self._model.name}, on a batch of "
                f"{len(batch.items)}: {reason_of(error)}."
            ) from error
        logits = logits.reshape(len(logits), -1)  # some end in (N, C, 1, 1)
        order = self._model.class_order
        result: Logits = logits if order is None else logits[:, order.indices]
        return result

    def _prepared(self, data: npt.NDArray[Any], kind: str) -> npt.NDArray[Any]:
        """Input of the graph, from pixels (N, S, S, 3) or images (N, 3, S, S)."""
        if self.spec.input_kind == "images":
            data = data.transpose(0, 2, 3, 1) * np.float32(255)
        images: npt.NDArray[Any] = data.astype(np.uint8 if "uint8" in kind else np.float32)
        if self._own.input != "pixels":
            images = images / np.float32(255)
        if self._own.input == "normalized":
            preprocessing = self._model.preprocessing
            images = images - np.array(preprocessing.mean, np.float32)
            images = images / np.array(preprocessing.std, np.float32)
        if self._model.preprocessing.is_bgr:
            images = images[..., ::-1]
        if self._own.layout == "nchw":
            images = images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images)


def original_spec(model: ModelSpec) -> EngineSpec:
    """Specification of this reference; the file is not read."""
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
    options.log_severity_level = 4  # failures are raised, not logged
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
    """The graph with the tensor as an output, without external data; ``None`` if it is one."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    if output in (value.name for value in model.graph.output):
        return None
    model.graph.output.append(onnx.ValueInfoProto(name=output))
    content: bytes = model.SerializeToString()
    return content
