"""A model that is ready for one engine: an exported bundle, a PyTorch network, or an ONNX file."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from ...contracts import Bundle, Engine, EngineSpec, InputKind, LoadedNetwork, ModelSpec
from ...engine.original_onnx import OriginalOnnx
from ...engine.table import Placement
from ...engine.torch_engine import TorchEngine, torch_spec


@dataclass(frozen=True)
class PreparedModel(ABC):
    """A model whose identity is known and whose engine is not yet opened.

    Attributes:
        name: Name of the model.
        placement: Engine and device.
        spec: Identity of what the engine computes.
        weights_sha256: SHA-256 of the model's tensors; see ``LoadedNetwork``.
    """

    name: str
    placement: Placement
    spec: EngineSpec
    weights_sha256: str

    @property
    def is_reference(self) -> bool:
        """Whether this is the reference itself, which needs no parity."""
        return False

    @property
    def notice(self) -> str:
        """Notice to the user on how the engine computes; may be empty."""
        return ""

    @abstractmethod
    def open(self, *, threads: int | None = None, input_kind: InputKind = "pixels") -> Engine:
        """Open the engine.

        Args:
            threads: Number of threads of a CPU session with a single caller.
            input_kind: Input of the engine; a bundle has an input of its own.
        """


@dataclass(frozen=True)
class PreparedBundle(PreparedModel):
    """A bundle, whose graph the engine runs."""

    bundle: Bundle

    @property
    def notice(self) -> str:
        """Notice of the engine on this bundle."""
        return self.placement.kind.notice(self.bundle, self.placement.device)

    def open(self, *, threads: int | None = None, input_kind: InputKind = "pixels") -> Engine:
        """Load the graph."""
        open_bundle = self.placement.kind.open_bundle
        assert open_bundle is not None
        return open_bundle(self.bundle, self.placement.device, threads=threads)


@dataclass(frozen=True)
class PreparedNetwork(PreparedModel):
    """A PyTorch network with its weights."""

    network: LoadedNetwork

    @property
    def is_reference(self) -> bool:
        """Whether this is PyTorch in float32 on the CPU."""
        return self.placement.device.name == "cpu"

    def open(self, *, threads: int | None = None, input_kind: InputKind = "pixels") -> Engine:
        """Move the network to its device; PyTorch chooses the threads."""
        return TorchEngine(self.network, self.placement.device, input_kind=input_kind)


@dataclass(frozen=True)
class PreparedOnnxFile(PreparedModel):
    """A user's ONNX file as it is: the reference of a model that exists only as ONNX."""

    path: Path
    model: ModelSpec

    @property
    def is_reference(self) -> bool:
        """Always: candidates run the bundle that is exported from the file."""
        return True

    def open(self, *, threads: int | None = None, input_kind: InputKind = "pixels") -> Engine:
        """Load the file; ONNX Runtime chooses the threads."""
        device = self.placement.device
        return OriginalOnnx(self.path, self.model, device, input_kind=input_kind)


def prepared_network(network: LoadedNetwork, placement: Placement) -> PreparedNetwork:
    """A network with its identity."""
    model, sha256 = network.spec, network.weights_sha256
    return PreparedNetwork(model.name, placement, torch_spec(model, sha256), sha256, network)
