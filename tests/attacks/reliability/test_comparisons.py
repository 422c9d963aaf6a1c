"""What extra runs say of an attack: image by image, each at its own epsilon and count of steps."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.attacks.reliability import CHECKS, Probes, assess_attack
from evaluator.tests.attacks.reliability.attacked import (
    EPSILON,
    Asked,
    attacked,
    attempt,
    named,
    of,
    probe,
    records,
)


def test_probes_stand_apart_from_traces() -> None:
    trust = of(records(attacked()))
    probed = [d for d in trust.diagnostics if d.needs == "probe"]
    assert all(d.value is None for d in probed)
    assert len(probed) == sum(c.needs == "probe" for c in CHECKS.values())
    own = tuple(d for d in trust.diagnostics if d.needs != "probe")
    # One epsilon makes no curve.
    assert replace(trust, diagnostics=own).verdict == "undecided"
    assert trust.sentence == ("No diagnostic failed, but 7 of 17 are undecided.")


def test_a_probe_that_lacks_an_epsilon_is_not_taken_for_both() -> None:
    tables = {e: records(attacked(n)) for e, n in ((0.01, 200), (0.02, 300))}
    trust = assess_attack(Asked(), tables, Probes(noise={0.02: probe(range(5))}))
    (missing,) = [
        d for d in trust.diagnostics if d.name == "noise_finds_more" and d.epsilon == 0.01
    ]
    assert (missing.verdict, missing.value) == ("undecided", None)


def test_the_steps_of_a_relative_step_say_nothing_of_twice_as_many() -> None:
    trust = of(records(attacked()), Asked(steps=(10, 50)), steps=10)
    assert named(trust, "twice_the_steps").value is None
    # The step is 2.5 epsilon over 50, whatever count is judged: ten travel half an epsilon.
    assert named(trust, "travel_budget").value == pytest.approx(0.25)


def test_an_attack_that_went_on_for_less_than_twice_the_steps_says_nothing_of_them() -> None:
    asked = Asked(steps=(30, 50), step_size=2 / 255, relative_step=None)
    assert named(of(records(attacked()), asked, steps=30), "twice_the_steps").value is None


def test_a_probe_of_twice_the_largest_count_answers_no_more_than_twice_a_smaller_one() -> None:
    # Of a fixed step: 20 images at step 55, 20 at step 70, of a probe of 100 steps.
    asked = Asked(steps=(30, 50), step_size=2 / 255, relative_step=None)
    longer = [row | {"steps": 100, "loss": np.arange(100.0)} for row in attacked(300)]
    standing = [row for row in longer[300:] if row["restart"] == 0]
    for row, step in zip(standing, [55] * 20 + [70] * 20, strict=False):
        row["changed_step"] = step
    probes = Probes(twice_the_steps={EPSILON: records(longer)})
    found = {
        steps: named(
            assess_attack(asked, {EPSILON: records(attacked(300))}, probes, steps=steps),
            "twice_the_steps",
        )
        for steps in asked.steps
    }
    assert {steps: d.value for steps, d in found.items()} == {30: 20 / 400, 50: 40 / 400}
    assert {d.needs for d in found.values()} == {"probe"}


def test_where_the_attack_went_on_itself_no_probe_is_asked() -> None:
    asked = Asked(steps=(10, 20, 50), step_size=2 / 255, relative_step=None)
    few = Probes(twice_the_steps={EPSILON: records(attacked(0))})
    trust = assess_attack(asked, {EPSILON: records(attacked(300))}, few, steps=10)
    assert (named(trust, "twice_the_steps").needs, named(trust, "twice_the_steps").n) == (
        "traces",
        400,
    )


@pytest.mark.parametrize(("restarts", "needs"), [(1, "traces"), (2, "probe")])
def test_several_attempts_answer_no_count_that_was_not_asked_for(restarts: int, needs: str) -> None:
    # A second start makes ten steps where the first one succeeded within 50: never twenty.
    asked = Asked(steps=(10, 50), step_size=2 / 255, relative_step=None, restarts=restarts)
    probes = Probes(twice_the_steps={EPSILON: records(attacked(300))})
    trust = assess_attack(asked, {EPSILON: records(attacked(300))}, probes, steps=10)
    assert named(trust, "twice_the_steps").needs == needs
    without = named(
        assess_attack(asked, {EPSILON: records(attacked(300))}, steps=10), "twice_the_steps"
    )
    assert (without.value is None) == (needs == "probe")


def test_without_a_bound_each_count_of_steps_is_judged_by_itself() -> None:
    # Without a bound 100 images fall at step 10, 100 at step 30.
    asked = Asked(steps=(20, 50), step_size=2 / 255, relative_step=None)
    rows = [attempt(image, 10 if image < 100 else 30) for image in range(200)]
    found = {
        steps: named(
            assess_attack(asked, {EPSILON: records(attacked())}, Probes(unbounded=records(rows)),
                     steps=steps),
            "unbounded",
        ).value
        for steps in asked.steps
    }  # fmt: skip
    assert found == {20: 0.5, 50: 0.0}


def test_noise_that_fools_as_many_as_a_blind_attack_is_as_strong() -> None:
    blind = {EPSILON: records(attacked(0))}
    found = named(
        assess_attack(Asked(), blind, Probes(noise={EPSILON: probe(range(4))})), "noise_as_strong"
    )
    assert (found.value, found.n, found.verdict) == (1.0, 4, "failed")
    neither = assess_attack(Asked(), blind, Probes(noise={EPSILON: probe([])}))
    assert named(neither, "noise_as_strong").verdict == "undecided"


def test_a_probe_of_fewer_images_is_compared_on_these() -> None:
    trust = assess_attack(
        Asked(),
        {EPSILON: records(attacked(300))},
        Probes(transfer={EPSILON: probe(range(310), images=310)}),
    )
    found = named(trust, "transfer_finds_more")
    assert (found.value, found.n) == (10 / 310, 310)
