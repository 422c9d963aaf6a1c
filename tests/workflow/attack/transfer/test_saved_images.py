"""Adversarial images that are kept: exact, classified later, refused where they do not serve."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import feather

import evaluator
from evaluator.attacks.pgd.attempts import AttemptResult
from evaluator.contracts import NullProgress
from evaluator.errors import InputError, RunMismatchError
from evaluator.records.run import open_run
from evaluator.tests.second_attack import papers_walk
from evaluator.tests.small import one_line
from evaluator.tests.transfers import (
    EPSILONS,
    PHOTOS,
    SIDE,
    STEPS,
    network_of,
    transfer,
)
from evaluator.tests.whitebox_runs import rows


def test_images_that_are_kept_are_classified_by_models_that_come_later(
    tree: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = NullProgress()
    transfer(tree, weights, tmp_path / "a", keep=tmp_path / "kept", progress=told)
    size = PHOTOS * len(EPSILONS) * 3 * SIDE**2 * 4
    assert any(
        f"Saving up to {PHOTOS * len(EPSILONS)} images, {size / 1e9:.3g} GB" in note
        for note in told.notes
    )
    (expected,) = transfer(tree, weights, tmp_path / "b", models="second")

    def never(*_: Any) -> Iterator[AttemptResult]:
        raise AssertionError("attacked again")

    monkeypatch.setattr("evaluator.attacks.pgd.pgd.run_pgd", never)
    (later,) = transfer(tree, weights, tmp_path / "a", models="second", keep=tmp_path / "kept")
    for epsilon in EPSILONS:
        assert rows(later, epsilon) == rows(expected, epsilon)


def test_what_is_kept_is_a_run_of_its_source_and_its_images_are_exact(
    images: dict[str, torch.Tensor], tree: Path, weights: str, tmp_path: Path
) -> None:
    transfer(tree, weights, tmp_path / "a", keep=tmp_path / "kept", traced=0)
    report = evaluator.report(tmp_path / "kept")
    assert {score.benchmark for score in report.scores} == {"whitebox"}
    assert {score.model for score in report.scores} == {"flat"}
    source, kept = network_of("random"), 0
    label_of = {row["id"]: row["label"] for row in rows(open_run(tmp_path / "kept"), EPSILONS[0])}
    for epsilon in EPSILONS:
        parts = sorted((tmp_path / f"kept/images/epsilon={epsilon}").glob("part-*.arrow"))
        for row in (row for part in parts for row in feather.read_table(part).to_pylist()):
            image = images[row["id"].partition("/")[2]]
            step, _, adversarial = papers_walk(
                source, image, row["id"], label_of[row["id"]], epsilon, STEPS[-1]
            )
            assert step
            assert np.array_equal(np.float32(row["image"]), adversarial.detach().numpy().ravel())
            kept += 1
    assert kept


def test_images_may_be_kept_of_runs_that_are_there_already(
    tree: Path, weights: str, tmp_path: Path
) -> None:
    transfer(tree, weights, tmp_path / "a")
    transfer(tree, weights, tmp_path / "a", keep=tmp_path / "kept")
    for epsilon in EPSILONS:
        assert rows(open_run(tmp_path / "kept"), epsilon)


def test_kept_images_that_do_not_serve_are_named(
    tree: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some: dict[str, Any] = {"keep": tmp_path / "kept", "epsilons": EPSILONS[1:]}
    transfer(tree, weights, tmp_path / "a", **some)
    with pytest.raises(RunMismatchError, match=r"is a run of flat \(random, seed 0\), not"):
        transfer(tree, weights, tmp_path / "b", **some, seed=3)
    transfer(tree, weights, tmp_path / "c", epsilons=EPSILONS[1:], batch_size=4)
    with pytest.raises(InputError, match="Choose another --out or another --keep"):
        transfer(tree, weights, tmp_path / "c", **some, batch_size=None)
    image = next((tmp_path / "kept/images").glob("**/part-*.arrow"))
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"arrow is damaged: .* Remove it and") as error:
        transfer(tree, weights, tmp_path / "d", **some)
    one_line(error)
    image.write_bytes(whole)
    photo = min(tree.glob("*/*"))
    Image.open(photo).rotate(90).save(photo)
    with pytest.raises(
        RunMismatchError, match=r"kept was made from other images .* --keep"
    ) as error:
        transfer(tree, weights, tmp_path / "e", **some)
    one_line(error)
    # What a sample does not show, the digest of each shard does.
    monkeypatch.setattr("evaluator.workflow.runs.run_data.differing_image", lambda *_: None)
    with pytest.raises(InputError, match="have changed since they were attacked") as error:
        transfer(tree, weights, tmp_path / "f", **some)
    one_line(error)


def test_images_that_do_not_fit_are_not_kept(
    tree: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"1e-06 GB are free\. Attack fewer") as error:
        transfer(tree, weights, tmp_path / "a", keep=tmp_path / "kept")
    one_line(error)
    assert not (tmp_path / "a").exists()
