"""Does a network fit into float16, which ends at 65504?

A network computes the same in float16 and in float32 but for rounding, unless a value leaves
float16's range: then it becomes infinite, and infinities cancel to NaN or saturate in silence.
Weights can be looked at; activations depend on the image, so the largest one on real photos is
measured, in float32, over the result of every operation.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...contracts import LoadedNetwork
from ...errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

FLOAT16_MAX = 65504.0

SCAN_BATCH = 4


def largest_activation(loaded: LoadedNetwork, photos: npt.NDArray[np.uint8]) -> float:
    """The largest absolute value inside the network on some photos.

    Args:
        loaded: The network as it will be exported, in float32.
        photos: Pixels (N, S, S, 3).

    Raises:
        InputError: If a weight or an activation is beyond float16; where it was is named.
    """
    for name, tensor in loaded.network.state_dict().items():
        _refuse_beyond(loaded, name, "has weights", tensor)
    largest, where = _largest(loaded, _normalised(loaded, photos))
    if largest > FLOAT16_MAX:
        raise _beyond(loaded, where, f"gives values on {len(photos)} photos", largest)
    return largest


def _refuse_beyond(loaded: LoadedNetwork, name: str, what: str, tensor: "torch.Tensor") -> None:
    if tensor.is_floating_point() and tensor.numel():
        largest = _magnitude(tensor)
        if largest > FLOAT16_MAX:
            raise _beyond(loaded, name, what, largest)


def _magnitude(tensor: "torch.Tensor") -> float:
    """The largest absolute value; a NaN is as bad as infinity, and compares as nothing."""
    largest = float(tensor.abs().max())
    return np.inf if np.isnan(largest) else largest


def _beyond(loaded: LoadedNetwork, where: str, what: str, largest: float) -> InputError:
    return InputError(
        f"{loaded.spec.name} cannot be exported in fp16: {where} {what} up to {largest:.3g}, "
        f"and float16 ends at {FLOAT16_MAX:.0f}. Use --precision bf16 or fp32."
    )


def _normalised(loaded: LoadedNetwork, photos: npt.NDArray[np.uint8]) -> "Iterable[torch.Tensor]":
    import torch

    preprocessing = loaded.spec.preprocessing
    mean = torch.tensor(preprocessing.mean).reshape(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std).reshape(1, 3, 1, 1)
    for start in range(0, len(photos), SCAN_BATCH):
        pixels = torch.from_numpy(photos[start : start + SCAN_BATCH])
        yield (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


def _largest(loaded: LoadedNetwork, batches: "Iterable[torch.Tensor]") -> tuple[float, str]:
    """The largest value of any operation's result, and the layer in which it ran."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    running: list[str] = []  # the layers that are being computed, outermost first
    found: tuple[float, str] = (0.0, "the input")

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal found
            output = operation(*args, **(kwargs or {}))
            for leaf in tree_leaves(output):
                if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.numel():
                    largest = _magnitude(leaf)
                    if largest > found[0]:
                        where = running[-1] if running else "the network itself"
                        found = (largest, f"{operation} in {where}")
            return output

    hooks = []
    for name, module in loaded.network.named_modules():
        if name:
            hooks += _hooks(module, name, running)
    try:
        with torch.inference_mode():
            for images in batches:
                with Watch():  # type: ignore[no-untyped-call]
                    loaded.network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _hooks(module: "nn.Module", name: str, running: list[str]) -> list[Any]:
    return [
        module.register_forward_pre_hook(lambda *_: running.append(name)),
        module.register_forward_hook(lambda *_: _pop(running), always_call=True),
    ]


def _pop(running: list[str]) -> None:
    running.pop()
