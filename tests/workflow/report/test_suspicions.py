"""Reports on how images were prepared, and on models with too few right answers."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import evaluator
from evaluator.contracts import Condition, PreprocessingOrigin, Score, WeightsOrigin
from evaluator.errors import InputError
from evaluator.exporter.spec import model_spec
from evaluator.reporting.footnotes import united_marks
from evaluator.reporting.model_results import ModelResults
from evaluator.tests.written_runs import records_of, write_run
from evaluator.workflow.report.suspicions import accuracy_warnings
from evaluator.workflow.runs.scored_run import read_runs, resume_command

PUBLISHED = PreprocessingOrigin("Images are prepared as published.", top1=0.76)
UNKNOWN = PreprocessingOrigin()


def clean_run(folder: Path, right: int, n: int, **options: Any) -> Path:
    return write_run(
        folder,
        conditions=(Condition(),),
        records=lambda _: records_of(np.arange(n) < right),
        **options,
    )


def warnings_of(folder: Path) -> list[str]:
    return [note for note in evaluator.report(folder).notes if note.startswith("warning: ")]


@pytest.mark.parametrize(
    ("prepared", "right", "n", "words"),
    [
        (PUBLISHED, 2, 20, "which the published accuracy of 76.0 % does not allow"),
        (PUBLISHED, 60, 100, None),
        (PUBLISHED, 50, 100, "only 50 of 100 images are classified right"),
        (UNKNOWN, 50, 100, None),
        (UNKNOWN, 26, 100, None),
        (UNKNOWN, 20, 100, "which is not what trained weights give"),
        (UNKNOWN, 0, 20, "only 0 of 20 images"),
        (UNKNOWN, 0, 10, None),
    ],
)
def test_far_too_few_right_answers_are_reported_with_the_usual_causes(
    prepared: PreprocessingOrigin, right: int, n: int, words: str | None, tmp_path: Path
) -> None:
    found = warnings_of(clean_run(tmp_path / "run", right, n, prepared=prepared))
    assert len(found) == (words is not None)
    for warning in found:
        assert words is not None
        assert words in warning
        assert 'Usual causes: the order of the channels (channels = "bgr"), mean and' in warning
        assert warning.startswith("warning: resnet50: only ")


def test_random_weights_and_other_benchmarks_are_not_suspected(tmp_path: Path) -> None:
    random = WeightsOrigin("random", "seed 0")
    assert not warnings_of(clean_run(tmp_path / "a", 0, 100, weights=random, prepared=PUBLISHED))
    other = clean_run(tmp_path / "b", 0, 100, benchmark="imagenet-a", prepared=PUBLISHED)
    assert not warnings_of(other)
    generated = clean_run(tmp_path / "c", 0, 100, generated={"seed": 0}, prepared=PUBLISHED)
    assert not warnings_of(generated)
    file = WeightsOrigin("file", "/own.pth", "ab")
    assert len(warnings_of(clean_run(tmp_path / "d", 0, 100, weights=file))) == 1


def test_skipped_images_are_not_wrong_answers(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run",
        conditions=(Condition(),),
        records=lambda _: records_of(np.arange(40) < 16, skipped=range(16, 40)),
        prepared=PUBLISHED,
    )
    assert not warnings_of(run)


def test_a_report_says_how_images_were_prepared_and_marks_a_description(tmp_path: Path) -> None:
    clean_run(tmp_path / "published", 8, 10, prepared=PUBLISHED, model="resnet50")
    described = PreprocessingOrigin("Images are prepared as d.toml says.", "/d.toml")
    clean_run(tmp_path / "described", 8, 10, prepared=described, model="alexnet")
    report = evaluator.report(tmp_path)
    assert "resnet50: Images are prepared as published." in report.preprocessing
    assert "alexnet: Images are prepared as d.toml says." in report.preprocessing
    assert report.document()["preprocessing"] == list(report.preprocessing)
    text = report.markdown()
    assert "alexnet: Images are prepared as d.toml says." in text
    assert "@ images are prepared as a description says, not as published" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| alexnet |")][:1]
    assert "*@" in line
    (line,) = [line for line in text.splitlines() if line.startswith("| resnet50 |")][:1]
    assert "@" not in line


def test_two_descriptions_are_compared_with_their_mark(tmp_path: Path) -> None:
    described = PreprocessingOrigin("", "/d.toml")
    clean_run(tmp_path / "a", 8, 10)
    clean_run(tmp_path / "b", 7, 10, prepared=described, engine="b")
    compared = evaluator.compare(tmp_path / "a", tmp_path / "b")
    assert "@ images are prepared as a description says" in compared.markdown()
    assert united_marks(["^", "", "@", "^@"]) == "^@"
    assert united_marks([]) == ""


@pytest.mark.parametrize(
    ("prepared", "words"),
    [
        (PreprocessingOrigin("", test_size=True), "--test-size"),
        (PreprocessingOrigin("", description="/my d.toml"), "--description '/my d.toml'"),
    ],
)
def test_the_command_that_completes_a_run_prepares_images_alike(
    prepared: PreprocessingOrigin, words: str, tmp_path: Path
) -> None:
    clean_run(tmp_path / "run", 5, 10, prepared=prepared)
    (scored,) = read_runs([tmp_path / "run"])
    assert words in resume_command(scored)
    clean_run(tmp_path / "other", 5, 10)
    (scored,) = read_runs([tmp_path / "other"])
    assert "--test-size" not in resume_command(scored)
    assert "--description" not in resume_command(scored)


def test_an_edited_origin_is_noticed_like_any_edit(tmp_path: Path) -> None:
    folder = clean_run(tmp_path / "run", 5, 10, prepared=PUBLISHED)
    manifest = folder / "run.json"
    manifest.write_text(manifest.read_text().replace("as published", "as I like"))
    with pytest.raises(InputError, match="was edited"):
        evaluator.report(folder)


def test_the_clean_images_of_a_whitebox_attack_count_too() -> None:
    spec = replace(model_spec("resnet50"), prepared=PUBLISHED)
    run = SimpleNamespace(folder=Path("r"), manifest=SimpleNamespace(model=spec))
    attack: Any = SimpleNamespace(
        run=run, is_clean=False, key=SimpleNamespace(benchmark="whitebox")
    )
    for value, count in ((0.4, 1), (0.7, 0)):
        scores = tuple(
            Score(run="r", benchmark="whitebox", metric=metric, value=value, n=200)
            for metric in ("clean_accuracy", "accuracy_under_attack")
        )
        models = [ModelResults("m", "resnet50", scores)]
        assert len(list(accuracy_warnings(models, [attack]))) == count
