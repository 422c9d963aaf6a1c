"""PyTorch, eager: on the CPU the reference that every other engine is measured against.

Float32 with TF32 off. The network is as its weights were loaded: nothing is folded or fused. On
CUDA batches are copied while others are computed.
"""

import importlib.metadata
from dataclasses import replace
from typing import TYPE_CHECKING

from ..contracts import Device, EngineSpec, ImageBatch, InputKind, LoadedNetwork, ModelSpec
from ..storage.documents import document_sha256
from ..system.exact_float32 import exact_float32
from ..system.malloc import keep_freed_memory
from ..system.users_code import reporting
from .cuda.open_cuda import as_work_of, open_cuda
from .cuda.pipeline import PipelinedEngine, Program
from .cuda.protocols import Stream
from .cuda.torch_program import TorchProgram
from .cuda.with_torch import TorchCuda
from .engine_io import LoadedEngine, Logits, buffer, reported_batch

if TYPE_CHECKING:
    import torch


def open_torch(
    loaded: LoadedNetwork, device: Device, *, input_kind: InputKind = "pixels"
) -> LoadedEngine:
    """A PyTorch network on a device; takes pixels, or images if opened so."""
    kind = TorchEngine if device.name == "cpu" else TorchCudaEngine
    return kind(loaded, device, input_kind=input_kind)


class TorchEngine(LoadedEngine):
    """A PyTorch network on the CPU.

    It has a single caller: an eager network already uses all cores.
    """

    def __init__(
        self, loaded: LoadedNetwork, device: Device, *, input_kind: InputKind = "pixels"
    ) -> None:
        keep_freed_memory()
        super().__init__(
            torch_spec(loaded.spec, loaded.weights_sha256, input_kind),
            device,
            versions=torch_versions(),
            crop_px=loaded.spec.preprocessing.crop_px,
            runtime=_Normalized(loaded, "cpu"),
        )

    def _logits(self, batch: ImageBatch) -> Logits:
        import torch

        with reported_batch("PyTorch", batch), torch.inference_mode(), exact_float32():
            result: Logits = self._runtime(torch.from_numpy(batch.data)).numpy()
        return result


class TorchCudaEngine(PipelinedEngine):
    """A PyTorch network on a GPU, in streams of PyTorch's own."""

    def __init__(
        self, loaded: LoadedNetwork, device: Device, *, input_kind: InputKind = "pixels"
    ) -> None:
        crop_px = loaded.spec.preprocessing.crop_px
        one = buffer(1, crop_px, input_kind)
        # A real GPU is PyTorch's already, so no other package is asked to drive it.
        index = int(device.name.partition(":")[2] or 0)
        cuda = open_cuda(device) if device.is_simulated else TorchCuda(index)

        def load(stream: Stream) -> Program:
            network = _Normalized(loaded, device.torch_name)
            program = TorchProgram(network, device.torch_name, one.shape[1:], one.dtype)
            return as_work_of(cuda, program)

        super().__init__(
            cuda,
            load,
            torch_spec(loaded.spec, loaded.weights_sha256, input_kind),
            device,
            versions=torch_versions(),
            crop_px=crop_px,
        )


class _Normalized:
    """A network on a device, behind its normalisation; takes pixels or images."""

    def __init__(self, loaded: LoadedNetwork, device: str) -> None:
        import torch

        preprocessing = loaded.spec.preprocessing
        self._network = reporting(loaded.network.to(device), loaded.spec.name)
        self._is_bgr = preprocessing.is_bgr
        self._mean = torch.tensor(preprocessing.mean, device=device).reshape(1, 3, 1, 1)
        self._std = torch.tensor(preprocessing.std, device=device).reshape(1, 3, 1, 1)

    def __call__(self, batch: "torch.Tensor") -> "torch.Tensor":
        """Logits (N, C) of pixels (N, S, S, 3) or images (N, 3, S, S)."""
        import torch

        if batch.dtype == torch.uint8:
            batch = batch.permute(0, 3, 1, 2).to(torch.float32) / 255
        images = (batch - self._mean) / self._std
        logits: torch.Tensor = self._network(images.flip(1) if self._is_bgr else images)
        return logits.float()


def torch_spec(
    model: ModelSpec, weights_sha256: str, input_kind: InputKind = "pixels"
) -> EngineSpec:
    """Specification of a PyTorch engine of this model; the network is not loaded."""
    parts = {
        "architecture": model.architecture,
        "weights": weights_sha256,
        "preprocessing": document_sha256(model.preprocessing),
    }
    if model.class_order is not None:
        parts["classes"] = document_sha256(model.class_order.outputs)
    if model.own is not None:
        parts["own"] = document_sha256(replace(model.own, description=""))
    return EngineSpec("torch", document_sha256(parts), input_kind=input_kind)


def torch_versions() -> dict[str, str]:
    """Version of PyTorch, by package."""
    return {"torch": importlib.metadata.version("torch")}
