"""The paper's Table 2: its attack and its count, and nothing else, above what it prints."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from evaluator.contracts import Score
from evaluator.reporting.model_results import ModelResults
from evaluator.reporting.published.paper import (
    printed_table,
    published_models,
    published_scores,
)
from evaluator.reporting.table import Table
from evaluator.reporting.tables.report import report_tables
from evaluator.tests.attack_scores import transfer, whitebox
from evaluator.tests.score_rows import entry, score

TOP1 = score("imagenet", "top1_error", 0.3, low=0.28, high=0.33, n=50_000, complete=True)


def table_2(*entries: ModelResults) -> Table | None:
    titles = [t for t in report_tables(entries) if t.title.startswith("Table 2")]
    return titles[0] if titles else None


def made(*entries: ModelResults) -> Table:
    table = table_2(*entries)
    assert table is not None
    return table


def without(scores: Iterable[Score], metric: str) -> list[Score]:
    return [s for s in scores if s.metric != metric]


@pytest.mark.parametrize("model", published_models())
def test_the_published_numbers_give_the_printed_digits(model: str) -> None:
    table = made(ModelResults("mine", model, tuple(published_scores(model))))
    printed = next(row for row in table.rows if row[0] == f"{model}, as printed")
    assert table.rows[0] == ("mine", *printed[1:])
    assert printed[1:] == tuple(str(value) for value in printed_table("table2").rows[model])


def test_the_users_models_come_first_then_all_rows_as_printed() -> None:
    table = made(entry(*whitebox(), *transfer()))
    title = "Table 2 of arXiv 1907.07640: Top-1 accuracy under adversarial perturbations"
    assert table.title == title
    assert table.header == (
        "model", "clean %", "black-box, 10 steps %", "white-box, 10 steps %",
        "white-box, 50 steps %",
    )  # fmt: skip
    assert table.rows[0] == ("m", "80.0", "63.0", "43.0 [42.0, 45.0]", "39.0 [38.0, 41.0]")
    assert len(table.rows) == 1 + 7
    assert table.rows[2] == ("resnext101_32x8d_wsl, as printed", "82.2", "78.3", "34.4", "0.1")
    assert table.rows[6][1:] == ("72", "", "27.9", "")
    assert table.rows[7][1:] == ("65.3", "", "55.7", "47.9")


def test_it_says_what_is_counted_and_how_the_others_were_attacked() -> None:
    notes = made(entry(*whitebox())).notes
    for words in (
        "that a target is not reached is not an accuracy against an adversary",
        "epsilon 16/255, step 1.6/255 at 10 steps and 1/255 beyond, the last iterate",
        "any misclassification counts",
        "would mean about 60",
        "ALP (InceptionV3) is of another attack",
    ):
        assert any(words in note for note in notes), words


def test_clean_is_of_the_attacks_images_else_of_the_top_1_error() -> None:
    assert made(entry(TOP1, *transfer())).rows[0][1] == "75.0"
    bare = without(transfer(), "clean_accuracy")
    assert made(entry(TOP1, *bare)).rows[0][1] == "70.0 [67.0, 72.0]"
    assert made(entry(*bare)).rows[0][1] == ""


def test_clean_accuracy_alone_makes_no_row() -> None:
    clean = score("whitebox", "clean_accuracy", 0.8, attack_protocol="paper", n=25_000)
    assert table_2(entry(TOP1, clean)) is None
    refused = [replace(s, value=None, reason="all were skipped") for s in whitebox()]
    assert table_2(entry(*refused)) is None
    table = made(entry(*whitebox()), entry(TOP1, clean, name="clean"))
    assert [row[0] for row in table.rows[:2]] == ["m", "resnext101_32x8d, as printed"]


def test_another_protocol_another_epsilon_or_more_starts_are_left_out() -> None:
    assert table_2(entry(*whitebox("standard"), *transfer("standard"))) is None
    assert table_2(entry(*whitebox(epsilons=(0.01, 0.1)))) is None
    table = made(
        entry(*whitebox()),
        entry(*whitebox("standard"), *transfer(), name="other"),
        entry(*whitebox(restarts=5), name="starts"),
    )
    assert [row[0] for row in table.rows[:3]] == ["m", "other", "resnext101_32x8d, as printed"]
    assert table.rows[1][1:] == ("75.0", "63.0", "", "")
    left_out = [note for note in table.notes if note.startswith("left out")]
    assert left_out == [
        "left out, other, white-box: it is by the protocol whitebox-1-standard, which counts "
        "otherwise",
        "left out, starts, white-box: it was made otherwise: 5 starts, not 1",
    ]


def test_another_step_or_kind_of_epsilon_is_left_out_and_told() -> None:
    papers: dict[str, Any] = {"step_size": 2 / 255, "relative_epsilon": False}
    table = made(
        entry(*whitebox(**papers), *transfer(**papers)),
        entry(*whitebox(step_size=2 / 225), name="printed"),
        entry(*transfer(relative_epsilon=True), name="relative"),
        entry(*whitebox(step_size=0.001, relative_epsilon=True, restarts=2), name="both"),
    )
    assert [row[0] for row in table.rows[:2]] == ["m", "resnext101_32x8d, as printed"]
    assert "" not in table.rows[0]
    relative = "epsilon is a share of each image's largest value"
    assert [note for note in table.notes if note.startswith("left out")] == [
        "left out, printed, white-box: it was made otherwise: steps of 2/225, not of 2/255",
        f"left out, relative, black-box: it was made otherwise: {relative}",
        "left out, both, white-box: it was made otherwise: 2 starts, not 1; steps of 0.001, not of "
        f"2/255; {relative}",
    ]


def test_more_images_than_the_papers_every_second_are_told() -> None:
    table = made(entry(*whitebox(n=50_000), *transfer()), entry(*whitebox(), name="half"))
    assert [row[0] for row in table.rows[:2]] == ["m", "half"]
    told = [note for note in table.notes if "every second" in note]
    assert told == ["m, white-box: of 50,000 images, not every second, 25,000"]


def test_an_attack_made_on_another_model_is_left_out_and_named() -> None:
    table = made(entry(*whitebox(), *transfer(source="alexnet")))
    assert table.rows[0][2] == ""
    assert "left out, m, black-box: it was made on alexnet, not on resnext50_32x4d" in table.notes


def test_a_black_box_number_stands_with_its_sources_own() -> None:
    notes = made(entry(*transfer())).notes
    assert "m: resnext50_32x4d itself is right on 5.0 % under that attack" in notes
    assert not any("warning" in note for note in notes)
    weak = made(entry(*transfer(weak=0.43))).notes
    assert any("m: warning: the attack leaves resnext50_32x4d itself right" in n for n in weak)
    unknown = made(entry(*without(transfer(), "source_accuracy"))).notes
    assert any("itself fares under that attack is not known" in note for note in unknown)
    assert not any("itself" in note for note in made(entry(*whitebox())).notes)
