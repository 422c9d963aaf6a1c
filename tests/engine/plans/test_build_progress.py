"""How far a build is: nested phases as one fraction that never goes back."""

import pytest

from evaluator.engine.plans.build_progress import BuildProgress


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
    build.step("orphan", 7)
    assert build.fraction == 1.0
    build.step("unknown", 0)
    build.end("unknown")
    assert build.fraction == 1.0
