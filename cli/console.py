"""Output for people: tables on standard output, progress and notes on standard error."""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO, cast

from ..errors import OutputError, reason_of
from ..reporting.table import Table
from ..storage.atomic import atomic_write_bytes, check_place

if TYPE_CHECKING:
    from rich.progress import TaskID

PLAIN_SECONDS = 5.0
"""Time between two lines of progress if standard error is not a terminal."""

WIDE_COLUMNS = 200
"""Width of tables if standard output is not a terminal."""


class TerminalProgress:
    """A bar for each step, with its rate and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._steps: dict[str, tuple[TaskID, _Rate]] = {}

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        with suppress(OSError):  # the terminal was closed
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """Move the bar of a step, and remove it at the end of the step."""
        if step not in self._steps:
            task = self._bars.add_task(step, total=total, completed=done, rate="")
            self._steps[step] = (task, _Rate(done))
        task, rate = self._steps[step]
        self._bars.update(task, completed=done, rate=rate.text(done, unit))
        if done >= total:
            self._bars.remove_task(task)
            del self._steps[step]

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


class PlainProgress:
    """Lines of progress a few seconds apart, for logs and pipes."""

    def __init__(self) -> None:
        self._rates: dict[str, _Rate] = {}
        self._ended: set[str] = set()
        self._last = 0.0

    def note(self, text: str) -> None:
        """Print a line."""
        say(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """Print a line at the end of a step, and else if the last line is some seconds old."""
        if done < total:
            self._ended.discard(step)
        elif step in self._ended:
            return
        rate = self._rates.setdefault(step, _Rate(done))
        now = time.monotonic()
        if done < total and now - self._last < PLAIN_SECONDS:
            return
        self._last = now
        if done >= total:  # a later step of this name measures its own rate
            self._ended.add(step)
            del self._rates[step]
        left = rate.seconds_left(done, total)
        ending = f", {left:.0f} s left" if left else ""
        self.note(f"{step}: {done:,} of {total:,} {unit} {rate.text(done, unit)}{ending}".rstrip())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Rate:
    """Work per second since the first call, without the work done before it."""

    def __init__(self, done: int) -> None:
        self._first, self._since = done, time.monotonic()

    def per_second(self, done: int) -> float:
        return (done - self._first) / max(time.monotonic() - self._since, 1e-6)

    def text(self, done: int, unit: str) -> str:
        return f"{self.per_second(done):.3g} {unit}/s" if done > self._first else ""

    def seconds_left(self, done: int, total: int) -> float | None:
        rate = self.per_second(done)
        return (total - done) / rate if rate > 0 and done < total else None


def say(text: str) -> None:
    """Print a line on standard error; failing to print it never stops a job."""
    with suppress(OSError, ValueError, AttributeError):  # closed, or on a full disk
        try:
            number = sys.stderr.fileno()
        except (OSError, ValueError):  # not a file, as in tests
            print(text, file=sys.stderr, flush=True)
            return
        # Python's buffers would fail a second time when the process ends.
        sys.stderr.flush()
        encoding = sys.stderr.encoding or "utf-8"  # rich's replacement has none
        os.write(number, f"{text}\n".encode(encoding, "backslashreplace"))


def leave_bars() -> None:
    """Clear the line of a terminal and show its cursor, for bars that were not stopped."""
    with suppress(OSError, ValueError, AttributeError):
        if os.isatty(number := sys.stderr.fileno()):
            os.write(number, b"\r\x1b[K\x1b[?25h")


@contextmanager
def checked_stdout() -> Iterator[None]:
    """Check that all of standard output is written when the block ends.

    Raises:
        OutputError: If it cannot be written, for example on a full disk.
        SystemExit: If its reader has closed the pipe. Like other tools, we then end silently.
    """
    stream = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (None if it is closed)
    checked = _Stdout(stream)
    sys.stdout = cast(TextIO, checked)
    try:
        yield
    finally:
        sys.stdout = stream
        checked.flush()


class _Stdout:
    """Standard output, with errors that can be told from those of other files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failure: OutputError | SystemExit | None = None

    def write(self, text: str) -> int:
        with self._failures():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._failures():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            if self._failure is not None:  # a library may have caught it
                raise self._failure
            yield
        except OSError as error:
            # The buffered rest would fail a second time when the process ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self._failure = OutputError(
                f"Standard output cannot be written: {reason_of(error)}. Redirect it elsewhere."
            )
            if isinstance(error, BrokenPipeError):
                self._failure = SystemExit(1)
            raise self._failure from error


@contextmanager
def progress() -> "Iterator[TerminalProgress | PlainProgress]":
    """Bars if standard error is a terminal, lines if not.

    What is printed in the block goes to standard error, also by the code of a user's network and by
    libraries: standard output is for results.
    """
    display = TerminalProgress() if sys.stderr.isatty() else PlainProgress()
    with _stdout_to_stderr(), display:
        yield display


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send to standard error what Python, C code and other processes print in the block."""
    numbers = None
    with suppress(AttributeError, OSError, ValueError):  # not files, as in tests
        numbers = sys.__stdout__.fileno(), sys.stderr.fileno()  # type: ignore[union-attr]
    sys.stdout.flush()
    with redirect_stdout(sys.stderr), ExitStack() as opened:
        if numbers is not None:
            stream = os.dup(numbers[0])
            opened.callback(os.close, stream)
            opened.callback(os.dup2, stream, numbers[0])
            os.dup2(numbers[1], numbers[0])
        yield


def is_stdout(path: Path | None) -> bool:
    """Whether a path means standard output: ``-``, or for example ``/dev/stdout``."""
    if path is None or str(path) == "-":
        return path is not None
    try:
        return os.path.samestat(os.stat(path), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # no such file yet, or standard output is not a file
        return False


def check_outputs(*paths: Path | None) -> None:
    """Check before the work that its results can be written.

    Raises:
        OutputError: If a path cannot be written, or several mean standard output.
    """
    if sum(is_stdout(path) for path in paths) > 1:
        raise OutputError("Only one result can go to standard output. Give a file for the other.")
    for path in paths:
        if path is not None and not is_stdout(path):
            check_place(path)


def show(tables: Iterable[Table], *files: tuple[Path | None, Any]) -> None:
    """Print tables, unless a file is standard output, and write the files.

    Args:
        tables: Tables to print.
        files: Path of each file, ``None`` if it is not given, and its content: a text, or a
            document that is written as JSON. ``-`` is standard output.

    Raises:
        OutputError: If a file cannot be written.
    """
    if not any(is_stdout(path) for path, _ in files):
        print_tables(tables)
    for path, content in files:
        if path is None:
            continue
        text = content
        if not isinstance(content, str):
            text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        if is_stdout(path):
            sys.stdout.write(text)
        else:
            atomic_write_bytes(path, text.encode())


def print_tables(tables: Iterable[Table]) -> None:
    """Print tables with their notes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else WIDE_COLUMNS)
    for table in tables:
        grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
        for position, name in enumerate(table.header):
            grid.add_column(Text(name), justify="left" if position in table.words else "right")
        for row in table.rows:
            grid.add_row(*(Text(cell) for cell in row))
        console.print(Text(table.title, style="bold"))
        console.print(grid)
        for note in table.notes:
            console.print(Text(note), soft_wrap=True)
        console.print()
