"""What a trust report says as a whole: order, verdict, counts of steps, and what it is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import evaluator
from evaluator.attacks.reliability import (
    CHECKS,
    HEADERS,
    Probes,
    assess_attack,
    assessment_document,
    assessment_rows,
)
from evaluator.attacks.reliability.diagnostics import percent
from evaluator.errors import InputError
from evaluator.tests.attacks.reliability.attacked import (
    EPSILON,
    SCHEMA,
    STEPS,
    Asked,
    attacked,
    attempt,
    named,
    of,
    probe,
    records,
)


def test_the_worst_comes_first_whatever_its_place_in_the_run() -> None:
    blind = attacked(changes={"zero_share": 0.9, "turned": 0.9})
    trust = assess_attack(
        Asked(), {0.01: records(attacked(changes={"turned": 0.9})), 0.02: records(blind)}
    )
    assert [(d.name, d.epsilon) for d in trust.failed] == [
        ("zero_gradient", 0.02),
        ("flat_curve", None),
        ("oscillation", 0.01),
        ("oscillation", 0.02),
    ]
    assert trust.sentence == (
        "The attack is blind: 10 % of the images stand while most of their gradient is exactly "
        "zero."
    )
    ranks = ["failed", "undecided", "passed"]
    order = [ranks.index(d.verdict) for d in trust.diagnostics]
    assert order == sorted(order)


def test_among_epsilons_the_one_furthest_beyond_its_bound_comes_first() -> None:
    few, many = range(300, 340), range(300, 380)
    tables = {
        0.001: records(attacked(changes={"turned": 0.9}, changed=few)),
        0.002: records(attacked(changes={"turned": 0.9}, changed=many)),
    }
    assert [d.epsilon for d in assess_attack(Asked(), tables).failed] == [0.002, 0.001]


def test_what_was_measured_comes_before_what_was_not() -> None:
    tables = {0.01: records(attacked(0)), 0.02: records(attacked(10))}
    late = [d for d in assess_attack(Asked(), tables).diagnostics if d.name == "late_hits"]
    assert [(d.epsilon, d.verdict) for d in late] == [(0.02, "undecided"), (0.01, "undecided")]
    assert [d.value for d in late] == [0.0, None]


def test_a_targeted_attack_is_judged_by_its_target_and_a_falling_loss() -> None:
    asked = Asked(targeted=True, success="targeted", step_size=2 / 255, relative_step=None)
    falling = {"loss": -np.minimum(np.arange(STEPS), 20.0), "target": 1, "changed_step": 1}
    rows = [
        row
        | falling
        | {"target_step": row["changed_step"], "last": 2 if row["changed_step"] else 0}
        for row in attacked()
    ]
    trust = of(records(rows), asked)
    # What left its label for another class than the target has not reached it.
    assert {d.name for d in trust.failed} == {"silent_success"}
    assert named(trust, "silent_success").value == 0.75
    assert named(trust, "incomplete_optimisation").value == 0.0
    moving = records([row | {"loss": -np.arange(STEPS)} for row in rows])
    assert named(of(moving, asked), "incomplete_optimisation").value == 0.25


def test_a_smaller_count_is_judged_by_its_own_steps() -> None:
    # 60 of 300 fall at step 10, the last of ten; 40 more at step 15.
    asked = Asked(steps=(10, 20, 50), step_size=2 / 255, relative_step=None)
    rows = [attempt(i, 10 if i < 60 else 1 + i % 9) for i in range(300)]
    rows += [attempt(i, 15) for i in range(300, 340)] + [attempt(i) for i in range(340, 400)]
    trust = of(records(rows), asked, steps=10)
    late, doubled = named(trust, "late_hits"), named(trust, "twice_the_steps")
    assert (late.value, late.verdict) == (0.2, "failed")
    assert late.sentence == "Ten steps are not enough: 20 % of first hits fall into the last step."
    assert (doubled.value, doubled.needs, doubled.verdict) == (0.1, "traces", "failed")
    assert named(trust, "incomplete_optimisation").value == 0.25
    assert named(trust, "oscillation").sentence == (
        "Undecided: it is recorded for 50 steps, not for 10 (images that stand while the steps "
        "turn back)."
    )
    assert named(of(records(rows), asked), "late_hits").verdict == "passed"


def test_a_way_that_only_rounding_makes_too_short_is_long_enough() -> None:
    # 49 steps of 2 epsilon / 49 sum up to a little less than 2 epsilon.
    epsilon, asked = 49 / 255, Asked(steps=(49,), relative_step=2.0)
    assert 49 * (2 * epsilon / 49) < 2 * epsilon
    trust = assess_attack(asked, {epsilon: records(attacked())})
    assert named(trust, "travel_budget").verdict == "passed"


def test_the_last_fifth_of_few_steps_is_what_must_rest() -> None:
    # Of 20 steps the last four: a loss that rests from iterate 15 on, the fifth from the end, does.
    resting, late = np.minimum(np.arange(20), 15), np.minimum(np.arange(20), 17)
    for loss, share in ((resting, 0.0), (late, 0.25)):
        rows = [row | {"steps": 20, "loss": loss} for row in attacked()]
        found = named(of(records(rows), Asked(steps=(20,))), "incomplete_optimisation")
        assert found.value == share


@pytest.mark.parametrize(
    ("steps", "epsilon", "verdict"),
    [(10, 0.04, "failed"), (10, 10 / 255, "passed"), (50, 0.1, "passed"), (25, 0.1, "failed")],
)
def test_the_paper_cannot_cross_its_larger_epsilons(
    steps: int, epsilon: float, verdict: str
) -> None:
    asked = Asked(steps=(steps,), step_size=2 / 255, relative_step=None)
    trust = assess_attack(asked, {epsilon: records(attacked())})
    assert named(trust, "travel_budget").verdict == verdict


@pytest.mark.parametrize(
    "table", [SCHEMA.empty_table(), records(attempt(i, 0, clean=1) for i in range(300))]
)
def test_without_an_image_that_was_right_nothing_passes_but_the_settings(table: pa.Table) -> None:
    trust = of(table)
    assert (trust.images, trust.traced, trust.verdict) == (0, 0, "undecided")
    assert {d.name for d in trust.diagnostics if d.verdict != "undecided"} == {"travel_budget"}


def test_images_that_were_wrong_or_could_not_be_read_do_not_count() -> None:
    extra = [attempt(500, 0, clean=3, turned=1.0), {"id": "broken", "label": 0, "error": "gone"}]
    trust = of(records(attacked() + extra))
    assert (trust.images, trust.traced) == (400, 400)
    assert {d.n for d in trust.diagnostics} == {0, 300, 400}


def test_the_traced_sample_is_counted_and_only_it_says_what_was_forgotten() -> None:
    rows = [row | {"traced": row["id"] < "0100"} for row in attacked()]
    stopped = [row | ({} if row["traced"] else {"last": 0}) for row in rows]
    trust = of(records(stopped))
    assert (trust.images, trust.traced) == (400, 100)
    assert (named(trust, "silent_success").n, named(trust, "silent_success").value) == (100, 0.0)


def test_one_attempt_whose_last_iterate_holds_is_enough() -> None:
    rows = [attempt(i, 3, last=0) for i in range(200)]
    rows += [attempt(i, 3, restart=1) for i in range(200)]
    assert named(of(records(rows)), "silent_success").value == 0.0


def test_a_search_that_never_ended_is_undecided_and_no_pass() -> None:
    rows = attacked(changes={"steps": 7, "loss": np.ones(7)})
    found = named(of(records(rows)), "oscillation")
    assert found.verdict == "undecided"
    assert "40 images stand without 50 recorded steps" in found.sentence


@pytest.mark.parametrize(
    ("field", "name"),
    [("turned", "oscillation"), ("at_bound", "at_bound"), ("zero_share", "zero_gradient")],
)
def test_what_was_not_measured_is_undecided_and_no_pass(field: str, name: str) -> None:
    # Steps turn back from the second one on: an attack of one step has nothing to say of it.
    found = named(of(records(attacked(changes={field: None}))), name)
    assert (found.verdict, found.value) == ("undecided", None)


def test_half_of_the_attempts_make_an_image_count() -> None:
    rows = [row | {"dead_steps": 1 - row["restart"]} for row in attacked()]
    assert named(of(records(rows)), "dead_steps").value == 0.25
    rows = [row | {"loss": np.arange(STEPS)} if row["restart"] else row for row in attacked()]
    assert named(of(records(rows)), "incomplete_optimisation").value == 0.25
    rows += [attempt(image, restart=2) for image in range(300, 400)]
    assert named(of(records(rows)), "incomplete_optimisation").value == 0.0


@pytest.mark.parametrize(
    ("field", "sound", "faulty", "name"),
    [
        ("zero_share", 0.5, 0.51, "zero_gradient"),
        ("turned", 0.33, 0.34, "oscillation"),
        ("at_bound", 0.25, 0.24, "at_bound"),
        ("gradient_norm", np.full(STEPS, 2.0**-24), np.full(STEPS, 2.0**-25), "vanishing_gradient"),
        ("gradient_norm", np.zeros(STEPS), np.full(STEPS, 1e-30), "vanishing_gradient"),
        (
            "loss",
            np.concatenate([np.linspace(0, 95, 40), np.full(10, 100.0)]),
            np.concatenate([np.linspace(0, 94, 40), np.full(10, 100.0)]),
            "incomplete_optimisation",
        ),
        ("loss", np.arange(STEPS) / 1001, np.arange(STEPS) / 999, "incomplete_optimisation"),
    ],
)
def test_an_image_is_faulty_beyond_its_own_bound(
    field: str, sound: object, faulty: object, name: str
) -> None:
    assert named(of(records(attacked(changes={field: sound}))), name).value == 0.0
    assert named(of(records(attacked(changes={field: faulty}))), name).value == 0.1


def test_one_restart_or_one_step_shows_nothing_of_more() -> None:
    assert named(of(records(attacked()), Asked(restarts=1)), "restart_gain").value is None
    one = Asked(steps=(1,))
    rows = [attempt(i, steps=1, loss=[1.0], gradient_norm=[1.0]) for i in range(200)]
    trust = of(records(rows), one)
    assert named(trust, "incomplete_optimisation").value is None
    assert "One step is too short" not in named(trust, "travel_budget").sentence


def test_what_an_earlier_restart_found_is_no_gain_of_the_last() -> None:
    rows = attacked() + [attempt(image, 4, restart=1) for image in range(300)]
    assert named(of(records(rows)), "restart_gain").value == 0.0


def test_images_that_lack_their_last_restart_leave_its_gain_open() -> None:
    found = named(of(records(attacked()), Asked(restarts=3)), "restart_gain")
    assert (found.verdict, found.value) == ("undecided", None)
    all_fell = named(of(records(attacked(400)), Asked(restarts=3)), "restart_gain")
    assert (all_fell.verdict, all_fell.value) == ("passed", 0.0)


@pytest.mark.parametrize(
    ("epsilons", "falls", "verdict"),
    [
        ((0.01, 0.02), (300, 300), "failed"),
        ((0.001, 0.002), (300, 300), "undecided"),  # too small an epsilon to expect more
        ((0.01, 0.02), (300, 303), "undecided"),
        ((0.01, 0.02), (300, 330), "passed"),
        ((0.01, 0.02), (400, 400), "passed"),  # nothing is left to fall
        ((0.01, 0.02), (397, 397), "undecided"),
    ],
)
def test_a_curve_must_fall_while_something_stands(
    epsilons: tuple[float, float], falls: tuple[int, int], verdict: str
) -> None:
    tables = {e: records(attacked(n)) for e, n in zip(epsilons, falls, strict=True)}
    assert named(assess_attack(Asked(), tables), "flat_curve").verdict == verdict


def test_epsilons_are_written_as_in_the_tables_of_numbers() -> None:
    table = records(attacked(300))
    long = assess_attack(Asked(relative_step=None, step_size=2 / 255), {0.002: table})
    trust = assess_attack(Asked(relative_step=1.0), {4 / 255: table, 8 / 255: table})
    assert {row[2] for row in assessment_rows(trust)} == {"", "4/255", "8/255"}
    assert "from 4/255 to 8/255 only" in named(trust, "flat_curve").sentence
    short = [d for d in trust.diagnostics if (d.name, d.epsilon) == ("travel_budget", 8 / 255)]
    assert "too short for epsilon 8/255: " in short[0].sentence
    assert [row[3] for row in assessment_rows(long) if row[0].startswith("how far")] == ["9,804 %"]
    enough = assess_attack(Asked(), {4 / 255: table})
    assert "that epsilon 4/255 is wide" in named(enough, "travel_budget").sentence


def test_any_smaller_epsilon_counts_against_a_larger_one() -> None:
    tables = {
        0.01: records(attacked(340)),
        0.02: records(attacked(300)),
        0.03: records(attacked(310)),
    }
    found = {
        d.epsilon: d.value
        for d in assess_attack(Asked(), tables).diagnostics
        if d.name == "smaller_epsilon"
    }
    assert found == {0.02: 0.1, 0.03: 0.075}


def test_what_cannot_be_judged_is_refused_by_name() -> None:
    table = records(attacked())
    with pytest.raises(InputError, match="no epsilon has any"):
        assess_attack(Asked(), {})
    with pytest.raises(InputError, match="lack the columns loss, turned"):
        of(table.drop_columns(["loss", "turned"]))
    with pytest.raises(InputError, match="over 50 steps cannot be assessed at 40"):
        of(table, steps=40)
    with pytest.raises(InputError, match=r"has epsilon 0.02, at which .*expected one of 0.01"):
        assess_attack(Asked(), {EPSILON: table}, Probes(noise={0.02: probe([])}))
    with pytest.raises(
        InputError, match="attack on 0300 cannot be assessed: its records should have 50 finite"
    ):
        of(records(attacked(changes={"loss": np.full(STEPS, np.nan)})))
    with pytest.raises(InputError, match="but have 0"):
        of(records(attacked(changes={"loss": None})))


def test_the_documentation_names_every_diagnostic_with_its_bound() -> None:
    page = (Path(evaluator.__file__).parent / "docs" / "protocols.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    documented = {row[1].strip(" `"): row for row in rows}
    assert [name for name in documented if name in CHECKS] == list(CHECKS)
    for name, check in CHECKS.items():
        needs, bound = documented[name][2].strip(), documented[name][4].strip()
        said = "1" if name == "travel_budget" else percent(check.bound)
        assert needs == check.needs
        assert bound.startswith(f"*below* {said}" if check.at_least else said)


def test_rows_and_document_say_the_same() -> None:
    trust = of(records(attacked(changes={"turned": 0.9})))
    rows, document = assessment_rows(trust), assessment_document(trust)
    assert json.loads(json.dumps(document)) == document
    assert [row[-1] for row in rows] == [d["verdict"] for d in document["diagnostics"]]
    assert {len(row) for row in rows} == {len(HEADERS)}
    assert rows[0] == (
        "images that stand while the steps turn back",
        *("traces", "0.01", "10 %", "7.43 % to 13.3 %", "at most 2 %", "400", "failed"),
    )
    assert document["diagnostics"][0]["value"] == pytest.approx(0.1)
    assert replace(trust, diagnostics=()).verdict == "undecided"
