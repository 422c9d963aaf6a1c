"""From stimuli and real weights to a report: every number equals a second implementation."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evaluator
from evaluator.contracts import Bundle, Condition, Run
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.categories import CATEGORIES
from evaluator.records.reading import read_run
from evaluator.tests import second_cue_conflict as second
from evaluator.tests import second_implementation, stimuli

RULES = ("mean", "argmax")
REAL = os.environ.get("EVALUATOR_CUE_CONFLICT", "")
"""A tar of real stimuli, which are not the project's to hand out."""


def records(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_run(run, (Condition(),)).finished[Condition()].to_pylist()
    return rows


def check_records(run: Run, answers: second.Answers) -> None:
    rows = records(run)
    assert [row["id"] for row in rows] == sorted(answers, key=str.encode)
    for row in rows:
        one = answers[row["id"]]
        assert (row["shape"], row["texture"]) == (one.shape, one.texture)
        assert (row["mean"], row["argmax"]) == (one.mean, one.argmax)
        assert one.logits is not None
        softmax = second_implementation.softmax(one.logits)
        np.testing.assert_allclose(row["probability"], softmax[row["top5"]], atol=1e-5)
        # Two classes whose probabilities are equal to rounding may stand in either order.
        ranked = softmax[second_implementation.top5(one.logits)]
        np.testing.assert_allclose(softmax[row["top5"]], ranked, atol=1e-6)


def check_numbers(run: Run, answers: second.Answers) -> None:
    sets = {1200: second.standard(answers), 1201: second.papers(answers)}
    scores = evaluator.report([run.folder]).document()["scores"]
    assert len(scores) == 4 * (3 + 2 * 16)
    for score in scores:
        if score["stimuli"] == 1201 and second.LEFTOVER not in answers:
            assert score["value"] is None
            continue
        those, rule = sets[score["stimuli"]], score["rule"]
        if score["category"] is not None:
            expected = second.category_numbers(those, rule, score["category"])
            assert score["value"] == expected[score["metric"]]
        else:
            assert score["value"] == second.numbers(those, rule)[score["metric"]]
            assert score["n"] == len(those)
        assert not score["complete"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 pictures under stimuli's names, one of them twice without conflict."""
    wanted = [f"{a}2-{b}1.png" for a, b in zip(CATEGORIES, list(CATEGORIES)[::-1], strict=True)]
    wanted += [second.LEFTOVER, "dog2-dog1.png"]
    folder = tmp_path_factory.mktemp("stimuli") / "flat"
    chance = np.random.default_rng(0)
    for name in wanted:
        coarse = chance.integers(0, 256, (7, 7, 3), np.uint8)
        image = Image.fromarray(coarse).resize((224, 224), Image.Resampling.BICUBIC)
        image.save(content := io.BytesIO(), "PNG")
        stimuli.tree(folder, [name], content.getvalue(), nested=False)
    return folder


def test_flat_and_nested_trees_and_tars_give_one_run_with_the_second_implementations_numbers(
    tmp_path: Path, bundle: Bundle, made: Path
) -> None:
    nested = tmp_path / "nested"
    for file in made.iterdir():
        stimuli.tree(nested, [file.name], file.read_bytes(), nested=True)
    tar = stimuli.tar_of(nested)
    runs = [
        evaluator.score(
            "efficientnet_lite0", "cue-conflict", data, engine="onnxruntime", out=tmp_path / name
        )
        for name, data in (("a", made), ("b", nested), ("c", tar))
    ]
    network = second_implementation.efficientnet_lite0()
    answers = dict(second.answers_of_tar(network, tar))
    del answers["dog2-dog1.png"]  # neither set has it
    for run in runs:
        assert run.key == runs[0].key
        assert records(run) == records(runs[0])
    check_records(runs[0], answers)
    check_numbers(runs[0], answers)


def test_a_stimulus_of_another_size_is_named(tmp_path: Path, bundle: Bundle) -> None:
    Image.new("RGB", (225, 224)).save(content := io.BytesIO(), "PNG")
    folder = stimuli.tree(tmp_path / "data", ["car1-cat2.png"], content.getvalue(), nested=False)
    with pytest.raises(InputError, match="225x224, expected 224x224"):
        evaluator.score("efficientnet_lite0", "cue-conflict", folder, out=tmp_path / "run")


@pytest.fixture(scope="module")
def answers() -> second.Answers:
    if not REAL:
        pytest.skip("EVALUATOR_CUE_CONFLICT names no tar of real stimuli")
    return second.answers_of_tar(second_implementation.efficientnet_lite0(), Path(REAL))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_on_the_real_stimuli_every_number_equals_the_second_implementation(
    tmp_path: Path, bundle: Bundle, answers: second.Answers, engine: str
) -> None:
    run = evaluator.score(
        "efficientnet_lite0", "cue-conflict", Path(REAL), engine=engine, out=tmp_path / "run"
    )
    check_records(run, answers)
    check_numbers(run, answers)


@pytest.mark.slow
def test_on_the_real_stimuli_the_rules_disagree_about_some(answers: second.Answers) -> None:
    assert len(answers) == 160
    assert 10 < sum(one.mean != one.argmax for one in answers.values()) < 80
