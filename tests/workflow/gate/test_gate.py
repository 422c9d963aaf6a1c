"""Verdicts on written runs: limits, changes, parity, and what may not pass."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import evaluator
from evaluator.contracts import Z_95, Condition
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks import image_metrics
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.evaluate.benchmarks.numbers import count_fields
from evaluator.tests.written_runs import records_of, write_run
from evaluator.workflow.gate.gate import GateResult
from evaluator.workflow.gate.verdicts import unseen_share

CLEAN = (Condition(),)
TOP1 = '[[rule]]\nbenchmark = "imagenet"\nmetric = "top1_error"\n'
CELL = '[[rule]]\nbenchmark = "imagenet-c"\nmetric = "top1_error"\n'
PARTIAL = "allow_partial = true\n"


def check(folder: Path, runs: Path, text: str, baseline: Path | None = None) -> GateResult:
    rules = folder / "rules.toml"
    rules.write_text(text)
    result = evaluator.gate(runs, rules, baseline=baseline)
    document = result.document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    return result


def only(result: GateResult) -> tuple[str, str]:
    (outcome,) = result.outcomes
    return outcome.verdict, outcome.text


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Five of ten images are wrong: the Wilson interval is [0.2366, 0.7634]."""
    return write_run(tmp_path / "run", conditions=CLEAN)


@pytest.mark.parametrize(
    ("limit", "verdict", "code"),
    [
        ("max = 0.77", "pass", 0),
        ("max = 0.76", "undecided", 4),
        ("max = 0.24", "undecided", 4),
        ("max = 0.23", "fail", 3),
        ("min = 0.23", "pass", 0),
        ("min = 0.5", "undecided", 4),
        ("min = 0.77", "fail", 3),
        ("min = 0.23\nmax = 0.77", "pass", 0),
        ("min = 0.1\nmax = 0.2", "fail", 3),
    ],
)
def test_the_interval_decides(
    tmp_path: Path, run: Path, limit: str, verdict: str, code: int
) -> None:
    result = check(tmp_path, run, TOP1 + PARTIAL + limit)
    assert (result.verdict, result.exit_code) == (verdict, code)
    assert "resnet50 50.0 [23.7, 76.3] %, expected at " in only(result)[1]


def test_one_rule_that_fails_outweighs_one_that_is_undecided(tmp_path: Path, run: Path) -> None:
    rules = [TOP1 + PARTIAL + f"max = {limit}\n" for limit in (0.9, 0.5, 0.1)]
    result = check(tmp_path, run, "".join(rules))
    assert [o.verdict for o in result.outcomes] == ["pass", "undecided", "fail"]
    assert (result.verdict, result.exit_code) == ("fail", 3)


