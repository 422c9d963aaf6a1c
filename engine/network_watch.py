"""Watching a PyTorch network compute: precision, training mode, random numbers, its last operator.

Under inference mode PyTorch shows whole operators, such as ``softmax`` or ``dropout``, also those
of TorchScript.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

_LOW_PRECISION = {
    torch.float16,
    torch.bfloat16,
    *(dtype for name in dir(torch) if isinstance(dtype := getattr(torch, name), torch.dtype)
      and (name.startswith(("float8", "float4", "qint", "quint")))),
    torch.int8,
}  # fmt: skip
"""Types of numbers that are rounded more coarsely than float32; int8 holds quantised weights."""

_KEEPS_VALUES = {
    *("alias", "clone", "contiguous", "detach", "expand", "flatten", "index_select", "permute"),
    *("reshape", "select", "slice", "squeeze", "t", "to", "_to_copy", "transpose", "unsqueeze"),
    *("view", "_unsafe_view", "index", "add", "sub", "mul", "div", "mean", "sum", "stack", "cat"),
    *("clamp", "clamp_min", "view_as", "reshape_as", "float", "type_as", "rsub", "true_divide"),
    *("reciprocal", "pow", "squeeze_copy", "detach_copy"),
}
"""Operators that may follow a softmax and leave it the one at the end of the graph."""

_ENDS = {
    **dict.fromkeys(("softmax", "_softmax", "_safe_softmax", "softmin"), "softmax"),
    **dict.fromkeys(("log_softmax", "_log_softmax"), "log-softmax"),
    **dict.fromkeys(("sigmoid", "hardsigmoid", "special_expit"), "sigmoid"),
}


@dataclass(frozen=True)
class _Step:
    """An operator that was computed, and those that made its inputs."""

    name: str
    inputs: tuple["_Step", ...]


class NetworkWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What a network does inside ``with``, on this thread; the first occurrence of each.

    Attributes:
        low_precision: Layer and type of a tensor of less precision than float32; empty if none.
        training: Layer that is in training mode; empty if none.
        random: Layer that draws random numbers; empty if none.
        batch_statistics: Layer that normalises by the statistics of its batch; empty if none.
        end: ``softmax``, ``log-softmax``, ``sigmoid``, or ``exponential`` for a function of
            exponentials, at the end of the graph; empty if none.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._network = network
        self._names = {id(module): name for name, module in network.named_modules()}
        self._inside: list[nn.Module] = []
        self._steps: Any = WeakIdKeyDictionary()
        self.low_precision = self.random = self.batch_statistics = self.end = ""
        in_training = (module for module in network.modules() if module.training)
        self.training = next((self._text(module) for module in in_training), "")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what the network computes inside the block."""
        hooks = (
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        )
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: PyTorch would import its compiler, which takes longer than the whole check."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute an operator, and remember it."""
        outputs = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        name, place = func.overloadpacket.__name__, self._place
        step = _Step(name, tuple(s for t in inputs if (s := self._steps.get(t)) is not None))
        for tensor in inputs:
            self._see(tensor, place)
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor, place)
                self._steps[tensor] = step
        if torch.Tag.nondeterministic_seeded in func.tags and not _is_idle_dropout(name, args):
            self.random = self.random or place
        if "batch_norm" in name and _uses_batch(name, args):
            self.batch_statistics = self.batch_statistics or place
        return outputs

    def _see(self, tensor: torch.Tensor, place: str) -> None:
        if not self.low_precision and tensor.dtype in _LOW_PRECISION:
            kind = str(tensor.dtype).removeprefix("torch.")
            self.low_precision = f"{place} has a tensor of {kind}"

    def _enter(self, module: nn.Module, _: Any) -> None:
        self._inside.append(module)
        if module.training and not self.training:
            self.training = self._place

    def _leave(self, module: nn.Module, _: Any, output: Any) -> None:
        if self._inside and self._inside[-1] is module:
            self._inside.pop()
        if module is self._network and isinstance(output, torch.Tensor):
            self.end = _end_of(self._steps.get(output))

    @property
    def _place(self) -> str:
        """The innermost layer that is computing, by its name in the network and its class."""
        return self._text(self._inside[-1]) if self._inside else "the network"

    def _text(self, module: nn.Module) -> str:
        name, kind = self._names.get(id(module), ""), type(module).__name__
        return f"{name} ({kind})" if name else kind


def _is_idle_dropout(name: str, args: Any) -> bool:
    """Whether it is a dropout in evaluation mode."""
    return "dropout" in name and len(args) > 2 and args[2] is False


def _uses_batch(name: str, args: Any) -> bool:
    """Whether a batch normalisation takes the statistics of its batch."""
    return name in ("batch_norm", "native_batch_norm") and len(args) > 5 and bool(args[5])


def _end_of(step: _Step | None) -> str:
    """The function at the end of a graph that may give probabilities; empty if there is none."""
    waiting, seen = [step] if step is not None else [], set[int]()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if (end := _ENDS.get(current.name.rstrip("_"))) is not None:
            return end
        if current.name == "exp":
            of_logarithm = any(_end_of(step) == "log-softmax" for step in current.inputs)
            return "softmax" if of_logarithm else "exponential"
        if current.name.rstrip("_") in _KEEPS_VALUES:
            waiting.extend(current.inputs)
    return ""
