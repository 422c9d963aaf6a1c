"""Networks that a user's own code builds: ``package.module:callable``.

The user names the code, so importing it runs nothing remote. Code has no hash of its own: its
identity is a hash over the source files of the callable and of the network's layers, and one over
the names and shapes of the network's state. Neither covers what a layer calls in other files.
"""

import contextlib
import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import FactoryCode, ModelSpec
from ..errors import InputError, printable
from ..storage.digest import file_sha256
from ..system.users_code import place_in_users_code, users_code
from .tensors import tensors_sha256, uninitialised_names
from .wrappers import unwrapped
from .zoo.rows import Build

if TYPE_CHECKING:
    from torch import nn

UNTRAINED_SEED = 1907_07640

_FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_factory(name: str) -> bool:
    """Whether a model's name has the form of a factory.

    Example:
        >>> is_factory("mynets.small:make"), is_factory("resnet50"), is_factory("a/b:c")
        (True, False, False)
    """
    return _FACTORY.fullmatch(name) is not None


def factory_network(factory: str) -> Build:
    """The builder of a factory's networks.

    A factory with a parameter ``crop_px`` is given the crop; others get no arguments.
    """

    def build(crop_px: int) -> "nn.Module":
        from torch import nn

        function = _imported(factory)
        arguments = {"crop_px": crop_px} if "crop_px" in _parameters(function) else {}
        with _factory_code(factory, "raises"):
            network = function(**arguments)
        if not isinstance(network, nn.Module):
            raise InputError(
                f"{factory} gives a {type(network).__name__}, expected a torch.nn.Module."
            )
        with _factory_code(factory, "gives a network that raises"):
            network = unwrapped(network, factory)
            _leave_inference_mode(network)
            state = network.state_dict()
            meta = any(getattr(value, "is_meta", False) for value in state.values())
            return network.float() if meta else network.float().cpu()

    return build


def _leave_inference_mode(network: "nn.Module") -> None:
    """Replace tensors that were made in inference mode, which gradients cannot pass."""
    from torch import nn
    from torch.nn.parameter import is_lazy

    copies: dict[int, nn.Parameter] = {}  # tied parameters stay tied
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if not is_lazy(parameter) and parameter.is_inference():
                copy = nn.Parameter(parameter.clone(), requires_grad=False)
                setattr(module, name, copies.setdefault(id(parameter), copy))
        for name, buffer in list(module.named_buffers(recurse=False)):
            if not is_lazy(buffer) and buffer.is_inference():
                setattr(module, name, buffer.clone())


def with_factory_code(spec: ModelSpec, description: str) -> ModelSpec:
    """The spec of a factory's model with the hashes of its code; builds the network once.

    Raises:
        InputError: If the factory cannot be imported, fails, or returns something else.
    """
    import torch

    # Building draws random numbers; the caller's generator must not change. With this seed weights
    # that are drawn, and not trained, differ from those at loading, which refuses them.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        network = factory_network(spec.architecture)(spec.preprocessing.crop_px)
    weights = spec.weights
    _refuse_without_numbers(spec.architecture, network, has_file=weights.kind == "file")
    if weights.kind == "factory":
        weights = replace(weights, sha256=tensors_sha256(network.state_dict()))
    own = factory_code(spec.architecture, network, description)
    return replace(spec, weights=weights, own=own)


def _refuse_without_numbers(factory: str, network: "nn.Module", *, has_file: bool) -> None:
    """Refuse a network some of whose tensors hold no numbers.

    A checkpoint gives lazy layers their shape.
    """
    state = network.state_dict()
    if any(getattr(value, "is_meta", False) for value in state.values()):
        raise InputError(
            f"{factory} gives a network on the device meta, whose tensors hold no numbers. Build "
            "it on the CPU."
        )
    names = uninitialised_names(state)
    if names and not has_file:
        raise InputError(
            f"{factory} has layers that have no shape before the first image ({names[0]}): run it "
            "once on an image in the factory, or give a checkpoint with --weights FILE."
        )


def factory_code(factory: str, network: "nn.Module", description: str = "") -> FactoryCode:
    """Hashes of a factory's code and of the network that it built.

    Raises:
        InputError: If a source file is missing.
    """
    return FactoryCode(
        factory=factory,
        sources_sha256=_sources_sha256(factory, network),
        state_sha256=_state_sha256(network),
        description=description,
    )


def check_code(own: FactoryCode, network: "nn.Module") -> None:
    """Refuse a network whose code changed.

    Raises:
        InputError: If the source files or the network's state changed.
    """
    code = factory_code(own.factory, network, own.description)
    if code != own:
        part = "code" if code.sources_sha256 != own.sources_sha256 else "network"
        raise InputError(
            f"The {part} of {own.factory} is no longer the one that the model was made from. "
            "Export it again, or restore the old code."
        )


def _imported(factory: str) -> Callable[..., Any]:
    name, _, path = factory.partition(":")
    with _factory_code(factory, "cannot be imported:"):
        value: Any = importlib.import_module(name)
    module = sys.modules[name]
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            raise InputError(
                f"{factory}: {printable(getattr(module, '__file__', None) or name)} has no {part}. "
                "Expected a callable that returns a torch.nn.Module."
            ) from error
    if not callable(value):
        raise InputError(
            f"{factory} is a {type(value).__name__}, expected a callable that returns a "
            "torch.nn.Module."
        )
    return value  # type: ignore[no-any-return]


def _parameters(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # for some callables that are written in C
        return []


@contextlib.contextmanager
def _factory_code(factory: str, failure: str) -> Iterator[None]:
    """Report what the factory's code raises as one line; what it prints goes to standard error.

    If it switches gradients off, that ends with it.
    """
    import torch

    gradients = torch.set_grad_enabled(torch.is_grad_enabled())
    try:
        with (
            contextlib.redirect_stdout(sys.stderr),
            users_code(factory, failure),
            gradients,
        ):
            yield
    except InputError as error:
        cause = error.__cause__
        if not isinstance(cause, ModuleNotFoundError) or place_in_users_code(cause):
            raise
        hint = " Python searches the current directory and the installed packages."
        if ".py:" in factory:
            hint = f" Omit .py: {factory.replace('.py:', ':')}."
        raise InputError(f"{error}{hint}") from cause


def _sources_sha256(factory: str, network: "nn.Module") -> str:
    """SHA-256 over the source files of factory and layers, without PyTorch's."""
    function = inspect.unwrap(_imported(factory))
    names = {factory.partition(":")[0], getattr(function, "__module__", None) or ""}
    names |= {type(module).__module__ for module in network.modules()}
    digest = hashlib.sha256()
    for name in sorted(name for name in names if name and name.partition(".")[0] != "torch"):
        source = getattr(sys.modules.get(name), "__file__", None)
        if source is None or not Path(source).is_file():
            raise InputError(
                f"{factory} cannot be identified: the module {name} has no source file. "
                "Expected the network's code in files that can be imported."
            )
        digest.update(f"{name}\0{file_sha256(Path(source))}\0".encode())
    return digest.hexdigest()


def _state_sha256(network: "nn.Module") -> str:
    state = network.state_dict()
    shapeless = uninitialised_names(state)
    shapes = {
        name: "unknown" if name in shapeless else list(getattr(value, "shape", ()))
        for name, value in state.items()
    }
    lines = sorted(f"{name}\0{shape}" for name, shape in shapes.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
