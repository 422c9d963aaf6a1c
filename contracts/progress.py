"""How a job tells what it does."""

import threading
from dataclasses import dataclass, field
from typing import Protocol


class Progress(Protocol):
    """How a job tells what it does; called by one thread at a time."""

    def note(self, text: str) -> None:
        """One line that a user should read."""

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """So much of a step is done; the first call of a step gives its starting point."""


@dataclass(frozen=True)
class NullProgress:
    """Progress that nobody listens to."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep the line."""
        self.notes.append(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """Say nothing."""


class ThreadSafeProgress:
    """Progress that several threads may tell."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """Pass the line on."""
        with self._lock:
            self._progress.note(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """Pass it on."""
        with self._lock:
            self._progress.advance(step, done, total, unit)
