"""The self-check of a reference: whether it agrees with itself, and gives logits.

Three photos are enough. The first two are computed twice, then again among all three in reverse
order, and one of them alone: seven images beside the first pass, which is the fingerprint.

    same answer twice      |a - b| = 0; on a GPU at most a tenth of parity's bound
    batch independence     |a - b| <= 1e-4 |signal| + 1e-6 |a|, as between batches in parity
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..contracts import Engine, Finding
from ..errors import InputError
from .parity import Logits, ParityImages, logits_in_batches
from .tolerances import TOLERANCES

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .network_watch import NetworkWatch

PHOTOS = 3
FINGERPRINT_PHOTOS = 2

ROUNDING = 1e-6
"""Relative rounding of float32 in another batch, where the images give nearly the same logits."""

NO_GRADIENT = (
    "The network's logits have no gradient: some operation cannot be differentiated, such as "
    "detach(), numpy or inference_mode. Expected a network of differentiable operators"
)

_PAIR = list(range(FINGERPRINT_PHOTOS))
_ALL_REVERSED = list(range(PHOTOS))[::-1]


@dataclass(frozen=True)
class FirstPass:
    """What a reference answers first.

    Attributes:
        logits: Logits (2, C) of the first two photos, which a network is recognised by.
        together: Whether it takes several images at once.
    """

    logits: Logits
    together: bool = True


def first_pass(
    engine: Engine, photos: ParityImages, watching: Callable[[], AbstractContextManager[None]]
) -> FirstPass:
    """Ask for the fingerprint; image by image, if the reference fails on two images only.

    Args:
        engine: Reference.
        photos: Three photos or more.
        watching: Makes the context to compute in.

    Raises:
        InputError: If the network fails on single images too.
    """
    try:
        with watching():
            return FirstPass(_logits(engine, photos, _PAIR, together=True))
    except InputError as error:
        try:
            with watching():
                return FirstPass(_logits(engine, photos, _PAIR, together=False), together=False)
        except InputError:
            raise error from error.__cause__


def _logits(
    engine: Engine, photos: ParityImages, indices: Sequence[int], *, together: bool
) -> Logits:
    batches = [indices] if together else [[index] for index in indices]
    return np.concatenate(list(logits_in_batches(engine, photos, batches)))


def findings(
    engine: Engine, photos: ParityImages, first: FirstPass, end: str, watch: "NetworkWatch | None"
) -> Iterator[Finding]:
    """The answer to every question but the one about gradients.

    Args:
        engine: Reference.
        photos: Three photos.
        first: Result of ``first_pass``.
        end: Function at the end of the graph; see ``NetworkWatch``.
        watch: What it saw of that pass; ``None`` of a model that exists only as ONNX.
    """
    if watch is not None:
        yield Finding("evaluation mode", _training_fault(watch))
        yield Finding("precision", _precision_fault(watch))
    again, together, alone = (
        _logits(engine, photos, indices, together=first.together)
        for indices in (_PAIR, _ALL_REVERSED, [0])
    )
    random = _repeat_fault(engine, first.logits, again, watch)
    yield Finding("same answer twice", random)
    if not random:
        fault = _batch_fault(together[::-1], first.logits, alone, watch)
        yield Finding("batch independence", fault)
    yield Finding("logits", _logits_fault(together, end))


def output_notes(logits: Logits, end: str) -> Iterator[str]:
    """What is unusual about the outputs, and no fault.

    Args:
        logits: (N, C).
        end: Function at the end of the graph; see ``NetworkWatch``.
    """
    if end == "log-softmax" or _sums_to_one(np.exp(np.minimum(logits, 1))):
        yield "Its outputs are log-probabilities, which are valid logits."
    elif _sums_to_one(logits) and not end:
        yield (
            "warning: Its outputs are not negative and sum to 1, as probabilities do. If they are "
            "probabilities, calibration, stored probabilities and attacks are wrong: give the "
            "logits instead."
        )
    elif _lies_in_unit_interval(logits) and end == "exponential":
        yield (
            "warning: All its outputs are exponentials between 0 and 1, as those of a sigmoid are. "
            "If they are probabilities, calibration, stored probabilities and attacks are wrong: "
            "give the logits instead."
        )


def gradient_finding(network: "nn.Module", images: "torch.Tensor") -> Finding:
    """Whether the logits have gradients.

    Args:
        network: Network from images (N, 3, S, S) in [0, 1] to logits.
        images: Images (N, 3, S, S).
    """
    import torch

    from ..errors import lacks_memory, reason_of
    from ..system.exact_float32 import exact_float32
    from ..system.users_code import ONE_AT_A_TIME, network_code, place_in_users_code

    code = network_code(network, images, ONE_AT_A_TIME)
    with code, exact_float32(deterministic=True), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        try:
            logits = network(leaf)
            if not logits.requires_grad:
                return Finding("gradients", NO_GRADIENT, final=True)
            # The plain sum over the classes of probabilities is constant.
            classes = torch.arange(logits.shape[1], device=logits.device, dtype=leaf.dtype)
            (logits * torch.cos(classes)).sum().backward()
        except RuntimeError as error:
            if lacks_memory(error) or place_in_users_code(error) is not None:
                raise
            fault = f"The gradient of the logits cannot be computed: {reason_of(error)}"
            return Finding("gradients", fault, final=True)
    gradient = leaf.grad
    if gradient is None:
        return Finding("gradients", NO_GRADIENT, final=True)
    if not bool(gradient.isfinite().all()):
        return Finding(
            "gradients", "The gradient of the logits is not finite. Are the weights damaged?"
        )
    if not bool(gradient.any()):
        fault = (
            "The gradient of the logits is zero everywhere: some operation rounds, quantises or "
            "compares the image, so that a search by gradients finds nothing"
        )
        return Finding("gradients", fault)
    return Finding("gradients")


def _repeat_fault(
    engine: Engine, first: Logits, again: Logits, watch: "NetworkWatch | None"
) -> str:
    if np.array_equal(first, again, equal_nan=True):
        return ""
    error, scale = np.linalg.norm(again - first), np.linalg.norm(first)
    if engine.device.name != "cpu" and error <= TOLERANCES["fp32"].overall / 10 * scale:
        return ""
    cause = "is dropout active, or does the network change with each pass?"
    if watch is not None and watch.random:
        cause = f"{watch.random} draws random numbers. Is dropout active?"
    return f"two passes over the same images differ, so no number can be reproduced: {cause}"


def _batch_fault(
    together: Logits, pair: Logits, alone: Logits, watch: "NetworkWatch | None"
) -> str:
    """Whether photos have other logits in a pair, or alone, than together with others."""
    if not np.isfinite(together).all():
        return ""  # which is a fault of its own
    signal = np.linalg.norm(together - together.mean(axis=0), axis=1)
    size = np.linalg.norm(together, axis=1)
    bounds = TOLERANCES["fp32"].independence * signal + ROUNDING * size
    errors = [np.linalg.norm(row - together[i]) for i, row in enumerate(pair)]
    errors.append(np.linalg.norm(alone[0] - together[0]))
    positions: Sequence[int] = (*range(len(pair)), 0)
    if all(e <= bounds[i] for e, i in zip(errors, positions, strict=True)):
        return ""
    cause = "does a layer normalise over the batch, or mix its images?"
    if watch is not None and watch.batch_statistics:
        cause = f"{watch.batch_statistics} normalises by the statistics of the batch."
    return f"an image's logits depend on its companions in the batch: {cause}"


def _training_fault(watch: "NetworkWatch") -> str:
    if not watch.training:
        return ""
    return (
        f"{watch.training} is in training mode, though eval() was called: does it override "
        "eval() or train()?"
    )


def _precision_fault(watch: "NetworkWatch") -> str:
    if not watch.low_precision:
        return ""
    return (
        f"it does not compute in float32: {watch.low_precision}. Is there autocast, half() or a "
        "cast in its code?"
    )


def _logits_fault(logits: Logits, end: str) -> str:
    if not np.isfinite(logits).all():
        return "it gives logits that are not finite. Are the weights damaged?"
    is_probability = _lies_in_unit_interval(logits)
    if end == "exponential":
        is_probability, end = _sums_to_one(logits), "softmax"
    if is_probability and end in ("softmax", "sigmoid"):
        return f"its outputs are probabilities: it ends in a {end}. Give the logits before it."
    return ""


def _lies_in_unit_interval(logits: Logits) -> bool:
    return bool((logits >= 0).all() and (logits <= 1 + 1e-6).all())


def _sums_to_one(values: Logits) -> bool:
    return bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3))
