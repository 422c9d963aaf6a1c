"""Ctrl-C, and SIGTERM, which is what job queues send first: a command ends within two seconds.

The first one raises ``KeyboardInterrupt`` in the main thread, which removes what is half done and
says how to continue. Python does that only between two of its own instructions, and a library may
compute for a minute before the next: so a thread is told as well, and ends the process when the
main thread has not. Nothing is lost by it that a kill would not lose either.
"""

import contextlib
import os
import shlex
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any, NoReturn

from ..errors import printable
from .console import leave_bars, say

INTERRUPTED = 130
PATIENCE_SECONDS = 1.8

_interrupted: list[int] = []
_said = threading.Lock()
_signals: list[socket.socket] = []
_forks = threading.local()
_before: dict[int, Any] = {}
"""What signals did until they were watched."""


def watch_interrupts() -> None:
    """Begin; only once in a process, in its main thread."""
    if _signals or threading.current_thread() is not threading.main_thread():
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    _signals.extend((ours, theirs))
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as shells have it for background jobs
            _before[number] = signal.signal(number, _interrupt)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_forget)
    threading.Thread(target=_end_if_nobody_else_does, args=(ours,), daemon=True).start()


def say_interrupted() -> None:
    """Say, once, that nothing finished is lost, and the command that goes on with it."""
    if not _said.acquire(blocking=False):
        return
    command = shlex.join([printable(word) for word in ("evaluator", *sys.argv[1:])])
    say(f"Interrupted. What was finished is kept; continue with the same command: {command}")


def leave(code: int) -> NoReturn:
    """End the process with what it printed, but without waiting for threads that compute."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Once: a second one must not interrupt the tidying up, which is short.
    if not _interrupted:
        _interrupted.append(number)
        raise KeyboardInterrupt


def _hold() -> None:
    """Keep signals waiting while a fork is on: a child's very first must find it on its own."""
    _forks.mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forks.mask)


def _forget() -> None:
    """In a forked child, whose signals would otherwise be told to its parent, and end it."""
    _take_off()
    _let_go()


def _take_off() -> None:
    if not _signals:
        return
    signal.set_wakeup_fd(-1)
    for number, action in _before.items():
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, action)
    while _signals:
        _signals.pop().close()


def _end_if_nobody_else_does(signals: socket.socket) -> None:
    wanted = {signal.SIGINT, signal.SIGTERM}
    while not wanted.intersection(signals.recv(1)):
        pass
    time.sleep(PATIENCE_SECONDS)
    try:
        leave_bars()
        say_interrupted()
    finally:
        os._exit(INTERRUPTED)
