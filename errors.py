"""The errors that a user can cause or meet, and the exit code that each one carries.

Everything here is a child of ``EvaluatorError``: its text is one line that says what was got, what
was expected and what to do next. The command line prints that line and exits with ``exit_code``;
any other exception is our own bug and keeps its traceback.
"""

import os


class EvaluatorError(Exception):
    """What a user can act on: one line of text and an exit code."""

    exit_code = 1


class InputError(EvaluatorError):
    """Something that was given to the tool is not what it needs."""


class ImageError(InputError):
    """One image cannot be read or decoded; a user may choose to go on without it."""


class UnreadError(ImageError):
    """The bytes of one image cannot be had, though others can."""


class OutputError(EvaluatorError):
    """A result could not be written."""


class UnavailableError(EvaluatorError):
    """Something that was asked for is not on this machine: a GPU, a package, a model's weights."""


class EngineUnavailableError(UnavailableError):
    """An engine or its device is not on this machine; another one may be."""


class RunMismatchError(InputError):
    """A run on disk was made under another identity than the one asked for."""


class EngineError(EvaluatorError):
    """An engine gave something that cannot be a result."""


class EngineMemoryError(EngineError):
    """An engine has no memory for a batch; a smaller one may fit."""


class ParityError(EvaluatorError):
    """An engine does not agree with its reference."""

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
    lines = str(error).strip().splitlines()
    return printable(lines[0]).rstrip(".") if lines else type(error).__name__


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
"""Runtimes raise want of memory in many words and few types. ONNX Runtime's arena says that it
failed to allocate, its CUDA provider passes on CUDA's error 2 or the status of cuBLAS or cuDNN, its
CPU provider C++'s ``bad_alloc``; PyTorch has a type for CUDA, a ``RuntimeError`` for the CPU."""


def lacks_memory(error: BaseException) -> bool:
    """Whether a runtime's exception says that there is no memory.

    Example:
        >>> lacks_memory(RuntimeError("CUDA failure 2: out of memory ; GPU=0"))
        True
        >>> lacks_memory(RuntimeError("Got invalid dimensions for input: pixels"))
        False
    """
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY)
