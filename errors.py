"""Errors that a user can cause or meet, each with an exit code.

All are subclasses of ``EvaluatorError``. Their text is one line that says what was given, what was
expected and what to do next. The command line prints that line and exits with ``exit_code``; any
other exception is a bug of this package and keeps its traceback.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches


class EvaluatorError(Exception):
    """An error that a user can act on: one line of text and an exit code."""

    exit_code = 1


class InputError(EvaluatorError):
    """An input is not what was expected."""


class ImageError(InputError):
    """An image cannot be read or decoded; a user may choose to skip it."""


class UnreadError(ImageError):
    """The file of an image cannot be read, though others can."""


class OutputError(EvaluatorError):
    """A file cannot be written."""


class UnavailableError(EvaluatorError):
    """Something is missing on this machine: a GPU, a package, a model's weights."""


class EngineUnavailableError(UnavailableError):
    """An engine or its device is missing on this machine; another one may be available."""


class RunMismatchError(InputError):
    """A run on disk has another identity than the requested one."""


class EngineError(EvaluatorError):
    """An engine returned something that cannot be a result."""


class EngineMemoryError(EngineError):
    """An engine is out of memory for a batch; a smaller batch may fit."""


class ParityError(EvaluatorError):
    """An engine does not agree with its reference."""

    exit_code = 3


class SelfCheckError(EvaluatorError):
    """The reference of a model does not agree with itself, or does not give logits."""

    exit_code = 3


def printable(name: str | os.PathLike[str]) -> str:
    r"""A path or name as one printable line, whatever bytes it holds.

    Example:
        >>> printable("a b/c.JPEG"), printable("two\nlines"), printable("\udcff.JPEG")
        ('a b/c.JPEG', 'two\\nlines', '\\udcff.JPEG')
    """
    text = os.fspath(name)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def reason_of(error: BaseException) -> str:
    """The first line of an exception's text, without its full stop; else its type."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = text_of(error).splitlines()
    return printable(lines[0]).rstrip(".") if lines else type(error).__name__


def text_of(error: BaseException) -> str:
    """The text of an exception; empty if it cannot be made, as the code of users may fail to."""
    try:
        return str(error).strip()
    except Exception:
        return ""


def unreadable(path: str | os.PathLike[str], error: OSError) -> InputError:
    """The error for a file that the system cannot read."""
    return InputError(f"{printable(path)} cannot be read: {reason_of(error)}.")


@contextlib.contextmanager
def reported_as(fault: str, *kinds: type[Exception], advice: str = "") -> Iterator[None]:
    """Report what is raised as an ``InputError``: the fault, the reason, and what to do.

    An ``EvaluatorError`` is raised as it is, unless it is among the kinds.

    Args:
        fault: What is wrong with which input, without a full stop.
        kinds: Exceptions to report; all if none are given, for libraries that may raise anything.
        advice: Sentence on what to do.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, kinds) if kinds else isinstance(error, EvaluatorError):
            raise
        raise InputError(f"{fault}: {reason_of(error)}. {advice}".rstrip()) from error


def did_you_mean(
    name: str, known: Iterable[str], otherwise: str, shown: Callable[[str], str] = str
) -> str:
    """The question whether a similar name was meant; ``otherwise`` if none is similar.

    Capitals do not count: a name that differs in nothing else is the only one that is asked for.

    Args:
        name: Name that the user gave.
        known: Names that exist.
        otherwise: Text if none of them is similar.
        shown: How a known name is written in the question.

    Example:
        >>> did_you_mean("resnet5", ["resnet50", "alexnet"], "See the list.", "timm:{}".format)
        'Did you mean timm:resnet50?'
        >>> did_you_mean("RESNET50", ["resnet50", "resnet50d"], "See the list.")
        'Did you mean resnet50?'
    """
    by_lower_case: dict[str, list[str]] = {}
    for other in known:
        by_lower_case.setdefault(other.lower(), []).append(other)
    lowered = name.lower()
    similar = [lowered] if lowered in by_lower_case else get_close_matches(lowered, by_lower_case)
    names = [shown(other) for key in similar for other in by_lower_case[key]]
    return f"Did you mean {' or '.join(names)}?" if names else otherwise


_NO_MEMORY = (
    "out of memory",
    "out_of_memory",
    "failed to allocate memory",
    "can't allocate memory",
    "not enough memory",
    "alloc_failed",
    "bad_alloc",
    "bad allocation",
)
"""Phrases by which runtimes report that they are out of memory; few have an exception type for it.
ONNX Runtime's arena says that it failed to allocate, its CUDA provider passes on CUDA's error 2 or
the status of cuBLAS or cuDNN, its CPU provider C++'s ``bad_alloc``; PyTorch has a type for CUDA and
raises a ``RuntimeError`` for the CPU."""


def lacks_memory(error: BaseException) -> bool:
    """Whether a runtime's exception says that it is out of memory.

    Example:
        >>> lacks_memory(RuntimeError("CUDA failure 2: out of memory ; GPU=0"))
        True
        >>> lacks_memory(RuntimeError("Got invalid dimensions for input: pixels"))
        False
    """
    text = text_of(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY)
