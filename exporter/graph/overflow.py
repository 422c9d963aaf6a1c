"""Whether a network fits into float16, whose largest number is 65504.

A network computes the same in float16 and in float32 but for rounding, unless a value leaves
float16's range: then it becomes infinite, and infinities cancel to NaN or saturate without an
error. Weights can be read; activations depend on the image, so the largest one on real photos is
measured, in float32, over the result of every operation.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...contracts import LoadedNetwork
from ...errors import InputError
from ...system.users_code import users_code

if TYPE_CHECKING:
    import torch
    from torch import nn

FLOAT16_MAX = 65504.0

SCAN_BATCH = 4
"""Number of photos that activations are measured on at once."""


def largest_activation(loaded: LoadedNetwork, photos: npt.NDArray[np.uint8]) -> float:
    """Largest absolute activation of a network on photos.

    Args:
        loaded: Network as it will be exported, in float32.
        photos: Pixels (N, S, S, 3).

    Raises:
        InputError: If a weight or an activation is beyond float16; its place is named.
    """
    for name, tensor in loaded.network.state_dict().items():
        _refuse_overflow(loaded, f"{name} has weights", _magnitude(tensor))
    largest, place = _largest(loaded, _normalised(loaded, photos))
    _refuse_overflow(loaded, f"{place} gives values on {len(photos)} photos", largest)
    return largest


def _magnitude(value: Any) -> float:
    """Largest absolute value of a floating-point tensor; 0 for anything else.

    A NaN counts as infinity, since every comparison with it is false.
    """
    import torch

    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or not value.numel():
        return 0.0
    largest = float(value.abs().max())
    return np.inf if np.isnan(largest) else largest


def _refuse_overflow(loaded: LoadedNetwork, subject: str, largest: float) -> None:
    if largest > FLOAT16_MAX:
        raise InputError(
            f"{loaded.spec.name} cannot be exported in fp16: {subject} up to {largest:.3g}, "
            f"and float16 ends at {FLOAT16_MAX:.0f}. Use --precision bf16 or fp32."
        )


def _normalised(loaded: LoadedNetwork, photos: npt.NDArray[np.uint8]) -> "Iterable[torch.Tensor]":
    import torch

    preprocessing = loaded.spec.preprocessing
    mean = torch.tensor(preprocessing.mean).reshape(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std).reshape(1, 3, 1, 1)
    for start in range(0, len(photos), SCAN_BATCH):
        pixels = torch.from_numpy(photos[start : start + SCAN_BATCH])
        images = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
        yield images.flip(1) if preprocessing.is_bgr else images


def _largest(loaded: LoadedNetwork, batches: "Iterable[torch.Tensor]") -> tuple[float, str]:
    """Largest value of any operation's result, with the operation and its layer."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    running: list[str] = []  # names of the layers that are running, outermost first
    largest, place = 0.0, "the input"

    class LargestResult(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal largest, place
            output = operation(*args, **(kwargs or {}))
            for leaf in tree_leaves(output):
                if (magnitude := _magnitude(leaf)) > largest:
                    layer = running[-1] if running else "the network itself"
                    largest, place = magnitude, f"{operation} in {layer}"
            return output

    with ExitStack() as hooks, torch.inference_mode():
        for name, module in loaded.network.named_modules():
            if name:
                _track(module, name, running, hooks)
        for images in batches:
            with users_code(loaded.spec.name), LargestResult():  # type: ignore[no-untyped-call]
                loaded.network(images)
    return largest, place


def _track(module: "nn.Module", name: str, running: list[str], hooks: ExitStack) -> None:
    """Keep a layer's name among the running ones while it runs."""

    def leave(*_: object) -> None:
        running.pop()

    enter = module.register_forward_pre_hook(lambda *_: running.append(name))
    hooks.enter_context(enter)
    hooks.enter_context(module.register_forward_hook(leave, always_call=True))
