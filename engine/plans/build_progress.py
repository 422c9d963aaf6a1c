"""Progress of a build: nested phases, each with a number of steps, as one fraction."""

import threading


class BuildProgress:
    """The open phases of a build, which TensorRT may report from threads of its own.

    Example:
        >>> build = BuildProgress()
        >>> build.begin("whole", None, 4)
        >>> build.begin("part", "whole", 2)
        >>> build.step("part", 0)
        >>> build.fraction
        0.125
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, _Phase] = {}
        self._furthest = 0.0

    @property
    def fraction(self) -> float:
        """Fraction of the steps that are done; it never decreases."""
        with self._lock:
            return self._furthest

    def begin(self, phase: str, parent: str | None, steps: int) -> None:
        """Begin a phase inside another."""
        with self._lock:
            self._open[phase] = _Phase(parent if parent in self._open else None, max(steps, 1))

    def step(self, phase: str, step: int) -> None:
        """Complete a step."""
        with self._lock:
            if phase in self._open:
                self._open[phase].done = step + 1
                self._furthest = max(self._furthest, self._fraction())

    def end(self, phase: str) -> None:
        """End a phase."""
        with self._lock:
            self._open.pop(phase, None)

    def _fraction(self) -> float:
        """Fraction of the outermost phases; an inner phase is part of one step of its parent."""
        inner: dict[str | None, float] = {}
        for name, phase in reversed(self._open.items()):  # children were begun after their parents
            share = min(1.0, (phase.done + inner.get(name, 0.0)) / phase.steps)
            inner[phase.parent] = max(inner.get(phase.parent, 0.0), share)
        return inner.get(None, 0.0)


class _Phase:
    def __init__(self, parent: str | None, steps: int) -> None:
        self.parent, self.steps, self.done = parent, steps, 0
