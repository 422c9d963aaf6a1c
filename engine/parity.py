"""Parity: whether a candidate engine gives the logits of its reference.

All gates but one are norms of one error matrix; their bounds are in ``tolerances.py``. Some images
go through the candidate a second time in other batches, since a graph that mixes the images of a
batch can agree with its reference in one batch by chance.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contracts import Engine, Flip, Gate, ImageBatch, InputKind, Item, images_from_pixels
from ..errors import InputError
from .tolerances import Tolerance

Logits = npt.NDArray[np.float32]
Error = npt.NDArray[np.float64]

FEWEST_IMAGES = 8
"""With fewer images the signal, which is centred over the images, is not meaningful."""

INDEPENDENCE_IMAGES = 20
"""Number of images that are computed again in other batches, alone or in reverse order."""


@dataclass(frozen=True)
class ParityImages:
    """Images that engines are compared on.

    Attributes:
        items: N items, with their labels if known.
        data: pixels (N, S, S, 3) uint8, or images (N, 3, S, S) float32.
        clean: Number of clean photos, which come first; accuracy is computed on them.
        description: Description for reports.
        kind: Kind of the data; only engines that take images can be compared on images.
    """

    items: tuple[Item, ...]
    data: npt.NDArray[Any]
    clean: int
    description: str
    kind: InputKind = "pixels"


@dataclass(frozen=True)
class PreprocessingPair:
    """Scale and bias (3,) of pixels, from the spec and from the engine's graph."""

    expected: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
    actual: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
    note: str = "scale and bias in the graph against the spec"


def logits_of(engine: Engine, images: ParityImages, batch_size: int) -> Iterator[Logits]:
    """Logits of all images in order, batch by batch."""
    order = range(len(images.items))
    batches = [list(order[start : start + batch_size]) for start in order[::batch_size]]
    return logits_in_batches(engine, images, batches)


def other_batches(n: int, batch_size: int) -> list[list[int]]:
    """Other batches of some of n images: the first half reversed, each of the others alone.

    Example:
        >>> other_batches(6, batch_size=3)
        [[2, 1, 0], [3], [4], [5]]
        >>> other_batches(6, batch_size=1)
        [[5, 4, 3, 2, 1, 0]]
    """
    chosen = np.linspace(0, n - 1, min(n, INDEPENDENCE_IMAGES)).round().astype(int).tolist()
    if batch_size == 1:
        return [chosen[::-1]]
    together, alone = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
    return [together[::-1], *([index] for index in alone)]


def logits_in_other_batches(
    engine: Engine, images: ParityImages, batch_size: int
) -> Mapping[int, Logits]:
    """Logits (C,) of some images by position, computed in other batches."""
    batches = other_batches(len(images.items), batch_size)
    rows = np.concatenate(list(logits_in_batches(engine, images, batches)))
    return dict(zip((index for batch in batches for index in batch), rows, strict=True))


def logits_in_batches(
    engine: Engine, images: ParityImages, batches: Sequence[Sequence[int]]
) -> Iterator[Logits]:
    """Logits of some images, given by their positions, batch by batch."""

    def filled() -> Iterator[ImageBatch]:
        for batch in batches:
            data = engine.allocate(len(batch))
            rows = images.data[list(batch)]
            data[:] = rows if engine.spec.input_kind == images.kind else images_from_pixels(rows)
            yield ImageBatch(
                data, engine.spec.input_kind, tuple(images.items[index] for index in batch)
            )

    for _, logits in engine.stream(filled()):
        yield logits


