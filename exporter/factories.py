"""Networks that a user's own code builds: ``package.module:callable``.

The user names the code, so importing it is no remote code. It has no hash of its own: its identity
is a hash over the source files of the callable and of the network's layers, and one over the names
and shapes of the network's state. What a layer calls in other files is not seen by either.
"""

import contextlib
import hashlib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..contracts import FactoryCode, ModelSpec
from ..errors import InputError, printable, reason_of
from ..storage.digest import file_sha256
from .zoo.architectures import Build

if TYPE_CHECKING:
    from torch import nn

UNTRAINED_SEED = 1907_07640

_FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_factory(model: str) -> bool:
    """Whether these words have the form of a factory.

    Example:
        >>> is_factory("mynets.small:make"), is_factory("resnet50"), is_factory("a/b:c")
        (True, False, False)
    """
    return _FACTORY.fullmatch(model) is not None


def factory_network(factory: str) -> Build:
    """The networks that a factory builds.

    A factory that has a parameter ``crop_px`` is given the crop; others take no arguments.
    """

    def build(crop_px: int) -> "nn.Module":
        from torch import nn

        call = _found(factory)
        arguments = {"crop_px": crop_px} if "crop_px" in _parameters(call) else {}
        with _users_code(factory, "raises"):
            network = call(**arguments)
        if not isinstance(network, nn.Module):
            raise InputError(
                f"{factory} gives a {type(network).__name__}, expected a torch.nn.Module."
            )
        meta = any(value.is_meta for value in network.state_dict().values())
        return network.float() if meta else network.float().cpu()

    return build


def with_code(spec: ModelSpec, description: str) -> ModelSpec:
    """The spec of a factory's model, with what identifies its code; the network is built once.

    Raises:
        InputError: If the factory cannot be had, fails, or returns something else.
    """
    import torch

    from .tensors import tensors_sha256

    # Building draws numbers that the caller's generator must not notice. With a seed of its own:
    # weights that are drawn, and not trained, differ when the network is loaded.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        network = factory_network(spec.architecture)(spec.preprocessing.crop_px)
    weights = spec.weights
    if weights.kind == "factory":
        weights = replace(weights, sha256=tensors_sha256(network.state_dict()))
    own = code_of(spec.architecture, network, description)
    return replace(spec, weights=weights, own=own)


def code_of(factory: str, network: "nn.Module", description: str = "") -> FactoryCode:
    """What identifies the code of a factory that built this network.

    Raises:
        InputError: If the factory's source file is not there.
    """
    return FactoryCode(
        factory=factory,
        sources_sha256=_sources_sha256(factory, network),
        state_sha256=_state_sha256(network),
        description=description,
    )


def check_code(own: FactoryCode, network: "nn.Module") -> None:
    """Refuse a network that other code built than is promised.

    Raises:
        InputError: If the source files or the network's state changed.
    """
    now = code_of(own.factory, network, own.description)
    if now != own:
        what = "code" if now.sources_sha256 != own.sources_sha256 else "network"
        raise InputError(
            f"The {what} of {own.factory} is no longer the one that the model was made from. "
            "Export it again, or go back to the old code."
        )


def _found(factory: str) -> Callable[..., Any]:
    """The callable, imported."""
    name, _, path = factory.partition(":")
    with _users_code(factory, "cannot be imported:"):
        found: Any = importlib.import_module(name)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise InputError(
                f"{factory}: {_place(sys.modules[name])} has no {part}. "
                "Expected a callable that returns a torch.nn.Module."
            ) from error
    if not callable(found):
        raise InputError(
            f"{factory} is a {type(found).__name__}, expected a callable that returns a "
            "torch.nn.Module."
        )
    return found  # type: ignore[no-any-return]


def _parameters(call: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(call).parameters)
    except (TypeError, ValueError):  # of some that are written in C
        return []


@contextlib.contextmanager
def _users_code(factory: str, what: str) -> Iterator[None]:
    """Whatever the user's code raises is one line that says where; it prints to standard error."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if not _is_ours_or_torchs(frame.filename)]
        place = f" ({printable(theirs[-1].filename)}, line {theirs[-1].lineno})" if theirs else ""
        hint = ""
        if isinstance(error, ModuleNotFoundError) and not theirs:
            hint = " It is looked for in the current directory and among the installed packages."
            if ".py:" in factory:
                hint = f" Leave out .py: {factory.replace('.py:', ':')}."
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise InputError(f"{factory} {what} {reason}{place}.{hint}") from error


def _is_ours_or_torchs(filename: str) -> bool:
    """Frames that say nothing to a user: this module, the import system, PyTorch."""
    return (
        filename == __file__
        or filename.startswith("<frozen importlib")
        or Path(filename).parts[-2:] == ("importlib", "__init__.py")
        or f"{os.sep}torch{os.sep}" in filename
    )


def _place(module: ModuleType) -> str:
    return printable(getattr(module, "__file__", None) or module.__name__)


def _sources_sha256(factory: str, network: "nn.Module") -> str:
    """Over the source files of factory and layers; torch's own are left out."""
    call = inspect.unwrap(_found(factory))
    names = {factory.partition(":")[0], getattr(call, "__module__", None) or ""}
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
    lines = sorted(f"{name}\0{list(getattr(state[name], 'shape', ()))}" for name in state)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
