"""The command line, also as ``python -m evaluator``.

Its modules take a third of a second to import. No work has begun by then, so an interrupt prints
its line and ends the process at once.
"""

import os
import signal
from types import FrameType

from .system.provenance import interruption_text

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # shells let background jobs ignore them
            signal.signal(number, _end)
    from .cli import main as run_command

    run_command()


def _end(number: int, frame: FrameType | None) -> None:
    # Nothing is imported here: the import that was interrupted may hold the same lock.
    os.write(2, f"{interruption_text()}\n".encode("utf-8", "backslashreplace"))
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
