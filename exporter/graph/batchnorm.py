"""Folding batch normalisation into the convolution before it, in float64.

    y = gamma (conv(x) - mean) / sqrt(var + eps) + beta        is a convolution with
    w' = w gamma / sqrt(var + eps),    b' = (b - mean) gamma / sqrt(var + eps) + beta

Done here and not by the exporter: its own fold computes in float32 and has had faults that gave
0 % accuracy (pytorch#169178, #166797). Which convolution feeds which normalisation is found by
running the network once, since what runs counts and not how the modules are named or nested.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any

from ...errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn


def fold_batchnorm(network: "nn.Module", example: "torch.Tensor") -> None:
    """Replace every BatchNorm of a network in evaluation mode, in place.

    A BatchNorm that is the only reader of a convolution is folded into it. Any other (before a
    convolution, as in DenseNet; behind a layer that runs twice or is read elsewhere) becomes one
    multiply and add.

    Args:
        network: In evaluation mode; changed in place.
        example: Images (1, 3, S, S) that the network takes.

    Raises:
        InputError: If a BatchNorm has no running statistics: it would mix the images of a batch;
            or if it is of a kind that does more than normalise.
    """
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    pairs = _pairs(network, example)
    made: dict[nn.Module, nn.Module] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if not isinstance(module, _BatchNorm):
            continue
        if module not in made:
            scale, shift = _affine(module, name)
            if (convolution := pairs.get(module)) is not None:
                _fold(convolution, scale, shift)
                made[module] = _and_behind(module, nn.Identity())
            else:
                made[module] = _and_behind(module, _channel_affine(scale, shift))
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, made[module])
    assert not any(isinstance(module, _BatchNorm) for module in network.modules())


def _and_behind(norm: "nn.Module", instead: "nn.Module") -> "nn.Module":
    """What stands for a BatchNorm, with what that one does beside normalising.

    timm has some with an activation inside (``BatchNormAct2d``); of others nothing is known.
    """
    from torch import nn
    from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

    if type(norm).forward in (_BatchNorm.forward, SyncBatchNorm.forward):
        return instead
    drop, act = getattr(norm, "drop", None), getattr(norm, "act", None)
    if not isinstance(drop, nn.Module) or not isinstance(act, nn.Module):
        raise InputError(
            f"A layer is a {type(norm).__name__}, a batch normalisation that does something else "
            "too, which cannot be exported. Make it a module beside a plain BatchNorm."
        )
    return nn.Sequential(instead, drop, act)


def _pairs(network: "nn.Module", example: "torch.Tensor") -> "dict[nn.Module, nn.Conv2d]":
    """Each BatchNorm with the convolution that it can be folded into.

    That is: each of the two runs once, the convolution uses its weight as it is, and nothing but
    the BatchNorm reads or changes what it gives.
    """
    import torch
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    watch = _watch()
    runs: Counter[nn.Module] = Counter()
    fed: dict[nn.Module, torch.Tensor] = {}

    def after_convolution(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        runs[module] += 1
        watch.keep(output, module)

    def before_batchnorm(module: nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        runs[module] += 1
        fed[module] = inputs[0] if inputs else named["input"]

    hooks = [
        module.register_forward_hook(after_convolution)
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ] + [
        module.register_forward_pre_hook(before_batchnorm, with_kwargs=True)
        for module in network.modules()
        if isinstance(module, _BatchNorm)
    ]
    try:
        with torch.no_grad(), watch:
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    found = {}
    for norm, tensor in fed.items():
        convolution = watch.sole_source(tensor)
        if convolution is not None and runs[norm] == runs[convolution] == 1:
            found[norm] = convolution
    return found


def _watch() -> Any:
    """Sees every operation: who reads a convolution's output, and what it was made of."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self._made_by: dict[int, nn.Conv2d] = {}
            self._made_of: dict[int, list[Any]] = {}
            self._readers: Counter[int] = Counter()
            self._alive: list[torch.Tensor] = []  # an id is only unique among living tensors

        def __torch_dispatch__(
            self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            output = operation(*args, **(kwargs or {}))
            read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
            self._readers.update({id(tensor) for tensor in read})
            if isinstance(output, torch.Tensor) and id(output) not in self._made_of:
                self._made_of[id(output)] = read
                self._alive.append(output)
            return output

        def keep(self, output: torch.Tensor, module: "nn.Conv2d") -> None:
            """A convolution's output, if it was made of its weight as it is."""
            if any(tensor is module.weight for tensor in self._made_of.get(id(output), ())):
                self._made_by[id(output)] = module

        def sole_source(self, tensor: torch.Tensor) -> "nn.Conv2d | None":
            """The convolution that made a tensor which was read exactly once."""
            return self._made_by.get(id(tensor)) if self._readers[id(tensor)] == 1 else None

    return Watch()


def _affine(norm: "nn.Module", name: str) -> "tuple[torch.Tensor, torch.Tensor]":
    """Scale and shift (channels,) of a BatchNorm, float64."""
    import torch

    variance, mean = norm.running_var, norm.running_mean
    if not isinstance(variance, torch.Tensor) or not isinstance(mean, torch.Tensor):
        raise InputError(
            f"The layer {name} normalises by the statistics of the batch, so an image's logits "
            "would depend on its companions. Such a network cannot be evaluated."
        )
    scale = (variance.double() + float(norm.eps)).rsqrt()  # type: ignore[arg-type]
    if isinstance(norm.weight, torch.Tensor):
        scale = scale * norm.weight.double()
    shift = -mean.double() * scale
    if isinstance(norm.bias, torch.Tensor):
        shift = shift + norm.bias.double()
    return scale, shift


def _fold(convolution: "nn.Conv2d", scale: "torch.Tensor", shift: "torch.Tensor") -> None:
    from torch import nn

    weight = convolution.weight
    folded = weight.double() * scale.reshape(-1, 1, 1, 1)
    bias = shift if convolution.bias is None else convolution.bias.double() * scale + shift
    convolution.weight = nn.Parameter(folded.to(weight.dtype), requires_grad=False)
    convolution.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=False)


def _channel_affine(scale: "torch.Tensor", shift: "torch.Tensor") -> "nn.Module":
    import torch
    from torch import nn

    class ChannelAffine(nn.Module):
        """One multiply and add for each channel of (N, channels, ...)."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Buffer(scale.float())
            self.shift = nn.Buffer(shift.float())

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            shape = (1, -1) + (1,) * (input.dim() - 2)
            return input * self.scale.reshape(shape) + self.shift.reshape(shape)

    return ChannelAffine()
