"""Wrappers around a user's network: removed, since they compute what the network inside computes.

Compiled and data-parallel networks and averages rename every tensor; they want a compiler, a GPU or
other processes, and hide the layers. A wrapper around any module of a network is removed too, and a
compilation in place is undone. What cannot be evaluated in float32 is refused by what it is.
"""

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from ..errors import InputError, printable

if TYPE_CHECKING:
    from torch import nn

_INSIDE = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.optim.swa_utils.AveragedModel": "module",
    "timm.utils.model_ema.ModelEmaV2": "module",
    "timm.utils.model_ema.ModelEmaV3": "module",
}
"""The attribute of each class of wrappers that holds the network."""

_QUANTISED = (
    "torch.ao.nn.quantized",
    "torch.ao.nn.intrinsic.quantized",
    "torch.ao.nn.sparse.quantized",
    "torch.nn.quantized",
    "torchao.",
    "bitsandbytes.",
)
"""Packages whose layers and tensors are quantised."""

_FLOAT = "torch.ao.nn.quantized.modules.functional_modules.FloatFunctional"
"""Computes in float32: networks that could be quantised add and concatenate by it."""


def unwrapped(network: "nn.Module", factory: str) -> "nn.Module":
    """The network without wrappers; its own modules stay the same objects.

    Raises:
        InputError: If a wrapper has hooks, the network is sharded over processes, or quantised.
    """
    network = _inside(network, factory)
    for module in list(network.modules()):
        for name, child in module._modules.items():
            if child is not None and (inner := _inside(child, factory)) is not child:
                module._modules[name] = inner
    for name, module in network.named_modules():
        _refuse(factory, name, module)
        _undo_compilation(module)
    return network


def _inside(module: "nn.Module", factory: str) -> "nn.Module":
    while (attribute := _attribute(module)) is not None:
        if module._forward_hooks or module._forward_pre_hooks:
            raise InputError(
                f"{factory} gives a {type(module).__name__} with hooks of its own, which the "
                "network inside does not have. Return that network, with the hooks."
            )
        module = getattr(module, attribute)
    return module


def _attribute(module: "nn.Module") -> str | None:
    """Attribute that holds the network; `None` if the module is not a wrapper that only passes on.

    A subclass with a ``forward`` of its own may compute something else.
    """
    for kind in type(module).__mro__:
        attribute = _INSIDE.get(f"{kind.__module__}.{kind.__qualname__}")
        if attribute is not None:
            return attribute if type(module).forward is kind.forward else None  # type: ignore[attr-defined]
    return None


def _undo_compilation(module: "nn.Module") -> None:
    """Undo ``module.compile()``, and ``torch.compile`` of methods, in the class or the object."""
    if getattr(module, "_compiled_call_impl", None) is not None:
        module._compiled_call_impl = None
    compiled: dict[str, Callable[..., Any] | None] = {}
    for kind in reversed(type(module).__mro__):
        compiled |= {name: _original(value) for name, value in vars(kind).items()}
    methods = {name: MethodType(f, module) for name, f in compiled.items() if f is not None}
    own = {name: _original(value) for name, value in vars(module).items()}
    for name, function in {**methods, **own}.items():
        if function is not None:
            setattr(module, name, function)


def _original(value: object) -> Callable[..., Any] | None:
    """The function that was compiled; `None` if the value is not a compiled function."""
    if not isinstance(value, FunctionType):
        return None
    original: Callable[..., Any] | None = getattr(value, "_torchdynamo_orig_callable", None)
    return original


def _refuse(factory: str, name: str, module: "nn.Module") -> None:
    """Refuse what cannot be evaluated in float32 in one process."""
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    place = f"{printable(name) or 'the network'}: {type(module).__name__}"
    tensors = [*module._parameters.values(), *module._buffers.values()]
    kinds = [f"{type(tensor).__module__}." for tensor in tensors if tensor is not None]
    if kind.startswith("torch.distributed.fsdp.") or any("distributed.tensor." in k for k in kinds):
        raise InputError(
            f"{factory} gives a network that is sharded over processes ({place}). Return the "
            "network as it is before it is sharded, and give its full state dict as --weights."
        )
    if (
        (kind.startswith(_QUANTISED) and kind != _FLOAT)
        or any(k.startswith(_QUANTISED) for k in kinds)
        or any(_is_quantised(parameter) for parameter in module._parameters.values())
    ):
        raise InputError(
            f"{factory} gives a network that is quantised ({place}), expected float32. Return the "
            "network as it was trained."
        )


def _is_quantised(parameter: "nn.Parameter | None") -> bool:
    """Whether a parameter is quantised by PyTorch, or in a precision of quantised weights."""
    import torch

    return parameter is not None and (
        parameter.is_quantized
        or parameter.dtype == torch.int8
        or str(parameter.dtype).startswith("torch.float8")
    )
