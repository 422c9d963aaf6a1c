"""From real weights and real photos to a report: every number equals a second implementation."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evaluator
from evaluator.contracts import Bundle, Run
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS, IMAGENET_C
from evaluator.records.reading import read_run
from evaluator.tests import second_implementation as second

ENGINES = ("onnxruntime", pytest.param("torch", marks=pytest.mark.slow))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@dataclass(frozen=True)
class Data:
    """Clean photos, the same ones corrupted, and how many."""

    photos: Path
    corrupted: Path
    count: int


@pytest.fixture(scope="module", params=[3, pytest.param(20, marks=pytest.mark.slow)])
def data(request: pytest.FixtureRequest) -> Data:
    """All 75 conditions of three photos, and of twenty."""
    names = ("three_photos", "three_corrupted") if request.param == 3 else ("photos", "corrupted")
    photos, corrupted = map(request.getfixturevalue, names)
    return Data(photos, corrupted, request.param)


@pytest.fixture(scope="module", params=ENGINES)
def runs(
    request: pytest.FixtureRequest, folder: Path, bundle: Bundle, data: Data
) -> tuple[Run, Run]:
    engine, out = request.param, folder / f"{request.param}-{data.count}"
    clean = evaluator.score(
        "efficientnet_lite0", "imagenet", data.photos, engine=engine, out=out / "clean"
    )
    run = evaluator.score(
        "efficientnet_lite0", "imagenet-c", data.corrupted, engine=engine, out=out / "c"
    )
    return clean, run


# Takes 10 s for three photos: 225 images in plain PyTorch. That they are the same is the claim.
@pytest.fixture(scope="module")
def expected_clean(data: Data) -> second.Results:
    network, transform = second.efficientnet_lite0(), second.clean_transform("efficientnet_lite0")
    return second.logits_of_tree(network, transform, data.photos)


@pytest.fixture(scope="module")
def expected_c(data: Data) -> dict[tuple[str, int], second.Results]:
    network = second.efficientnet_lite0()
    transform = second.stimulus_transform("efficientnet_lite0")
    return second.imagenet_c(network, transform, data.corrupted)


def values(document: dict[str, Any], metric: str) -> dict[tuple[str | None, int | None], float]:
    return {
        (score["corruption"], score["severity"]): score["value"]
        for score in document["scores"]
        if score["metric"] == metric
    }


def test_every_number_of_the_report_equals_the_second_implementation(
    runs: tuple[Run, Run],
    expected_clean: second.Results,
    expected_c: dict[tuple[str, int], second.Results],
) -> None:
    document = evaluator.report([run.folder for run in runs]).document()
    cells = {key: second.top1_error(results) for key, results in expected_c.items()}
    clean = second.top1_error(expected_clean)
    top1 = values(document, "top1_error")
    assert top1.pop((None, None)) == pytest.approx(clean, abs=1e-12)
    assert top1 == pytest.approx(cells, abs=1e-12)
    top5 = values(document, "top5_error")
    assert top5.pop((None, None)) == pytest.approx(second.top5_error(expected_clean), abs=1e-12)
    assert top5 == pytest.approx({k: second.top5_error(r) for k, r in expected_c.items()})
    assert values(document, "mean_error") == {
        (None, None): pytest.approx(second.mean_error(cells), abs=1e-9)
    }
    assert values(document, "mce") == {(None, None): pytest.approx(second.mce(cells), abs=1e-9)}
    assert values(document, "relative_mce") == {
        (None, None): pytest.approx(second.relative_mce(cells, clean), abs=1e-9)
    }
    assert values(document, "relative_ce") == {
        (c, None): pytest.approx(second.relative_ce(cells, clean, c), abs=1e-9)
        for c in second.ALEXNET
    }
    assert values(document, "ce") == {
        (c, None): pytest.approx(second.ce(cells, c), abs=1e-9) for c in second.ALEXNET
    }


def test_every_record_equals_the_second_implementation(
    runs: tuple[Run, Run], expected_c: dict[tuple[str, int], second.Results]
) -> None:
    finished = read_run(runs[1], IMAGENET_C.conditions).finished
    assert list(finished) == list(CONDITIONS)
    for condition, table in finished.items():
        expected = expected_c[str(condition["corruption"]), int(condition["severity"])]
        rows = table.to_pylist()
        assert [row["id"] for row in rows] == sorted(expected)
        for row in rows:
            label, logits = expected[row["id"]]
            assert row["label"] == label
            assert row["error"] is None
            softmax = second.softmax(logits)
            np.testing.assert_allclose(row["probability"], softmax[row["top5"]], atol=1e-5)
            # Two classes whose probabilities are equal to rounding may stand in either order.
            ranked = softmax[second.top5(logits)]
            np.testing.assert_allclose(softmax[row["top5"]], ranked, atol=1e-6)


def test_a_run_is_read_in_one_line_by_others(runs: tuple[Run, Run], data: Data) -> None:
    from pyarrow import dataset

    table = dataset.dataset(runs[1].folder / "records", partitioning="hive").to_table()
    assert table.num_rows == 75 * data.count
    assert set(table.column_names) == {
        "id", "label", "top5", "probability", "error", "corruption", "severity"
    }  # fmt: skip


def test_the_report_marks_what_it_is_not(runs: tuple[Run, Run], data: Data) -> None:
    report = evaluator.report([run.folder for run in runs])
    for score in report.scores:
        assert not score.complete
        assert score.n == data.count
        assert score.generated == (score.benchmark == "imagenet-c")
        assert score.parity in ("passed", "reference")
    text = report.markdown()
    assert f"{data.count} of 50,000 images a condition" in text
    assert "generated data, not the published benchmark" in text


def test_the_reports_json_has_the_keys_of_the_format(runs: tuple[Run, Run]) -> None:
    document = evaluator.report([runs[0].folder]).document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["schema"] == 1
    assert set(document["scores"][0]) == {
        "run", "model", "weights", "engine", "devices", "precision", "crop_px", "benchmark",
        "metric", "corruption", "perturbation", "severity", "category", "epsilon", "steps",
        "restarts", "step_size", "relative_epsilon", "source", "source_model", "protocol",
        "attack_protocol", "handed_image", "rule", "stimuli", "normalize_by", "value", "low",
        "high", "n", "skipped", "complete", "generated", "simulated", "parity", "self_check",
        "adversarial_parity", "reason",
    }  # fmt: skip


def test_provenance_says_what_ran_on_what(runs: tuple[Run, Run], data: Data) -> None:
    for made in read_run(runs[1], IMAGENET_C.conditions).provenance:
        assert made.device.name == "cpu"
        assert made.data == (str(data.corrupted),)
        assert made.parity_status == ("reference" if made.parity is None else "passed")
        assert {"python", "evaluator", "numpy", "Pillow"} <= made.versions.keys()
        assert len(made.data_sha256) == 64
        assert made.seconds > 0
        if made.parity is not None:
            assert made.parity.passed
            assert "onnxruntime" in str(made.versions)
