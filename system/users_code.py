"""What the code of a network raises, as one line.

Networks of users and of libraries may raise anything, wherever their code runs: when a network is
built, in a forward pass, in a backward pass. The line has the exception and its place in the user's
file, and what to do if the network only fails on several images at once.
"""

import contextlib
import sysconfig
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from ..errors import (
    EngineMemoryError,
    EvaluatorError,
    InputError,
    lacks_memory,
    printable,
    reason_of,
    text_of,
)

T = TypeVar("T")

SINGLE_IMAGES = "score it with --engine torch --batch-size 1"
"""What to do with a network that only takes single images, where exports and parity fail."""

ONE_AT_A_TIME = "add --batch-size 1"
"""The same where a batch of one image is enough."""

LONGEST_REASON = 400
"""Characters of an exception's text that are shown: PyTorch lists names by the hundred."""

_INTERNAL = ("evaluator", "torch", "importlib", "_frozen_importlib", "contextlib")
"""Packages whose lines tell a user nothing: this one, PyTorch and the import system."""

_names: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def users_code(name: str, failure: str = "raises") -> Iterator[None]:
    """Report what the code of a network raises as one line.

    Args:
        name: Name of the model.
        failure: Verb between the name and the exception.

    Raises:
        InputError: If the code raises an exception.
        EngineMemoryError: If the exception says that memory is missing.
    """
    try:
        yield
    except (EvaluatorError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if lacks_memory(error):
            raise EngineMemoryError(f"{name} is out of memory: {reason_of(error)}.") from error
        raise InputError(f"{name} {failure} {exception_text(error)}.") from error


@contextlib.contextmanager
def network_code(
    network: Callable[[Any], Any], images: Any, advice: str = SINGLE_IMAGES
) -> Iterator[None]:
    """Report what a network raises on a batch as one line; see ``named``.

    An exception that says that memory is missing is raised as it is.

    Args:
        network: Network whose code runs in the block.
        images: Batch that it is given there.
        advice: What to do if it only fails on several images.

    Raises:
        InputError: If the code raises any other exception.
    """
    try:
        yield
    except (EvaluatorError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if lacks_memory(error):
            raise
        text = f"{name_of(network)} raises {exception_text(error)}"
        if len(images) > 1 and not _runs(network, images) and _runs(network, images[:1]):
            text = f"{text} on {len(images)} images, but not on one: {advice}"
        raise InputError(f"{text}.") from error


def reporting(network: T, name: str) -> Callable[[Any], Any]:
    """A network as a function of a batch, which reports what the network raises as one line."""
    call: Any = named(network, name)

    def report(images: Any) -> Any:
        with network_code(call, images):
            logits = call(images)
        check_logits(call, images, logits)
        return logits

    return report


def check_logits(network: object, images: Any, logits: Any) -> None:
    """Refuse what a network gives for a batch if it is not one row of logits for each image.

    Raises:
        InputError: If it is anything else.
    """
    shape = list(getattr(logits, "shape", ())) or type(logits).__name__
    if not isinstance(shape, list) or len(shape) != 2 or shape[0] != len(images):
        raise InputError(
            f"{name_of(network)} gives {shape} for {len(images)} images, expected logits "
            f"[{len(images)}, classes]."
        )


def named(network: T, name: str) -> T:
    """The same network, with the name by which errors call it."""
    _names[network] = name
    return network


def name_of(network: object) -> str:
    """Name of a network in errors."""
    return _names.get(network, "The network")


def exception_text(error: BaseException) -> str:
    """An exception with its type, its reason and its place in the user's code, if it has one."""
    place = place_in_users_code(error)
    return f"{type(error).__name__}: {_reason(error)}{f' ({place})' if place else ''}"


def _reason(error: BaseException) -> str:
    """The line of an exception's text that has its reason."""
    lines = [line.strip() for line in text_of(error).splitlines() if line.strip()]
    if len(lines) < 2 or isinstance(error, OSError):
        return reason_of(error)
    if lines[0].startswith("The following operation failed in the TorchScript interpreter"):
        return _shortened(lines[-1])
    # PyTorch lists the faults of a state below a heading.
    return _shortened(" ".join(lines[:2]) if lines[0].endswith(":") else lines[0])


def _shortened(text: str) -> str:
    text = printable(text).rstrip(".")
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."


def place_in_users_code(error: BaseException) -> str | None:
    """File and line of the user's code that an exception comes from; `None` if there is none.

    That is the innermost line outside installed packages, or else the innermost one of a package
    that is not PyTorch.
    """
    lines = [
        (frame.f_code.co_filename, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if not _is_internal(frame)
    ]
    if not lines:
        return None
    own = [line for line in lines if not _is_installed(line[0])]
    path, number = (own or lines)[-1]
    return f"{printable(path)}, line {number}"


def _runs(network: Callable[[Any], Any], images: Any) -> bool:
    try:
        network(images)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False
    return True


def _is_internal(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] in _INTERNAL and not module.startswith("evaluator.tests.")


def _is_installed(filename: str) -> bool:
    """Whether a file belongs to Python or an installed package, or is code that torch.fx made."""
    if filename.startswith("<eval_with_key>"):
        return True
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return any(Path(filename).is_relative_to(sysconfig.get_path(name)) for name in names)
