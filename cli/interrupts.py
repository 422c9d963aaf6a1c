"""Ctrl-C and SIGTERM, which job queues send first: a command ends within two seconds.

The first signal raises ``KeyboardInterrupt`` in the main thread, which removes half-written files
and prints how to resume. Python raises it only between two of its own instructions, and a library
may compute for a minute before the next one. So a second thread receives the signal as well, and
ends the process if the main thread has not. That loses no more than a kill would.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any, NoReturn

from ..system.provenance import interruption_text
from .console import leave_bars, say

INTERRUPTED = 130
PATIENCE_SECONDS = 1.8

_interrupted: list[int] = []
_notice = threading.Lock()
_sockets: list[socket.socket] = []
_forks = threading.local()
_DEFAULT_HANDLERS: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
"""Handlers of the signals in a process that Python has just started."""


def watch_interrupts() -> None:
    """Handle both signals from now on. Works once in a process, in its main thread."""
    if _sockets or threading.current_thread() is not threading.main_thread():
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    _sockets.extend((reader, writer))
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # shells let background jobs ignore them
            signal.signal(number, _interrupt)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_block_signals, after_in_parent=_unblock_signals, after_in_child=_reset_child
        )
    threading.Thread(target=_end_after_patience, args=(reader,), daemon=True).start()


def is_interrupted() -> bool:
    """Whether a signal came. Libraries may turn the ``KeyboardInterrupt`` into another error."""
    return bool(_interrupted)


def ignore_interrupts() -> None:
    """Ignore both signals from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def say_interrupted() -> None:
    """Print, once, that finished work is kept, and the command that resumes."""
    if _notice.acquire(blocking=False):
        say(interruption_text())


def leave(code: int) -> NoReturn:
    """Print what is buffered and end the process, without waiting for threads that compute."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Only the first: a second one would interrupt the cleanup, which is short.
    if not _interrupted:
        _interrupted.append(number)
        raise KeyboardInterrupt


def _block_signals() -> None:
    """Block signals during a fork, so that a child handles its first one by itself."""
    _forks.mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))


def _unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forks.mask)


def _reset_child() -> None:
    """In a forked child: its signals would otherwise reach the thread of its parent, and end it."""
    if _sockets:
        signal.set_wakeup_fd(-1)
        for number, action in _DEFAULT_HANDLERS.items():
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, action)
        while _sockets:
            _sockets.pop().close()
    _unblock_signals()


def _end_after_patience(signals: socket.socket) -> None:
    while not {signal.SIGINT, signal.SIGTERM}.intersection(signals.recv(1)):
        pass
    time.sleep(PATIENCE_SECONDS)
    try:
        leave_bars()
        say_interrupted()
    finally:
        os._exit(INTERRUPTED)
