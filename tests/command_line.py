"""The command line, called in this process: what it prints, and its exit code.

A command starts in a tenth of the time that a process of its own takes. ``run_process`` is for
tests of what only a process has: signals, closed or full streams, ``/dev/stdout``, its start.
"""

import importlib
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

Done = subprocess.CompletedProcess[str]


def run(*words: str | Path, cwd: Path | None = None) -> Done:
    """Run ``evaluator WORDS`` in this process, and leave the process as it was."""
    from evaluator.cli import app

    command = ["evaluator", *map(str, words)]
    stdout, stderr = _stream("strict"), _stream("backslashreplace")
    with _process_as_it_was(cwd), redirect_stdout(stdout), redirect_stderr(stderr):
        sys.argv = command
        code = _exit_code(app)
    return Done(command, code, _text(stdout), _text(stderr))


def run_process(
    *words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
) -> Done:
    """The same in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "evaluator", *map(str, words)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        cwd=cwd,
        env=env,
        check=False,
    )


def error_of(done: Done, code: int = 1) -> str:
    """The one line of an error."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == lines[0]
    return lines[0].removeprefix("error: ")


def _exit_code(app: Any) -> int:
    try:
        app(prog_name="evaluator")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


@contextmanager
def _process_as_it_was(cwd: Path | None) -> Iterator[None]:
    """Undo what a command may change: where it is, its words, and what it can import."""
    folder, argv, path = os.getcwd(), sys.argv, list(sys.path)
    environment, modules = dict(os.environ), set(sys.modules)
    if cwd is not None:
        os.chdir(cwd)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.chdir(folder)
        sys.argv = argv
        sys.path[:] = path
        _restore_environment(environment)
        for name in set(sys.modules) - modules:
            if cwd is not None and _lies_in(sys.modules[name], cwd):
                del sys.modules[name]
        importlib.invalidate_caches()


def _restore_environment(environment: dict[str, str]) -> None:
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def _lies_in(module: Any, folder: Path) -> bool:
    """Whether it is a user's own, which another command may have under the same name."""
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(folder.resolve())


def _stream(errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    content = stream.buffer.getvalue()  # type: ignore[attr-defined]
    text: str = content.decode("utf-8", "surrogateescape")
    return text
