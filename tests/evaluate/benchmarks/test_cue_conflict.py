"""Cue conflict: names, trees, records, and what records add up to."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from evaluator.contracts import Condition, Difference, Item, NullProgress, Score
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.categories import CATEGORIES
from evaluator.evaluate.benchmarks.cue_conflict import CUE_CONFLICT, SCHEMA, attributes
from evaluator.evaluate.sources.open_source import open_source
from evaluator.tests import second_cue_conflict as second
from evaluator.tests import stimuli
from evaluator.tests.score_rows import differences_by, scores_by
from evaluator.tests.second_implementation import top5
from evaluator.tests.written_runs import batch_of

CLEAN = Condition()
RULES = ("mean", "argmax")
NUMBERS = ("shape_bias", "decided", "frac_correct")


def ids_of(data: Path) -> list[str]:
    source = open_source([data], [CLEAN], progress=NullProgress(), layout=CUE_CONFLICT.layout)
    return [item.id for item in source.items(CLEAN)]


def logits(n: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(seed).normal(size=(n, 1000)) * 3).astype(np.float32)


def recorded(ids: list[str], rows: npt.NDArray[np.float32], skip: tuple[str, ...] = ()) -> pa.Table:
    """Records as the scoring loop writes them, some of them skipped."""
    items = [Item(id, None, id, attributes(id)) for id in ids]
    table = pa.Table.from_batches([CUE_CONFLICT.record(rows, batch_of(items))])
    written = table.to_pylist()
    for row in written:
        if row["id"] in skip:
            row |= dict.fromkeys(("mean", "argmax", "top5", "probability"), None)
            row["error"] = "it is broken"
    return pa.Table.from_pylist(written, SCHEMA)


@cache
def texture_seer(there: int, seed: int) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Stimuli, and the logits of a model that sees the texture in half of them."""
    ids = sorted(stimuli.names(there))
    return ids, biased(ids, seed)


@cache
def decided_in_loops(there: int, seed: int) -> dict[str, second.Answer]:
    return {id: second.answer(id, row) for id, row in zip(*texture_seer(there, seed), strict=True)}


def answers(there: int, seed: int, skip: tuple[str, ...] = ()) -> dict[str, second.Answer]:
    return {
        id: replace(one, mean=None, argmax=None) if id in skip else one
        for id, one in decided_in_loops(there, seed).items()
    }


def scores_of(table: pa.Table | None) -> list[Score]:
    return scores_by(CUE_CONFLICT, {} if table is None else {CLEAN: table})


def biased(ids: list[str], seed: int) -> npt.NDArray[np.float32]:
    """Logits that see the texture in half of the stimuli and the shape in some."""
    rows = logits(len(ids), seed)
    chance = np.random.default_rng(seed).random(len(ids))
    for id, row, draw in zip(ids, rows, chance, strict=True):
        says = dict(attributes(id))
        seen = "texture" if draw < 0.5 else "shape" if draw < 0.7 else None
        if seen:
            row[CATEGORIES[says[seen]][0]] += 15
    return rows


def test_a_name_says_shape_and_texture_and_their_exemplars() -> None:
    assert attributes("bear10-clock3.png") == (
        ("shape", "bear"),
        ("texture", "clock"),
        ("shape_exemplar", "bear10"),
        ("texture_exemplar", "clock3"),
    )


@pytest.mark.parametrize(
    "name",
    [
        "hello.png", "bear10.png", "bear-clock3.png", "bear10-clock3.jpg", "bear10-clock3.PNG",
        "bear10-tree3.png", "fox1-clock3.png", "bear10-clock3 copy.png", "bear10-clock3.png.png",
        "Bear10-clock3.png", "bear\u0661-clock3.png", "bear10-clock3.png\n",
    ],
)  # fmt: skip
def test_another_name_is_refused_with_what_was_expected(name: str) -> None:
    with pytest.raises(InputError, match="Expected one like airplane1-bicycle2"):
        attributes(name)


FORMS = ("flat", "nested", "flat tar", "nested tar")


