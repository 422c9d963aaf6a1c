"""How far a build is, and stopping it.

TensorRT builds in nested phases, each with a number of steps, and tells of them from threads of its
own. The build runs in a thread, so that the caller's stays free to show what is done, also while
TensorRT says nothing, and to be interrupted.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from ..contracts import Progress

T = TypeVar("T")

TICK_SECONDS = 0.25
"""Between two looks at a build: an interrupt waits no longer than that to be heard."""


class BuildProgress:
    """The open phases of a build.

    Example:
        >>> build = BuildProgress()
        >>> build.begin("whole", None, 4)
        >>> build.begin("part", "whole", 2)
        >>> build.step("part", 0), build.fraction
        (True, 0.125)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, _Phase] = {}
        self._furthest = 0.0
        self._stopped = False

    @property
    def fraction(self) -> float:
        """How much is done; it never goes back."""
        with self._lock:
            return self._furthest

    def stop(self) -> None:
        """End the build at its next step."""
        with self._lock:
            self._stopped = True

    def begin(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase begins, inside another."""
        with self._lock:
            self._open[phase] = _Phase(parent if parent in self._open else None, max(steps, 1))

    def step(self, phase: str, step: int) -> bool:
        """A step is complete; the answer is whether to go on."""
        with self._lock:
            if phase in self._open:
                self._open[phase].done = step + 1
                self._furthest = max(self._furthest, self._fraction())
            return not self._stopped

    def end(self, phase: str) -> None:
        """A phase ends."""
        with self._lock:
            self._open.pop(phase, None)

    def _fraction(self) -> float:
        """Of the outermost phases; an inner phase is part of one step of its parent's."""
        inner: dict[str | None, float] = {}
        for name, phase in reversed(self._open.items()):  # children were begun after their parents
            share = min(1.0, (phase.done + inner.get(name, 0.0)) / phase.steps)
            inner[phase.parent] = max(inner.get(phase.parent, 0.0), share)
        return inner.get(None, 0.0)


class _Phase:
    def __init__(self, parent: str | None, steps: int) -> None:
        self.parent, self.steps, self.done = parent, steps, 0


def watched(build: Callable[[BuildProgress], T], what: str, progress: Progress) -> T:
    """Run a build in a thread, and tell how far it is.

    An interrupt stops the build at its next step, and is raised when the build has ended.
    """
    state = BuildProgress()
    progress.advance(what, 0, 100, "%")
    with ThreadPoolExecutor(1, "build") as pool:
        future = pool.submit(build, state)
        try:
            while not wait([future], TICK_SECONDS).done:
                progress.advance(what, min(99, int(100 * state.fraction)), 100, "%")
        except BaseException as error:
            state.stop()
            if isinstance(error, KeyboardInterrupt):
                progress.note("Interrupted: the build ends at its next step.")
            raise
    result = future.result()
    progress.advance(what, 100, 100, "%")
    return result
