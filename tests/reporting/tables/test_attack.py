"""The tables of white-box attacks: what is counted, at which epsilon, beside the paper's."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from evaluator.contracts import Score
from evaluator.reporting.model_results import ModelResults
from evaluator.reporting.published.paper import published_scores
from evaluator.reporting.table import Table
from evaluator.reporting.tables.report import report_tables
from evaluator.tests.attack_scores import protocol_fields
from evaluator.tests.score_rows import score

PAPERS = "target not reached"


def attacked(protocol: str = "whitebox-1-paper", n: int = 20) -> Iterator[Score]:
    facts = {**protocol_fields(protocol), "n": n}
    yield score("whitebox", "clean_accuracy", 0.9, **facts)
    for epsilon in (0.06, 8 / 255, 0.2):
        for steps in (10, 50):
            of = {**facts, "epsilon": epsilon, "steps": steps, "restarts": 1}
            yield score("whitebox", "accuracy_under_attack", epsilon + steps / 1000, **of)
            yield score("whitebox", "label_unchanged", epsilon, **of)


def made(*scores: Score, name: str = "m", published: bool = False) -> list[Table]:
    tables = report_tables([ModelResults(name, name, scores)], all_published=published)
    return [table for table in tables if not table.title.startswith("Table 2")]


def test_every_row_says_what_is_counted_and_after_how_many_steps() -> None:
    over, along = made(*attacked())[:2]
    assert over.header == (
        "model", "what is counted", "steps", "clean %", "8/255", "0.06", "0.2",
    )  # fmt: skip
    assert over.rows == (
        ("m", PAPERS, "10", "90.0*", "4.1*", "7.0*", "21.0*"),
        ("m", "label never left", "10", "90.0*", "3.1*", "6.0*", "20.0*"),
    )
    assert along.header == ("model", "what is counted", "epsilon", "10", "50")
    assert along.rows == (
        ("m", PAPERS, "0.06", "7.0*", "11.0*"),
        ("m", "label never left", "0.06", "6.0*", "6.0*"),
    )
    assert "* not the whole benchmark: 20 of 25,000 images a condition" in over.notes


def test_a_standard_attack_has_one_count() -> None:
    (over, *_) = made(*attacked("whitebox-1-standard"))
    assert [row[1] for row in over.rows] == ["label never left, the worst case of all attempts"]


def test_a_curve_over_steps_is_of_the_largest_epsilon_where_the_papers_is_not_there() -> None:
    few = [s for s in attacked() if s.epsilon not in (0.06, 0.2)]
    more = [replace(s, epsilon=0.01) for s in few if s.epsilon]
    _, along = made(*few, *more)[:2]
    assert [row[2] for row in along.rows] == ["8/255", "8/255"]


def test_one_count_of_steps_makes_no_curve() -> None:
    titles = [table.title for table in made(*(s for s in attacked() if s.steps in (None, 10)))]
    assert [title for title in titles if "attack" in title] == [
        "White-box attack over epsilon: still right, %"
    ]


def test_the_papers_curves_stand_beside_its_models() -> None:
    _, over, along = made(*attacked(), name="resnext101_32x16d_wsl")[:3]  # after the claims
    assert over.header[4:] == ("0.01", "0.02", "8/255", "0.04", "0.06", "0.08", "0.1", "0.2")
    printed = ("67.0", "52.4", "", "43.7", "40.7", "39.6", "39.6", "")
    name = "resnext101_32x16d_wsl, as published"
    assert over.rows[-1] == (name, PAPERS, "10", "84.2", *printed)
    assert along.header[3:] == ("10", "20", "30", "40", "50")
    assert along.rows[-1] == (name, PAPERS, "0.06", "40.7", "10.2", "2.7", "0.8", "0.3")


def test_an_attack_that_is_not_the_papers_is_told_beneath_its_numbers() -> None:
    steps: dict[str, Any] = {"step_size": 2 / 225, "relative_epsilon": True}
    told = [
        [note for note in table.notes if note.startswith("m:")]
        for table in made(*(replace(s, **steps) for s in attacked(n=50_000)))[:2]
    ]
    relative = "epsilon is a share of each image's largest value"
    assert told == 2 * [
        [
            "m: unlike the paper's attack: steps of 2/225, not of 2/255; "
            f"{relative}; 50,000 images, not every second, 25,000"
        ]
    ]
    papers = (replace(s, step_size=2 / 255, relative_epsilon=False) for s in attacked())
    assert not any(note.startswith("m:") for note in made(*papers)[0].notes)
    standard = [replace(s, **steps) for s in attacked("whitebox-1-standard", n=50_000)]
    assert f"m: {relative}" in made(*standard)[0].notes


def test_more_images_than_the_papers_are_no_part_of_them() -> None:
    (over, *_) = made(*(replace(s, skipped=1) for s in attacked(n=49_999)))
    assert "* not the whole benchmark: 49,999 instead of 25,000 images a condition" in over.notes


def test_a_refused_number_has_its_reason_below() -> None:
    scores = [
        replace(s, value=None, reason="all were skipped") if s.epsilon == 0.2 else s
        for s in attacked()
    ]
    over, along = made(*scores)[:2]
    assert over.rows[0][-1] == "refused"
    assert over.notes[-1] == "m: accuracy under attack, label unchanged refused: all were skipped"
    assert not any("refused" in note for note in along.notes)


def test_without_an_attack_of_the_users_there_is_no_table() -> None:
    tables = made(score("imagenet", "top1_error", 0.2), published=True)
    assert not any("attack" in table.title for table in tables)


def test_the_published_curves_agree_with_the_papers_table_2() -> None:
    found = {
        (s.epsilon, s.steps): s.value
        for s in published_scores("resnext101_32x48d_wsl")
        if (s.benchmark, s.metric) == ("whitebox", "accuracy_under_attack")
    }
    assert len(found) == 6 + 4
    assert [round(100 * (found[0.06, steps] or 0), 1) for steps in (10, 50)] == [29.7, 0.0]
