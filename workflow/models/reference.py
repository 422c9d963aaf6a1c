"""The reference of a model: what its logits should be.

PyTorch on the CPU in float32; for a model that exists only as ONNX, ONNX Runtime on its file.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ...contracts import (
    ONNX_REFERENCE,
    PASSED_AGAINST_ONNX,
    EngineSpec,
    ModelSpec,
    Progress,
    ReadyOnnx,
)
from ...engine.devices import cpu
from ...engine.original_onnx import original_spec
from ...engine.table import ENGINES, Placement
from ...engine.torch_engine import torch_spec
from ...errors import InputError
from ...exporter.ready_onnx import unchanged_original
from ...exporter.weights.weights import load_network
from .prepared_model import PreparedModel, PreparedOnnxFile, prepared_network


@dataclass(frozen=True)
class Reference(ABC):
    """Reference that every engine of a model is compared with.

    Attributes:
        model: The model.
        name: Name of the reference in messages.
        passed: Status of a parity that passed against this reference.
        has_network: Whether the model has a PyTorch network, which other precisions, gradients
            and the engine ``torch`` need.
    """

    model: ModelSpec
    name: ClassVar[str]
    passed: ClassVar[str]
    has_network: ClassVar[bool]

    @property
    def normalizes_itself(self) -> bool:
        """Whether the model's own graph normalises its input."""
        return False

    @abstractmethod
    def spec(self, weights_sha256: str) -> EngineSpec:
        """Specification of the reference with these weights; nothing is loaded."""

    @abstractmethod
    def prepare(self, weights_sha256: str, progress: Progress) -> PreparedModel:
        """Prepare the reference for a candidate with these weights.

        Raises:
            InputError: If the model's weights have changed since.
        """


@dataclass(frozen=True)
class TorchReference(Reference):
    """The PyTorch network."""

    name: ClassVar[str] = "PyTorch"
    passed: ClassVar[str] = "passed"
    has_network: ClassVar[bool] = True

    def spec(self, weights_sha256: str) -> EngineSpec:
        """Architecture, weights and preprocessing."""
        return torch_spec(self.model, weights_sha256)

    def prepare(self, weights_sha256: str, progress: Progress) -> PreparedModel:
        """Load the network."""
        network = load_network(self.model, progress)
        if network.weights_sha256 != weights_sha256:
            raise InputError(
                f"The weights of {self.model.name} ({self.model.weights}) changed since the bundle "
                "was exported. Remove the bundle and export again."
            )
        return prepared_network(network, Placement(ENGINES["torch"], cpu()))


@dataclass(frozen=True)
class OnnxReference(Reference):
    """The user's ONNX file, unchanged."""

    name: ClassVar[str] = ONNX_REFERENCE
    passed: ClassVar[str] = PASSED_AGAINST_ONNX
    has_network: ClassVar[bool] = False

    @property
    def normalizes_itself(self) -> bool:
        """Whether the file takes images or pixels."""
        assert isinstance(self.model.own, ReadyOnnx)
        return self.model.own.input != "normalized"

    def spec(self, weights_sha256: str) -> EngineSpec:
        """The file, its preprocessing and its classes."""
        return original_spec(self.model)

    def prepare(self, weights_sha256: str, progress: Progress) -> PreparedModel:
        """Find the file and verify it."""
        return PreparedOnnxFile(
            self.model.name,
            Placement(ENGINES["onnxruntime"], cpu()),
            self.spec(weights_sha256),
            self.model.weights.sha256,
            unchanged_original(self.model),
            self.model,
        )


def model_reference(model: ModelSpec) -> Reference:
    """The reference that suits the origin of a model."""
    return OnnxReference(model) if isinstance(model.own, ReadyOnnx) else TorchReference(model)
