"""How far a build is: nested phases as one fraction that never goes back; and interrupting it."""

import threading
from dataclasses import dataclass, field

import pytest

from evaluator.engine.build_progress import BuildProgress, watched
from evaluator.errors import EngineError


@dataclass
class Told:
    """Keeps what it is told."""

    done: list[int] = field(default_factory=list)

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        assert (step, total, unit) == ("plan", 100, "%")
        self.done.append(done)


def test_a_phase_is_part_of_a_step_of_the_one_around_it() -> None:
    build = BuildProgress()
    build.begin("whole", None, 4)
    build.step("whole", 0)
    assert build.fraction == 0.25
    build.begin("part", "whole", 2)
    build.begin("piece", "part", 5)
    build.step("piece", 3)  # 4 of 5 of half of a quarter, behind the first quarter
    assert build.fraction == pytest.approx(0.25 + 0.25 * 0.5 * 0.8)
    build.end("piece")
    build.step("part", 0)
    assert build.fraction == pytest.approx(0.25 + 0.25 * 0.5)


def test_a_phase_that_begins_anew_does_not_go_back() -> None:
    build = BuildProgress()
    build.begin("whole", None, 2)
    build.begin("part", "whole", 2)
    build.step("part", 1)
    assert build.fraction == 0.5
    build.end("part")
    build.begin("part", "whole", 2)
    build.step("part", 0)
    assert build.fraction == 0.5


def test_phases_that_do_not_fit_are_borne() -> None:
    build = BuildProgress()
    build.begin("orphan", "nobody", 0)
    assert build.step("orphan", 7)
    assert build.fraction == 1.0
    assert build.step("unknown", 0)
    build.end("unknown")


def test_a_build_that_is_stopped_is_told_so_at_its_next_step() -> None:
    build = BuildProgress()
    build.begin("whole", None, 4)
    assert build.step("whole", 0)
    build.stop()
    assert not build.step("whole", 1)


def test_what_a_build_gives_is_given_and_its_end_is_told() -> None:
    told = Told()
    assert watched(lambda state: 42, "plan", told) == 42
    assert told.done[0] == 0
    assert told.done[-1] == 100


def test_a_build_that_is_silent_is_still_shown() -> None:
    told, enough = Told(), threading.Event()

    def build(state: BuildProgress) -> int:
        assert enough.wait(60)
        return 1

    class Counting(Told):
        def advance(self, step: str, done: int, total: int, unit: str) -> None:
            super().advance(step, done, total, unit)
            if len(self.done) == 3:
                enough.set()

    told = Counting()
    watched(build, "plan", told)
    assert told.done[:3] == [0, 0, 0]


def test_an_error_of_a_build_is_raised_and_its_end_not_told() -> None:
    told = Told()

    def build(state: BuildProgress) -> int:
        raise EngineError("no such node")

    with pytest.raises(EngineError, match="no such node"):
        watched(build, "plan", told)
    assert 100 not in told.done


def test_an_interrupt_stops_the_build_and_waits_for_it() -> None:
    ended = threading.Event()

    def build(state: BuildProgress) -> int:
        state.begin("whole", None, 1_000_000)
        while state.step("whole", 0):
            threading.Event().wait(0.01)
        ended.set()
        raise EngineError("canceled")

    class Interrupting(Told):
        def note(self, text: str) -> None:
            notes.append(text)

        def advance(self, step: str, done: int, total: int, unit: str) -> None:
            if self.done:
                raise KeyboardInterrupt
            self.done.append(done)

    notes: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        watched(build, "plan", Interrupting())
    assert ended.is_set()
    assert notes == ["Interrupted: the build ends at its next step."]
