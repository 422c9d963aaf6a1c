"""Progress callbacks."""

import threading
from dataclasses import dataclass, field
from typing import Protocol


class Progress(Protocol):
    """Progress callback of a job; called by one thread at a time."""

    def note(self, text: str) -> None:
        """Report one line that a user should read."""

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """Report how much of a step is done; the first call of a step gives the starting point."""


@dataclass(frozen=True)
class NullProgress:
    """Progress callback that only collects the notes."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Collect the line."""
        self.notes.append(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """Do nothing."""


class ThreadSafeProgress:
    """Progress callback that several threads may call."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """Report one line."""
        with self._lock:
            self._progress.note(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """Report how much of a step is done."""
        with self._lock:
            self._progress.advance(step, done, total, unit)
