"""Engines, their devices, and the batches that they take."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from .items import Item
from .models import InputKind, Precision

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Backend = str
"""Name of a runtime; the table of all is in ``engine/table.py``."""


@dataclass(frozen=True)
class EngineSpec:
    """Identity of what an engine computes, apart from its ``Device``.

    Attributes:
        backend: Name of the runtime.
        model_sha256: SHA-256 over graph and external data for ONNX; over architecture, weights and
            preprocessing for PyTorch.
        precision: Precision of the arithmetic.
        tf32: Whether float32 products may be rounded to TF32.
        input_kind: Kind of input that ``Engine.stream`` takes.
    """

    backend: Backend
    model_sha256: str
    precision: Precision = "fp32"
    tf32: bool = False
    input_kind: InputKind = "pixels"


@dataclass(frozen=True)
class Device:
    """A device that an engine runs on.

    Attributes:
        name: Name on the command line: ``cpu``, ``cuda:0``.
        model: Model of the processor or GPU.
        details: What results depend on: driver of a GPU, instruction set of a processor.
    """

    name: str
    model: str
    details: str

    @property
    def is_simulated(self) -> bool:
        """Whether it stands in for a GPU in tests: its times say nothing."""
        return self.model.startswith("simulated")

    @property
    def torch_name(self) -> str:
        """Name of the device in PyTorch, which computes on the CPU for a simulated one."""
        return "cpu" if self.is_simulated else self.name

    def __str__(self) -> str:
        return f"{self.name} ({self.model})"


@dataclass(frozen=True)
class ImageBatch:
    """Input of an engine: N rows, with the item and frame of each.

    Attributes:
        data: Pixels (N, S, S, 3) uint8, or images (N, 3, S, S) float32.
        kind: Whether the data are pixels or images.
        items: Item of each row; a video occurs once for each of its frames in the batch.
        frames: Frame of each row; may be empty if every item is one image.
    """

    data: "npt.NDArray[Any]"
    kind: InputKind
    items: tuple[Item, ...]
    frames: tuple[int, ...] = ()


class Engine(Protocol):
    """A loaded model that computes logits. Use it as a context manager."""

    @property
    def spec(self) -> EngineSpec:
        """Identity of what the engine computes."""

    @property
    def device(self) -> Device:
        """Device that the engine runs on."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the runtime, by package."""

    @property
    def max_batch(self) -> int:
        """Largest N that ``allocate`` and ``stream`` take."""

    @property
    def callers(self) -> int:
        """Number of threads that can usefully call ``stream`` at once."""

    def allocate(self, n: int) -> "npt.NDArray[Any]":
        """Allocate a buffer for n inputs to decode into."""

    def stream(
        self, batches: Iterable[ImageBatch]
    ) -> "Iterator[tuple[ImageBatch, npt.NDArray[np.float32]]]":
        """Yield each batch with its logits (N, C), in order.

        Raises:
            EngineMemoryError: If a batch does not fit into memory; a smaller one may.
        """

    def stop(self) -> None:
        """Make streams of other threads end soon, raising anything; the engine is unusable then."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
