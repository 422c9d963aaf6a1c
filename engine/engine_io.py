"""What every engine does with its inputs: buffers to decode into, and batches that must fit."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contracts import Backend, Bundle, EngineSpec, ImageBatch, InputKind
from ..errors import InputError

Logits = npt.NDArray[np.float32]


def bundle_spec(backend: Backend, bundle: Bundle) -> EngineSpec:
    """What an engine computes that runs a bundle's graph: the arithmetic is the graph's."""
    model = bundle.model
    return EngineSpec(backend, model.sha256, model.precision, input_kind=model.input_kind)


def buffer(n: int, side_px: int, kind: InputKind) -> npt.NDArray[Any]:
    """Room for n inputs: pixels (n, S, S, 3) uint8, or images (n, 3, S, S) float32."""
    if kind == "pixels":
        return np.empty((n, side_px, side_px, 3), np.uint8)
    return np.empty((n, 3, side_px, side_px), np.float32)


def answered(
    batches: Iterable[ImageBatch], kind: InputKind, logits_of: Callable[[ImageBatch], Logits]
) -> Iterator[tuple[ImageBatch, Logits]]:
    """Each batch with its logits (N, C), in order.

    Raises:
        InputError: If a batch is of the other kind than the engine takes.
    """
    for batch in batches:
        if batch.kind != kind:
            raise InputError(f"The engine takes {kind}, got {batch.kind}.")
        yield batch, logits_of(batch)