def gates(
    reference: Logits,
    candidate: Logits,
    moved: Mapping[int, Logits],
    tolerance: Tolerance,
    preprocessing: PreprocessingPair | None,
    items: Sequence[Item],
) -> tuple[Gate, ...]:
    """Every gate, with its value, bound and verdict.

    Args:
        reference: Logits (N, C).
        candidate: Logits (N, C).
        moved: Logits of the candidate for some images in other batches, by position.
        tolerance: Bounds.
        preprocessing: Preprocessing to compare exactly; ``None`` if the engine's graph has none.
        items: N items, to name the worst one.

    Raises:
        InputError: If there are too few images, or the reference gives all of them the same logits.
    """
    signal = _signal(reference)
    finite = int(np.count_nonzero(~np.isfinite(candidate)))
    checks = [] if preprocessing is None else [_preprocessing_gate(preprocessing)]
    checks.append(Gate("finite", finite, 0, finite == 0, "logits that are not finite"))
    with np.errstate(invalid="ignore", over="ignore"):
        error = candidate.astype(np.float64) - reference.astype(np.float64)
        regrouped = max(
            _ratio(np.asarray(row, np.float64) - candidate[index], signal[index])
            for index, row in moved.items()
        )
    by_image = [_ratio(e, s) for e, s in zip(error, signal, strict=True)]
    by_class = [_ratio(e, s) for e, s in zip(error.T, signal.T, strict=True)]
    return (
        *checks,
        _gate("all", _ratio(error, signal), tolerance.overall, "error over signal"),
        _gate("worst image", max(by_image), tolerance.worst_image, items[_worst(by_image)].id),
        _gate("worst class", max(by_class), tolerance.worst_class, f"class {_worst(by_class)}"),
        _gate(
            "batch independence",
            regrouped,
            tolerance.independence,
            f"{len(moved)} images in other batches",
        ),
    )


def _signal(reference: Logits) -> Error:
    if len(reference) < FEWEST_IMAGES:
        raise InputError(
            f"Parity needs at least {FEWEST_IMAGES} images, got {len(reference)}. "
            "Give more with --data, or leave --data out to use the sample photos."
        )
    if not np.isfinite(reference).all():
        raise InputError(
            "The reference itself gives logits that are not finite, so there is nothing to "
            "compare with. The weights are damaged or overflow in float32."
        )
    signal = reference.astype(np.float64)
    signal -= signal.mean(axis=0)
    if not np.linalg.norm(signal) > 0:
        raise InputError("The reference gives every image the same logits. Give other images.")
    return signal


def _preprocessing_gate(pair: PreprocessingPair) -> Gate:
    deviation = max(
        float(np.max(np.abs(actual.astype(np.float64) - expected)))
        if actual.shape == expected.shape
        else np.inf
        for actual, expected in zip(pair.actual, pair.expected, strict=True)
    )
    return Gate("preprocessing", deviation, 0, deviation == 0, pair.note)


def _gate(name: str, value: float, bound: float, note: str) -> Gate:
    return Gate(name, value if np.isfinite(value) else None, bound, bool(value <= bound), note)


def _ratio(error: Error, signal: Error) -> float:
    """``|E| / |S|``; infinite for an error without a signal, or one that is not finite."""
    error_norm, signal_norm = float(np.linalg.norm(error)), float(np.linalg.norm(signal))
    if error_norm == 0:
        return 0.0
    return error_norm / signal_norm if np.isfinite(error_norm) and signal_norm > 0 else np.inf


def _worst(ratios: Sequence[float]) -> int:
    return int(np.argmax(ratios))


def flips(reference: Logits, candidate: Logits, items: Sequence[Item]) -> Iterator[Flip]:
    """Images whose class differs, with the margin of the reference's decision."""
    for item, a, b in zip(items, reference, candidate, strict=True):
        before, after = int(a.argmax()), int(np.nan_to_num(b, nan=-np.inf).argmax())
        if before != after:
            yield Flip(item.id, before, after, float(a[before] - a[after]))


def mean_kl(reference: Logits, candidate: Logits) -> float:
    """Mean divergence KL(reference || candidate) of the softmax distributions, in nats."""
    p, q = _log_softmax(reference), _log_softmax(candidate)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def _log_softmax(logits: Logits) -> Error:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
