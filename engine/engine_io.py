"""Parts that all engines share: input buffers, streams of batches, and the context manager."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..contracts import Backend, Bundle, Device, EngineSpec, ImageBatch, InputKind
from ..errors import (
    EngineError,
    EngineMemoryError,
    EvaluatorError,
    InputError,
    lacks_memory,
    printable,
    reason_of,
)

Logits = npt.NDArray[np.float32]


class LoadedEngine:
    """An engine with a loaded model; see ``contracts.Engine``.

    A subclass has a method ``_logits``, or a ``stream`` of its own.
    """

    callers = 1
    max_batch = 1024

    def __init__(
        self,
        spec: EngineSpec,
        device: Device,
        *,
        versions: Mapping[str, str],
        crop_px: int,
        runtime: Any,
    ) -> None:
        """Describe the engine.

        Args:
            spec: Identity of what the engine computes.
            device: Device that the engine runs on.
            versions: Versions of the packages that compute.
            crop_px: Side of the images.
            runtime: Session or network, which is released when the engine is closed.
        """
        self.spec, self.device, self.versions = spec, device, versions
        self._crop_px, self._runtime = crop_px, runtime

    def allocate(self, n: int) -> npt.NDArray[Any]:
        """A buffer for n inputs."""
        return buffer(n, self._crop_px, self.spec.input_kind)

    def stream(self, batches: Iterable[ImageBatch]) -> Iterator[tuple[ImageBatch, Logits]]:
        """Each batch with its logits (N, C), in order."""
        return infer(batches, self.spec.input_kind, self._logits)

    def stop(self) -> None:
        """Finish the current batch: not every runtime can be interrupted."""

    def _logits(self, batch: ImageBatch) -> Logits:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self._runtime


def infer(
    batches: Iterable[ImageBatch], kind: InputKind, logits: Callable[[ImageBatch], Logits]
) -> Iterator[tuple[ImageBatch, Logits]]:
    """Each batch with its logits (N, C), in order.

    Raises:
        InputError: If the input of a batch is not the engine's.
    """
    for batch in batches:
        if batch.kind != kind:
            raise InputError(f"The engine takes {kind}, got {batch.kind}.")
        yield batch, logits(batch)


@contextmanager
def reported_batch(runtime: str, batch: ImageBatch) -> Iterator[None]:
    """Name the runtime and the batch in what a runtime raises, whose exceptions share no class.

    Raises:
        EngineMemoryError: If the exception says that memory is missing.
        EngineError: If it says anything else. An ``AssertionError``, a bug of ours, is kept.
    """
    try:
        yield
    except (EvaluatorError, AssertionError):
        raise
    except Exception as error:
        error_type = EngineMemoryError if lacks_memory(error) else EngineError
        raise error_type(
            f"{runtime} failed on a batch of {len(batch.items)} that begins with "
            f"{printable(batch.items[0].id)}: {reason_of(error)}."
        ) from error


def bundle_spec(backend: Backend, bundle: Bundle) -> EngineSpec:
    """Specification of an engine that runs a bundle; the graph sets the arithmetic."""
    model = bundle.model
    return EngineSpec(backend, model.sha256, model.precision, input_kind=model.input_kind)


def buffer(n: int, side_px: int, kind: InputKind) -> npt.NDArray[Any]:
    """An empty array for n inputs: pixels (n, S, S, 3) uint8, or images (n, 3, S, S) float32."""
    if kind == "pixels":
        return np.empty((n, side_px, side_px, 3), np.uint8)
    return np.empty((n, 3, side_px, side_px), np.float32)
