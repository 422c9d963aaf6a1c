"""What is recorded of the process that makes a result: its command line and its packages."""

import shlex
import sys
from collections.abc import Iterable

from ..errors import printable


def command_line() -> str:
    """The command line of this process, as a user can repeat it."""
    return shlex.join([printable(word) for word in ("evaluator", *sys.argv[1:])])


def interruption_text() -> str:
    """The line that ends an interrupted command: how to continue."""
    return "Interrupted. Finished work is kept; continue with the same command: " + command_line()


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """The version of Python, and those of packages, by name."""
    import importlib.metadata
    import platform

    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }
