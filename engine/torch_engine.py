"""PyTorch, eager: the reference that every other engine is measured against.

Float32 with TF32 off. The network is as its weights were loaded: nothing is folded or fused.
"""

import importlib.metadata
from dataclasses import replace

from ..contracts import Device, EngineSpec, ImageBatch, InputKind, LoadedNetwork, ModelSpec
from ..errors import EngineMemoryError, lacks_memory, reason_of
from ..storage.documents import document_sha256
from ..system.exact_float32 import exact_float32
from ..system.malloc import keep_freed_memory
from .engine_io import LoadedEngine, Logits


class TorchEngine(LoadedEngine):
    """A PyTorch network; takes pixels, or images if opened so.

    It has a single caller: an eager network already uses all cores, or the whole GPU.
    """

    def __init__(
        self, loaded: LoadedNetwork, device: Device, *, input_kind: InputKind = "pixels"
    ) -> None:
        import torch

        if device.name == "cpu":
            keep_freed_memory()
        preprocessing = loaded.spec.preprocessing
        self._is_bgr = preprocessing.is_bgr
        self._torch_device = torch.device(device.torch_name)
        super().__init__(
            torch_spec(loaded.spec, loaded.weights_sha256, input_kind),
            device,
            versions=torch_versions(),
            crop_px=preprocessing.crop_px,
            runtime=loaded.network.to(self._torch_device),
        )
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(preprocessing.mean, device=self._torch_device).reshape(shape)
        self._std = torch.tensor(preprocessing.std, device=self._torch_device).reshape(shape)

    def _logits(self, batch: ImageBatch) -> Logits:
        try:
            return self._forward(batch)
        except Exception as error:
            if not lacks_memory(error):
                raise
            raise EngineMemoryError(
                f"PyTorch has no memory on {self.device} for a batch of {len(batch.items)}: "
                f"{reason_of(error)}."
            ) from error

    def _forward(self, batch: ImageBatch) -> Logits:
        import torch

        with torch.inference_mode(), exact_float32():
            images = torch.from_numpy(batch.data).to(self._torch_device)
            if batch.kind == "pixels":
                images = images.permute(0, 3, 1, 2).to(torch.float32) / 255
            images = (images - self._mean) / self._std
            logits = self._runtime(images.flip(1) if self._is_bgr else images)
            result: Logits = logits.float().cpu().numpy()
        return result


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
