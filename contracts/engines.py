"""What computes: engines, their devices, and the batches that they take."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from .items import Item
from .models import InputKind, Precision

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Backend = str
"""The name of a runtime; which there are stands in one table, ``engine/table.py``."""


@dataclass(frozen=True)
class EngineSpec:
    """What an engine computes; where it computes is ``Device``.

    Attributes:
        backend: The runtime.
        model_sha256: ONNX: graph and data. PyTorch: architecture, weights and preprocessing.
        precision: Of the arithmetic.
        tf32: Whether float32 products may be rounded to TF32.
        input_kind: What ``Engine.stream`` takes.
    """

    backend: Backend
    model_sha256: str
    precision: Precision = "fp32"
    tf32: bool = False
    input_kind: InputKind = "pixels"


@dataclass(frozen=True)
class Device:
    """A device that computes.

    Attributes:
        name: As the command line says it: ``cpu``, ``cuda:0``.
        model: Of the processor or GPU.
        details: The driver of a GPU, the instruction set of a processor: what results depend on.
    """

    name: str
    model: str
    details: str

    def __str__(self) -> str:
        return f"{self.name} ({self.model})"


@dataclass(frozen=True)
class ImageBatch:
    """What an engine takes: rows, and the item and frame that each row shows.

    Attributes:
        data: pixels (N, S, S, 3) uint8, or images (N, 3, S, S) float32.
        kind: Which of the two.
        items: Of each row the item: N, a video as often as it has frames in the batch.
        frames: Of each row the frame: N; may be left out where every item is one image.
    """

    data: "npt.NDArray[Any]"
    kind: InputKind
    items: tuple[Item, ...]
    frames: tuple[int, ...] = ()


class Engine(Protocol):
    """A loaded model that gives logits. Use it as a context manager."""

    @property
    def spec(self) -> EngineSpec:
        """What it computes."""

    @property
    def device(self) -> Device:
        """What it really runs on."""

    @property
    def versions(self) -> Mapping[str, str]:
        """The runtime that computes, by package."""

    @property
    def max_batch(self) -> int:
        """The largest N that ``allocate`` and ``stream`` take."""

    @property
    def callers(self) -> int:
        """How many threads can call ``stream`` at once to some use."""

    def allocate(self, n: int) -> "npt.NDArray[Any]":
        """A buffer for n inputs to decode into."""

    def stream(
        self, batches: Iterable[ImageBatch]
    ) -> "Iterator[tuple[ImageBatch, npt.NDArray[np.float32]]]":
        """Each batch with its logits (N, C), in order.

        Raises:
            EngineMemoryError: If there is no memory for a batch; a smaller one may be tried.
        """

    def stop(self) -> None:
        """Have streams of other threads end soon, raising what they like; not used after that."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
