"""The tables of transferred attacks: never without what they did to their source."""

from dataclasses import replace

import pytest

from evaluator.contracts import Score
from evaluator.reporting.model_results import ModelResults
from evaluator.reporting.published.paper import (
    printed_table,
    published_models,
    published_scores,
)
from evaluator.reporting.table import Table
from evaluator.reporting.tables.attack import WEAK
from evaluator.reporting.tables.report import report_tables
from evaluator.tests.attack_scores import PAPERS_SOURCE, transfer
from evaluator.tests.score_rows import entry, score

RIGHT, BOTH = "right on the transferred image", "right with and without the attack"
ITSELF = "resnext50_32x4d itself"
NOT_REACHED = "under its own attack: target not reached"


def made(*entries: ModelResults, published: bool = False) -> list[Table]:
    tables = report_tables(entries, all_published=published)
    return [table for table in tables if table.title.startswith("Attack transferred")]


def warnings(table: Table) -> list[str]:
    return [note for note in table.notes if "warning" in note]


def test_beneath_each_model_stands_what_the_attack_made_of_its_source() -> None:
    (table,) = made(entry(*transfer()), entry(*transfer(weak=0.02), name="other"))
    assert table.title == "Attack transferred from resnext50_32x4d over epsilon: still right, %"
    assert table.header == ("model", "what is counted", "steps", "clean %", "0.01", "0.06")
    assert table.rows == (
        ("m", RIGHT, "10", "75.0", "68.0", "63.0"),
        ("m", BOTH, "10", "75.0", "58.0", "53.0"),
        (ITSELF, NOT_REACHED, "10", "77.0", "5.0", "5.0"),
        ("other", RIGHT, "10", "75.0", "68.0", "63.0"),
        ("other", BOTH, "10", "75.0", "58.0", "53.0"),
        (ITSELF, NOT_REACHED, "10", "77.0", "2.0", "2.0"),
    )
    assert any("the clean image is classified" in note for note in table.notes)


def test_several_counts_of_steps_have_a_table_at_the_papers_epsilon_or_the_largest() -> None:
    few = entry(*transfer(steps=(10, 50), epsilons=(8 / 255, 0.05)), name="few")
    over, along = made(entry(*transfer(steps=(10, 50), epsilons=(0.06, 0.1))), few)
    assert {row[2] for row in over.rows} == {"10"}
    assert along.title == "Attack transferred from resnext50_32x4d over steps: still right, %"
    assert along.header == ("model", "what is counted", "epsilon", "10", "50")
    assert along.rows == (
        ("m", RIGHT, "0.06", "63.0", "59.0"),
        ("m", BOTH, "0.06", "53.0", "49.0"),
        (ITSELF, NOT_REACHED, "0.06", "5.0", "5.0"),
        ("few", RIGHT, "0.05", "64.0", "60.0"),
        ("few", BOTH, "0.05", "54.0", "50.0"),
        (ITSELF, NOT_REACHED, "0.05", "5.0", "5.0"),
    )


def test_each_source_has_a_table_of_its_own() -> None:
    one, other = made(
        entry(*transfer()), entry(*transfer(source="alexnet", weak=0.03), name="other")
    )
    assert "from resnext50_32x4d over" in one.title
    assert "from alexnet over" in other.title
    assert [row[0] for row in other.rows] == ["other", "other", "alexnet itself"]
    assert other.rows[-1][4:] == ("3.0", "3.0")
    both = entry(*transfer(), *transfer(source="alexnet", steps=(5,), epsilons=(0.02,)))
    one, other = made(both)
    assert [(t.header[4:], t.rows[0][2]) for t in (one, other)] == [
        (("0.01", "0.06"), "10"),
        (("0.02",), "5"),
    ]


def test_a_source_that_the_attack_does_not_fool_is_warned_of() -> None:
    weak = [
        replace(s, value=0.43) if (s.metric, s.epsilon) == ("source_accuracy", 0.01) else s
        for s in transfer()
    ]
    (table,) = made(entry(*weak), entry(*weak, name="other"))
    assert warnings(table) == [
        "m, other: warning: the attack leaves resnext50_32x4d itself right on 43.0 % of the images "
        "at epsilon 0.01 (10 steps) (the paper's source: below 10 % at epsilon 0.01): what does "
        "not fool its source cannot be expected to fool another model"
    ]


@pytest.mark.parametrize(("weak", "warned"), [(WEAK, False), (0.1001, True), (0.0, False)])
def test_the_warning_begins_above_10_percent(weak: float, warned: bool) -> None:
    for table in made(entry(*transfer(weak=weak, steps=(10, 50)))):
        assert bool(warnings(table)) == warned


