"""From photos and real weights to ImageNet-A's three numbers, equal to a second implementation."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import evaluator
from evaluator.contracts import Bundle, Condition
from evaluator.evaluate.classes import class_index, wnids
from evaluator.records.reading import read_run
from evaluator.tests import second_imagenet_a as second
from evaluator.tests import second_implementation

ENGINES = ("onnxruntime", "torch")


def tree_of(photos: Path, folder: Path, parts: int) -> Path:
    """Parts of twenty real photos, in folders of the 200 classes: about half of them right.

    A part lies in the folder of its photo's own class where that is one of the 200, or else in that
    of the class which the network finds; every second part lies in another.
    """
    found = answers_of(photos)
    classes, chance = second.classes(), np.random.default_rng(0)
    for number, (id, one) in enumerate(found.items()):
        own = class_index()[id.split("/")[0]]
        own = own if own in classes else one.top5[0]
        with Image.open(photos / id) as image:
            width, height = image.size
            for part in range(parts):
                left, top = (int(chance.integers(0, side // 4)) for side in image.size)
                wnid = wnids()[own if part % 2 else classes[(number * parts + part) % 200]]
                path = folder / wnid / f"{number:02}-{part:02}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                box = (left, top, left + 3 * width // 4, top + 3 * height // 4)
                image.convert("RGB").crop(box).resize((280, 260)).save(path)
    return folder


def answers_of(tree: Path) -> dict[str, second.Answer]:
    network = second_implementation.efficientnet_lite0()
    transform = second_implementation.clean_transform("efficientnet_lite0")
    found = second_implementation.logits_of_tree(network, transform, tree)
    return {id: second.answer(label, logits) for id, (label, logits) in found.items()}


def check(out: Path, tree: Path, answers: dict[str, second.Answer], engine: str) -> None:
    run = evaluator.score("efficientnet_lite0", "imagenet-a", tree, engine=engine, out=out / engine)
    rows = read_run(run, (Condition(),)).finished[Condition()].to_pylist()
    assert [row["id"] for row in rows] == sorted(answers)
    for row in rows:
        assert row["top5"][0] == answers[row["id"]].top5[0]
        np.testing.assert_allclose(row["probability"], answers[row["id"]].probability, atol=1e-5)
    those = list(answers.values())
    scores = evaluator.report([run.folder]).document()["scores"]
    found = {score["metric"]: score["value"] for score in scores}
    assert found["accuracy"] == second.accuracy(those)
    assert 0.2 < found["accuracy"] < 0.8
    assert found["aurra"] == pytest.approx(second.aurra(those), abs=1e-6)
    rms = None if len(those) < 200 else pytest.approx(second.rms_calibration_error(those), abs=1e-5)
    assert found["rms_calibration_error"] == rms
    assert all(score["n"] == len(those) and not score["complete"] for score in scores)


@pytest.fixture(scope="module")
def few(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree_of(photos, tmp_path_factory.mktemp("few"), parts=2)


@pytest.fixture(scope="module")
def answers_of_few(few: Path) -> dict[str, second.Answer]:
    return answers_of(few)


@pytest.mark.parametrize("engine", ENGINES)
def test_records_and_numbers_equal_the_second_implementation(
    tmp_path: Path, bundle: Bundle, few: Path, answers_of_few: dict[str, second.Answer], engine: str
) -> None:
    check(tmp_path, few, answers_of_few, engine)


@pytest.mark.slow
def test_so_does_the_calibration_error_which_takes_200_photos(
    tmp_path: Path, bundle: Bundle, photos: Path
) -> None:
    tree = tree_of(photos, tmp_path / "many", parts=11)
    answers = answers_of(tree)
    for engine in ENGINES:
        check(tmp_path, tree, answers, engine)