def test_part_of_a_benchmark_passes_only_if_the_rule_allows_it(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict, text = only(check(tmp_path, run, TOP1 + "max = 0.9"))
    assert verdict == "undecided"
    assert "not the whole benchmark (allow_partial = true accepts this)" in text
    assert only(check(tmp_path, run, TOP1 + "max = 0.1"))[0] == "fail"
    monkeypatch.setattr(image_metrics, "count_fields", lambda of, _: count_fields(of, 10))
    assert only(check(tmp_path, run, TOP1 + "max = 0.9"))[0] == "pass"


def test_a_number_without_parity_never_passes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", conditions=CLEAN, parity="not checked")
    verdict, text = only(check(tmp_path, run, TOP1 + PARTIAL + "max = 0.9"))
    assert (verdict, "parity is not proved" in text) == ("undecided", True)
    assert "accepts this" not in text
    assert only(check(tmp_path, run, "[[rule]]\nparity = true"))[0] == "fail"


def test_parity_of_a_run_that_records_no_self_check_is_undecided(tmp_path: Path, run: Path) -> None:
    verdict, text = only(check(tmp_path, run, "[[rule]]\nparity = true"))
    assert (verdict, "does not record a self-check" in text) == ("undecided", True)
    text = only(check(tmp_path, run, "[[rule]]\nparity = true\nbenchmark = 'imagenet-c'"))[1]
    assert text == "there is no such run: benchmark imagenet-c is not there: there is imagenet"


def test_every_number_that_is_selected_is_checked(tmp_path: Path) -> None:
    def records(condition: Condition) -> pa.Table:
        return records_of(np.arange(10) < (0 if condition["severity"] == 5 else 10))

    run = write_run(tmp_path / "run", records=records)
    result = check(tmp_path, run, CELL + PARTIAL + "max = 0.5")
    verdict, text = only(result)
    assert verdict == "fail"
    assert "severity=5 100.0 [72.2, 100.0] %" in text
    assert text.endswith("(15 of 75 fail)")
    assert len(result.document()["rules"][0]["checks"]) == 75
    assert only(check(tmp_path, run, CELL + PARTIAL + "severity = [1, 4]\nmax = 0.5"))[0] == "pass"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (TOP1, "benchmark imagenet is not there: there is imagenet-c"),
        (CELL.replace("top1_error", "top1_eror"), "no metric top1_eror: Did you mean top1_error"),
        (CELL + "severity = 6\n", "severity 6 is not there: there is 1, 2, 3, 4, 5"),
        (CELL + "severity = [1, 6]\n", "severity 6 is not there"),
        (CELL + "epsilon = 0.1\n", "these numbers have no epsilon"),
        (CELL + "model = 'alexnet'\n", "model alexnet is not there: there is resnet50"),
    ],
)
def test_a_rule_without_a_number_fails_and_says_what_there_is(
    tmp_path: Path, rule: str, text: str
) -> None:
    run = write_run(tmp_path / "run")
    result = check(tmp_path, run, rule + PARTIAL + "max = 1")
    assert result.exit_code == 3
    assert text in only(result)[1]


