"""Folding batch normalisation into the convolution before it, in float64.

    y = gamma (conv(x) - mean) / sqrt(var + eps) + beta        is a convolution with
    w' = w gamma / sqrt(var + eps),    b' = (b - mean) gamma / sqrt(var + eps) + beta

The exporter's own fold is not used: it computes in float32 and has had faults that gave 0 %
accuracy (pytorch#169178, #166797). Which convolution feeds which normalisation is found by running
the network once, since names and nesting of modules do not tell the order in which they run.
"""

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ...errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn


def fold_batchnorm(network: "nn.Module", example: "torch.Tensor") -> None:
    """Replace every BatchNorm of a network in evaluation mode, in place.

    A BatchNorm that is the only reader of a convolution is folded into it. Any other one (before a
    convolution, as in DenseNet; after a layer that runs twice, is read elsewhere, or computes its
    weight before each pass, as pruning and weight normalisation do) becomes one multiply and add.
    So does every one if the run that shows the order of the layers fails. One that does not run as
    a module, or does more than normalise and is not timm's, stays as it is.

    Args:
        network: Network in evaluation mode; changed in place.
        example: Images (1, 3, S, S) that the network takes.

    Raises:
        InputError: If a BatchNorm has no running statistics, so that it would mix the images of a
            batch.
    """
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    convolutions: dict[nn.Module, nn.Conv2d | None]
    try:
        convolutions = _foldable_convolutions(network, example)
    except Exception:  # a network may raise anything when it is run with hooks
        convolutions = dict.fromkeys(network.modules())
    replacements: dict[nn.Module, nn.Module] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if not isinstance(module, _BatchNorm):
            continue
        if module not in replacements:
            scale, shift = _scale_and_shift(module, name)
            following = _layers_inside(module)
            if following is None or module not in convolutions:
                continue
            normalisation: nn.Module = nn.Identity()
            if (convolution := convolutions[module]) is not None:
                _fold(convolution, scale, shift)
            else:
                normalisation = _channel_affine(scale, shift)
            replacements[module] = (
                nn.Sequential(normalisation, *following) if following else normalisation
            )
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, replacements[module])


def _layers_inside(norm: "nn.Module") -> "list[nn.Module] | None":
    """Layers that a BatchNorm runs after normalising; `None` if it does something unknown.

    timm's ``BatchNormAct2d`` has dropout and an activation.
    """
    from torch import nn
    from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

    if norm._forward_hooks or norm._forward_pre_hooks:
        return None
    if type(norm).forward in (_BatchNorm.forward, SyncBatchNorm.forward):
        return []
    layers = [getattr(norm, name, None) for name in ("drop", "act")]
    known = [layer for layer in layers if isinstance(layer, nn.Module)]
    return known if len(known) == len(layers) else None


def _foldable_convolutions(
    network: "nn.Module", example: "torch.Tensor"
) -> "dict[nn.Module, nn.Conv2d | None]":
    """For each BatchNorm that runs the convolution that it can be folded into, or `None`.

    Both run exactly once, the convolution uses weight and bias unchanged and alone, and only the
    BatchNorm reads or changes its output.
    """
    import torch
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    readers = _reader_counts()
    runs: Counter[nn.Module] = Counter()
    norm_inputs: dict[nn.Module, torch.Tensor] = {}

    def after_convolution(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        runs[module] += 1
        readers.record_output(output, module)

    def before_batchnorm(module: nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        runs[module] += 1
        norm_inputs[module] = inputs[0] if inputs else named["input"]

    with ExitStack() as hooks, torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                hooks.enter_context(module.register_forward_hook(after_convolution))
            elif isinstance(module, _BatchNorm):
                hooks.enter_context(
                    module.register_forward_pre_hook(before_batchnorm, with_kwargs=True)
                )
        with readers:
            network(example)
    convolutions: dict[nn.Module, nn.Conv2d | None] = dict.fromkeys(norm_inputs)
    for norm, tensor in norm_inputs.items():
        convolution = readers.sole_source(tensor)
        if convolution is None or convolution._forward_pre_hooks:  # which may change its weight
            continue
        if runs[norm] == runs[convolution] == 1:
            convolutions[norm] = convolution
    return convolutions


def _reader_counts() -> Any:
    """A dispatch mode that records how each tensor is made and how often each one is read."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    aten = torch.ops.aten
    convolution_operators = (aten.convolution, aten.conv2d)  # the latter in inference mode

    class ReaderCounts(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self._convolutions: dict[int, nn.Conv2d] = {}
            self._operations: dict[int, tuple[Any, list[Any]]] = {}
            self._readers: Counter[int] = Counter()
            self._alive: list[torch.Tensor] = []  # an id is only unique among living tensors

        def __torch_dispatch__(
            self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            output = operation(*args, **(kwargs or {}))
            leaves = tree_leaves((args, kwargs))
            inputs = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
            self._readers.update({id(tensor) for tensor in inputs})
            if isinstance(output, torch.Tensor) and id(output) not in self._operations:
                self._operations[id(output)] = (operation, inputs)
                self._alive.append(output)
            return output

        def record_output(self, output: torch.Tensor, module: "nn.Conv2d") -> None:
            """Record the output of a convolution that used its own weight and bias unchanged."""
            weight, bias = (module._parameters.get(name) for name in ("weight", "bias"))
            operation, inputs = self._operations.get(id(output), (None, []))
            own = [id(tensor) for tensor in (weight, bias) if tensor is not None]
            if (
                weight is not None
                and getattr(operation, "overloadpacket", None) in convolution_operators
                and [id(tensor) for tensor in inputs[1:]] == own
            ):
                self._convolutions[id(output)] = module

        def sole_source(self, tensor: torch.Tensor) -> "nn.Conv2d | None":
            """The convolution whose output is this tensor, if the tensor was read exactly once."""
            return self._convolutions.get(id(tensor)) if self._readers[id(tensor)] == 1 else None

    return ReaderCounts()


def _scale_and_shift(norm: "nn.Module", name: str) -> "tuple[torch.Tensor, torch.Tensor]":
    """Scale and shift (channels,) of a BatchNorm, float64."""
    import torch

    variance, mean = norm.running_var, norm.running_mean
    if not isinstance(variance, torch.Tensor) or not isinstance(mean, torch.Tensor):
        raise InputError(
            f"The layer {name} normalises by the statistics of the batch, so an image's logits "
            "would depend on the other images. Such a network cannot be evaluated."
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
        """One multiplication and addition for each channel of (N, channels, ...)."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Buffer(scale.float())
            self.shift = nn.Buffer(shift.float())

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            shape = (1, -1) + (1,) * (input.dim() - 2)
            return input * self.scale.reshape(shape) + self.shift.reshape(shape)

    return ChannelAffine()