@pytest.mark.parametrize(
    ("form", "there", "scored"),
    [
        *((form, 1280, 1201) for form in FORMS),
        *(("flat", there, there) for there in (1200, 1201)),
        *(
            pytest.param(form, there, there, marks=pytest.mark.slow)
            for form in FORMS[1:]
            for there in (1200, 1201)
        ),
    ],
)
def test_all_trees_and_forms_give_the_same_stimuli(
    tmp_path: Path, form: str, there: int, scored: int
) -> None:
    folder = stimuli.tree(tmp_path / "data", stimuli.names(there), nested="nested" in form)
    found = ids_of(stimuli.tar_of(folder) if "tar" in form else folder)
    assert found == sorted(stimuli.names(scored), key=str.encode)
    assert found.index("airplane10-bear2.png") < found.index("airplane2-bear1.png")


@pytest.mark.parametrize(
    ("place", "words", "tar"),
    [
        ("bear/car1-cat2.png", "but its name says car", False),
        ("bear/car1-cat2.png", "but its name says car", True),
        ("bear/bear1.png", "Expected one like", False),
        ("hello.png", "Expected one like", False),
        ("car/car2-cat1.png", "exists twice", False),
        ("car/car2-cat1.png", "exists twice", True),
    ],
)
def test_a_misplaced_or_misnamed_file_is_named(
    tmp_path: Path, place: str, words: str, tar: bool
) -> None:
    folder = tmp_path / "data"
    for name in ("car2-cat1.png", place):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    with pytest.raises(InputError, match=words) as error:
        ids_of(stimuli.tar_of(folder) if tar else folder)
    assert place in str(error.value)


def test_a_record_holds_both_decisions_and_the_top5_of_all_classes() -> None:
    ids, rows = stimuli.names()[:60], logits(60)
    for row, one, drawn in zip(recorded(ids, rows).to_pylist(), ids, rows, strict=True):
        expected = second.answer(one, drawn)
        assert row["id"] == one
        assert (row["label"], row["error"]) == (None, None)
        assert (row["shape"], row["texture"]) == (expected.shape, expected.texture)
        assert (row["mean"], row["argmax"]) == (expected.mean, expected.argmax)
        assert row["top5"] == top5(drawn)


@pytest.mark.parametrize("skip", [(), ("airplane2-bear1.png", "clock6-dog3.png")])
@pytest.mark.parametrize("there", [1200, 1201])
def test_every_number_equals_the_second_implementation(there: int, skip: tuple[str, ...]) -> None:
    ids, rows = texture_seer(there, 1)
    found = answers(there, 1, skip)
    scores = scores_of(recorded(ids, rows, skip))
    sets = {1200: second.standard(found), 1201: second.papers(found)}
    checked = 0
    for score in scores:
        assert score.rule is not None
        assert score.stimuli is not None
        if score.stimuli == 1201 and there == 1200:
            assert score.value is None
            assert "bicycle6-bicycle3.png is not there" in str(score.reason)
            continue
        those = sets[score.stimuli]
        if score.category is None:
            assert score.value == second.numbers(those, score.rule)[score.metric]
            assert (score.n, score.skipped) == (score.stimuli - len(skip), len(skip))
        else:
            expected = second.category_numbers(those, score.rule, score.category)
            assert score.value == expected[score.metric]
            of_it = [one for one in those if one.shape == score.category]
            assert score.n + score.skipped == len(of_it)
        assert score.complete == (not skip)
        assert score.value is None or score.low is not None
        checked += 1
    assert checked == (2 if there == 1200 else 4) * (3 + 2 * 16)


def test_the_default_rule_and_set_come_first() -> None:
    scores = scores_of(recorded(["car1-cat2.png"], logits(1)))
    first = [(s.metric, s.rule, s.stimuli) for s in scores[:12]]
    assert first == [(m, rule, n) for rule in RULES for n in (1200, 1201) for m in NUMBERS]
    assert [s.metric for s in scores[12:]] == ["category_shape_bias", "category_decided"] * 64
    assert [s.category for s in scores[12:44:2]] == sorted(CATEGORIES)


def test_the_image_that_was_left_in_is_one_image_and_right_twice() -> None:
    ids = [second.LEFTOVER, "car1-cat2.png"]
    rows = logits(2)
    rows[0, CATEGORIES["bicycle"][0]] = rows[1, CATEGORIES["dog"][0]] = 60
    by = {
        (s.metric, s.rule, s.stimuli): s for s in scores_of(recorded(ids, rows)) if not s.category
    }
    for rule in RULES:
        assert by["decided", rule, 1201].value == 1 / 2
        assert by["frac_correct", rule, 1201].value == 2 / 2
        assert by["shape_bias", rule, 1201].value == 1 / 2
        assert by["decided", rule, 1200].value == 0
        assert by["shape_bias", rule, 1200].value is None
        assert "no image was decided" in str(by["shape_bias", rule, 1200].reason)