def test_each_model_must_have_the_number(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a", conditions=CLEAN)
    write_run(tmp_path / "runs" / "b", model="alexnet")
    verdict, text = only(check(tmp_path, tmp_path / "runs", TOP1 + PARTIAL + "max = 1"))
    assert (verdict, text.partition(":")[0]) == ("fail", "alexnet has no such number")
    rule = TOP1 + PARTIAL + "model = 'resnet50'\nmax = 1"
    assert only(check(tmp_path, tmp_path / "runs", rule))[0] == "pass"


def test_an_unfinished_run_is_refused_or_does_not_pass(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", conditions=CONDITIONS[:5], right=10)
    mce = '[[rule]]\nmetric = "mce"\nmax = 1\n'
    verdict, text = only(check(tmp_path, run, mce + PARTIAL))
    assert (verdict, "resnet50 is refused: " in text) == ("fail", True)
    verdict, text = only(check(tmp_path, run, CELL + "max = 1"))
    assert (verdict, "lacks 70 of 75 conditions" in text) == ("undecided", True)
    one = CONDITIONS[0]
    cell = f"corruption = '{one['corruption']}'\nseverity = {one['severity']}\nmax = 1"
    assert "lacks" not in only(check(tmp_path, run, CELL + cell))[1]


def test_a_run_without_records_fails_every_rule(tmp_path: Path, run: Path) -> None:
    (part,) = run.rglob("*.parquet")
    part.unlink()
    result = check(tmp_path, run, TOP1 + "max = 1\n[[rule]]\nparity = true")
    texts = [outcome.text for outcome in result.outcomes]
    assert texts == ["resnet50 has no such number: it has none", f"{run}: nothing is finished yet"]
    assert result.exit_code == 3
    assert "nothing is finished yet" in result.notes[0]


def write_pair(folder: Path, right: int, **more: Any) -> tuple[Path, Path]:
    """Baseline with five of ten images right, and another model."""
    a = write_run(folder / "a", conditions=CLEAN)
    return a, write_run(folder / "b", conditions=CLEAN, model="alexnet", right=right, **more)


def test_a_change_is_decided_by_its_paired_interval(tmp_path: Path) -> None:
    a, b = write_pair(tmp_path, 2)
    # Scores 1 1 1 and seven 0: mean 0.3, variance 10/9 * 0.21.
    high = 0.3 + Z_95 * (0.21 / 9) ** 0.5
    for limit, verdict in ((high + 0.001, "pass"), (high - 0.001, "undecided"), (0.0, "fail")):
        found, text = only(check(tmp_path, b, TOP1 + PARTIAL + f"max_increase = {limit}", a))
        assert found == verdict
        assert text.startswith("alexnet +30.0 [+0.1, +59.9] %, expected at most ")
    assert only(check(tmp_path, b, TOP1 + PARTIAL + "max_decrease = 0.1", a))[0] == "pass"
    assert only(check(tmp_path, a, TOP1 + PARTIAL + "max_decrease = 0.1", b))[0] == "undecided"
    assert only(check(tmp_path, b, TOP1 + "max_increase = 0.9", a))[0] == "undecided"


def test_no_difference_on_few_images_does_not_prove_that_there_is_none(tmp_path: Path) -> None:
    a, b = write_pair(tmp_path, 5)
    bound = unseen_share(10)
    assert bound == pytest.approx(0.3085, abs=1e-4)
    for limit, verdict in ((bound + 0.001, "pass"), (bound - 0.001, "undecided")):
        found, text = only(check(tmp_path, b, TOP1 + PARTIAL + f"max_increase = {limit}", a))
        assert found == verdict
        assert "right on the same images, so that it is within -30.8 % to +30.8 %" in text


def test_other_bytes_under_the_same_names_do_not_pass(tmp_path: Path) -> None:
    a, b = write_pair(tmp_path, 9, data_sha256="0" * 64)
    verdict, text = only(check(tmp_path, b, TOP1 + PARTIAL + "max_increase = 0.9", a))
    assert verdict == "undecided"
    assert "the baseline and the run read different files of ImageNet validation" in text


def test_other_images_and_other_baselines_are_refused(tmp_path: Path) -> None:
    a, b = write_pair(tmp_path, 5)
    rule = TOP1 + PARTIAL + "max_increase = 0.1"
    other = write_run(
        tmp_path / "c", conditions=CLEAN, records=lambda _: records_of(np.ones(10) > 0, (), ".png")
    )
    with pytest.raises(InputError, match=r"b \(B\) cannot be compared with the baseline \(A\): "):
        check(tmp_path, b, rule, other)
    with pytest.raises(InputError, match="is the run that the rules are checked on"):
        check(tmp_path, a, rule, a)
    with pytest.raises(InputError, match="none is not a folder"):
        check(tmp_path, a, rule, tmp_path / "none")
    with pytest.raises(InputError, match=r"needs a baseline: give --baseline RUN, or baseline in"):
        check(tmp_path, a, rule)
    corrupted = write_run(tmp_path / "corrupted")
    assert only(check(tmp_path, a, rule, corrupted)) == (
        "fail",
        "resnet50 has no such difference from the baseline: it has none",
    )


def test_baselines_of_rules_and_of_the_file_are_beside_it(tmp_path: Path) -> None:
    write_pair(tmp_path, 5)
    write_run(tmp_path / "c", conditions=CLEAN, model="vgg16", right=2)
    rule = TOP1 + PARTIAL + "max_increase = 0.9\n"
    text = f"baseline = 'a'\n{rule}{rule}name = 'from c'\nbaseline = 'c'\n"
    result = check(tmp_path, tmp_path / "b", text)
    assert [o.text.partition(" %")[0] for o in result.outcomes] == [
        "alexnet +0.0",
        "alexnet -30.0 [-59.9, -0.1]",
    ]
    # The option replaces that of the file, and a baseline among the runs is left out.
    result = check(tmp_path, tmp_path, text.replace("'c'", "'a'"), tmp_path / "c")
    assert [len(outcome.checks) for outcome in result.outcomes] == [2, 2]


def test_each_model_must_have_the_difference(tmp_path: Path) -> None:
    a, _ = write_pair(tmp_path, 5)
    write_run(tmp_path / "c", model="vgg16")
    verdict, text = only(check(tmp_path, tmp_path, TOP1 + PARTIAL + "max_increase = 0.9", a))
    assert (verdict, text.partition(" (")[0]) == (
        "fail",
        "vgg16 has no such difference from the baseline: it has none",
    )


def test_a_baseline_that_no_rule_uses_is_noted(tmp_path: Path) -> None:
    a, b = write_pair(tmp_path, 5)
    result = check(tmp_path, b, TOP1 + PARTIAL + "max = 1", a)
    assert "the baseline is not used" in result.notes[-1]
