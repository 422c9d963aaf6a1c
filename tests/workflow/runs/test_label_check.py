"""Labels that seem to count from 1 are told, and only these."""

import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

import evaluator
from evaluator.contracts import NullProgress, Run
from evaluator.evaluate.classes import wnids
from evaluator.records.reading import read_run
from evaluator.tests import whitebox_runs
from evaluator.tests.small import small_row
from evaluator.tests.small_bundle import small_bundle
from evaluator.tests.tiny_tree import tiny_tree
from evaluator.workflow.runs.attack_scores import benchmark_of
from evaluator.workflow.runs.label_check import suspicion

COUNT = 15


def texts(right: int, one_lower: int, images: int) -> str | None:
    """What is said where so many predictions are the label, and so many the class below it."""
    labels = np.full(images, 500)
    predicted = np.full(images, 7)
    predicted[:right] = 500
    predicted[right : right + one_lower] = 499
    return suspicion(predicted, labels, "LIST")


@pytest.mark.parametrize(
    ("right", "one_lower", "images"), [(0, 18, 20), (0, 2, 5), (1, 40, 60), (900, 30_000, 50_000)]
)
def test_classes_one_lower_are_evidence(right: int, one_lower: int, images: int) -> None:
    text = texts(right, one_lower, images)
    assert text is not None
    assert f"{right:,} of {images:,} images are right by the class indices of LIST" in text
    assert f"{one_lower:,} would be if these count from 1" in text


@pytest.mark.parametrize(
    ("right", "one_lower", "images"),
    [
        *((18, 0, 20), (1, 3, 20), (40_000, 2000, 50_000), (0, 0, 5), (0, 1, 9), (0, 0, 0)),
        *((0, 0, 20), (50, 50, 50_000)),  # another fault; by chance
    ],
)
def test_usual_results_and_few_images_say_nothing(right: int, one_lower: int, images: int) -> None:
    assert texts(right, one_lower, images) is None


# ------------------------------------------------------------------------ on every path


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    folder = tmp_path / "flat"
    folder.mkdir()
    for number, path in enumerate(sorted(tiny_tree(tmp_path / "tree", COUNT).rglob("*.JPEG"))):
        noise = random.Random(number).randbytes(9)
        (folder / f"{number:02}.JPEG").write_bytes(path.read_bytes() + noise)
    return folder


def listed(path: Path, classes: Mapping[str, object]) -> Path:
    path.write_text("".join(f"{name} {index}\n" for name, index in classes.items()))
    return path


def rows(run: Run) -> dict[str, int]:
    (table,) = read_run(run, benchmark_of(run).conditions).finished.values()
    return {row["id"].partition("/")[2]: row["top5"][0] for row in table.to_pylist()}


@pytest.fixture
def score(tmp_path: Path, flat: Path) -> Callable[[Path, str], tuple[Run, list[str]]]:
    bundle = str(small_bundle(tmp_path / "bundle").folder)

    def scored(labels: Path, out: str) -> tuple[Run, list[str]]:
        heard = NullProgress()
        run = evaluator.score(
            bundle, "imagenet", flat, labels=labels, out=tmp_path / out, engine="onnxruntime",
            device="cpu", parity=False, progress=heard,
        )  # fmt: skip
        return run, [note for note in heard.notes if note.startswith("warning")]

    return scored


def test_a_list_that_counts_from_one_is_told(
    tmp_path: Path, flat: Path, score: Callable[[Path, str], tuple[Run, list[str]]]
) -> None:
    names = sorted(path.name for path in flat.iterdir())
    run, told = score(listed(tmp_path / "any.txt", dict.fromkeys(names, 900)), "any")
    assert told == []
    predicted = rows(run)
    assert score(listed(tmp_path / "right.txt", predicted), "right")[1] == []
    from_one = {name: index + 1 for name, index in predicted.items()}
    for _ in range(2):  # also where the run is finished
        _, (note,) = score(listed(tmp_path / "from-one.txt", from_one), "from-one")
        assert note.startswith(f"warning: 0 of {COUNT} images are right by the class indices of")
        assert f"from-one.txt, but {COUNT} would be if these count from 1." in note
    ids = {name: wnids()[index + 1] for name, index in predicted.items()}
    assert score(listed(tmp_path / "ids.txt", ids), "ids")[1] == []  # no index could be meant


def test_an_attack_tells_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = whitebox_runs.network_of(small_row(monkeypatch)), whitebox_runs.images_seen()
    tree = whitebox_runs.labelled_tree(network, images, tmp_path / "tree")
    (tmp_path / "flat").mkdir()
    for path in tree.rglob("*.jpg"):
        shutil.copy(path, tmp_path / "flat")
    wrong = {name: (int(network(image).argmax()) + 1) % 1000 for name, image in images.items()}
    heard = NullProgress()
    labels = listed(tmp_path / "list", wrong)
    whitebox_runs.attack(tmp_path / "flat", tmp_path / "run", labels=labels, progress=heard)
    (note,) = [note for note in heard.notes if "count from 1" in note]
    assert note.startswith("warning: 0 of")