def test_the_image_that_was_left_in_may_have_been_skipped() -> None:
    ids = [second.LEFTOVER, "car1-cat2.png"]
    score = scores_of(recorded(ids, logits(2), (second.LEFTOVER,)))[4]
    assert (score.metric, score.stimuli, score.n, score.skipped) == ("decided", 1201, 1, 1)
    assert score.reason is None


def test_1200_of_1201_stimuli_are_the_whole_standard_set_and_not_the_papers() -> None:
    ids, rows = texture_seer(1201, 1)
    for skipped, whole in ((second.LEFTOVER, {1200}), (ids[0], set())):
        scores = scores_of(recorded(ids, rows, (skipped,)))
        assert {s.n for s in scores if s.stimuli == 1201 and not s.category} == {1200}
        assert {s.stimuli for s in scores if s.complete} == whole


def test_without_records_or_images_every_number_is_refused() -> None:
    for table, reason in ((None, "not finished"), (skipped_whole(), "every image was skipped")):
        for score in scores_of(table):
            assert score.value is None
            assert reason in str(score.reason) or "is not there" in str(score.reason)


def skipped_whole() -> pa.Table:
    return recorded(["car1-cat2.png"], logits(1), ("car1-cat2.png",))


def differences_of(a: pa.Table, b: pa.Table) -> list[Difference]:
    return list(differences_by(CUE_CONFLICT, {CLEAN: a}, {CLEAN: b}))


def test_differences_are_over_the_stimuli_that_both_scored() -> None:
    skip_a, skip_b = ("airplane2-bear1.png",), ("clock6-dog3.png", "airplane2-bear1.png")
    (ids, rows_a), (_, rows_b) = texture_seer(1201, 1), texture_seer(1201, 2)
    found = differences_of(recorded(ids, rows_a, skip_a), recorded(ids, rows_b, skip_b))
    both = answers(1201, 1, skip_a + skip_b), answers(1201, 2, skip_a + skip_b)
    assert len(found) == 12
    for one in found:
        assert one.rule is not None
        pick = second.standard if one.stimuli == 1200 else second.papers
        a, b = (second.numbers(pick(answers), one.rule)[one.metric] for answers in both)
        assert (one.a, one.b) == (a, b)
        assert one.difference == pytest.approx(b - a)
        assert one.low is not None
        assert one.high is not None
        assert one.low < b - a < one.high
        assert (one.n, one.skipped, one.complete) == (int(one.stimuli or 0) - 2, 2, False)


def test_the_interval_of_a_difference_is_of_b_less_a() -> None:
    # B sees every shape, A half of the textures: far apart, so the sign is no matter of chance.
    ids, of_a = texture_seer(1201, 1)
    of_b = logits(len(ids), 3)
    for id, row in zip(ids, of_b, strict=True):
        row[CATEGORIES[dict(attributes(id))["shape"]][0]] += 30
    a, b = recorded(ids, of_a), recorded(ids, of_b)
    for one, turned in zip(differences_of(a, b), differences_of(b, a), strict=True):
        assert one.difference is not None
        assert 0 < (one.low or 0) < one.difference < (one.high or 0)
        assert (turned.low, turned.high) == pytest.approx((-(one.high or 0), -(one.low or 0)))


def test_a_model_does_not_differ_from_itself() -> None:
    ids, rows = texture_seer(1200, 1)
    for one in differences_of(recorded(ids, rows), recorded(ids, rows)):
        if one.stimuli == 1200:
            assert (one.difference, one.low, one.high) == (0, None, None)
            assert one.complete
        else:
            assert one.difference is None
            assert "is not there" in str(one.reason)


def test_other_stimuli_are_not_paired() -> None:
    one, other = (recorded([id], logits(1)) for id in ("car1-cat2.png", "car1-cat3.png"))
    with pytest.raises(InputError, match="not of the same images"):
        differences_of(one, other)


def test_an_unfinished_run_has_no_differences() -> None:
    table = recorded(["car1-cat2.png"], logits(1))
    found = list(differences_by(CUE_CONFLICT, {CLEAN: table}, {}))
    assert len(found) == 12
    assert all(one.difference is None and "not finished" in str(one.reason) for one in found)