def test_a_source_of_which_nothing_is_known_is_told_as_such() -> None:
    without = [s for s in transfer() if not s.metric.startswith("source")]
    (table,) = made(entry(*without))
    assert table.rows[-1] == (ITSELF, NOT_REACHED, "10", *["not known"] * 3)


def test_by_the_standard_protocol_it_is_the_label_that_the_source_leaves() -> None:
    (table,) = made(entry(*transfer("standard", n=20, complete=False)))
    assert table.rows[-1][1] == "under its own attack: label never left"
    assert table.rows[0][4:] == ("68.0*", "63.0*")
    assert not any("the clean image is classified" in note for note in table.notes)
    assert "* not the whole benchmark: 20 of 50,000 images a condition" in table.notes


def test_the_papers_numbers_stand_beside_those_from_its_source_only() -> None:
    model = "resnext101_32x48d_wsl"
    (table,) = made(ModelResults("mine", model, tuple(transfer())))
    assert table.header[4:] == ("0.01", "0.02", "0.04", "0.06", "0.08", "0.1")
    printed = ("84.6", "83.6", "82.9", "82.6", "82.1", "81.5")
    assert table.rows[-1] == (f"{model}, as published", RIGHT, "10", "85.4", *printed)
    assert any("fewer than 10 % at epsilon 0.01" in note for note in table.notes)
    (other,) = made(ModelResults("mine", model, tuple(transfer(source="alexnet"))), published=True)
    assert not any("published" in row[0] for row in other.rows)


def test_a_refused_number_has_its_reason_below() -> None:
    refused = [replace(s, value=None, reason="all were skipped") for s in transfer()]
    (table,) = made(entry(*refused))
    assert table.rows[0][3:] == ("refused",) * 3
    assert any("accuracy under attack" in n and "all were skipped" in n for n in table.notes)


def test_a_source_is_marked_by_its_own_crop_and_not_by_the_engine_that_it_did_not_run_on() -> None:
    scores = tuple(transfer(parity="not checked"))
    (table,) = made(
        ModelResults("m", "m", scores, "^"), ModelResults("other", "other", scores, "", "^")
    )
    assert table.rows[0][4:] == ("68.0!^", "63.0!^")
    assert table.rows[2][3:] == ("77.0", "5.0", "5.0")
    assert table.rows[3][4:] == ("68.0!", "63.0!")
    assert table.rows[5][3:] == ("77.0^", "5.0^", "5.0^")


def test_an_engine_that_was_not_checked_on_adversarial_images_is_marked() -> None:
    for words in ("not checked", "failed", "passed, not checked"):
        (table,) = made(entry(*transfer(adversarial_parity=words)))
        assert table.rows[0][4:] == ("68.0!", "63.0!")
    (table,) = made(entry(*transfer(adversarial_parity="passed")))
    assert table.rows[0][4:] == ("68.0", "63.0")


def test_what_ran_says_that_engines_agreed_on_adversarial_images() -> None:
    for found, words in ((None, "parity passed, "), ("passed", "adversarial images passed, ")):
        ran = report_tables([entry(*transfer(adversarial_parity=found))])[-1]
        assert ran.title == "What ran"
        assert words in ran.rows[0][1]
        assert ("adversarial" in ran.rows[0][1]) == (found is not None)


def test_a_transferred_attack_that_is_not_the_papers_is_told() -> None:
    (table,) = made(
        entry(*transfer(step_size=2 / 255)),
        entry(*transfer("last-paper", step_size=0.01), name="last"),
    )
    assert [note for note in table.notes if "unlike the paper's" in note] == [
        "last: unlike the paper's attack: steps of 0.01, not of 2/255; the last iterate is handed "
        "on, whether or not the target was reached"
    ]


def test_without_a_transferred_attack_there_is_no_table() -> None:
    assert made(entry(score("imagenet", "top1_error", 0.2)), published=True) == []


@pytest.mark.parametrize("model", published_models())
def test_the_published_numbers_are_the_papers_black_box_ones(model: str) -> None:
    found: list[Score] = [s for s in published_scores(model) if s.benchmark == "transfer"]
    clean, *under = found
    assert (clean.metric, clean.epsilon, clean.steps) == ("clean_accuracy", None, None)
    assert [s.epsilon for s in under] == [0.01, 0.02, 0.04, 0.06, 0.08, 0.1]
    for one in under:
        assert (one.metric, one.steps, one.restarts) == ("accuracy_under_attack", 10, 1)
    for one in found:
        assert (one.source_model, one.protocol) == (PAPERS_SOURCE, "transfer-1-paper")
        assert (one.n, one.complete) == (50_000, True)
    printed = printed_table("table2").rows[model]
    assert [round(100 * (s.value or 0), 1) for s in (clean, under[3])] == list(printed[:2])
