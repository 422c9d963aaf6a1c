"""Engines that classify adversarial images are used only if they agree on such images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evaluator
from evaluator.contracts import NullProgress
from evaluator.errors import ParityError
from evaluator.evaluate.generate.photos import shipped_photos
from evaluator.records.reading import read_run
from evaluator.tests.small import one_line
from evaluator.tests.transfers import EXPORTED, transfer
from evaluator.workflow.runs.attack_scores import benchmark_of


def test_parity_on_adversarial_images_is_measured_kept_and_recorded(
    tree: Path, tmp_path: Path
) -> None:
    told = NullProgress()
    (run,) = transfer(
        tree,
        "random",
        tmp_path / "runs",
        EXPORTED,
        engine="onnxruntime",
        progress=told,
        limit=2,
        epsilons=[0.1, 0.21],
    )
    assert any("the same attacked on flat at epsilon 0.21" in note for note in told.notes)
    for made in read_run(run, benchmark_of(run).conditions).provenance:
        assert made.parity is not None
        assert made.adversarial_parity is not None
        assert made.adversarial_parity.passed
        assert made.adversarial_parity.n == 2 * len(shipped_photos())
        assert made.adversarial_parity.candidate == run.key.engine
        assert made.adversarial_parity.images_sha256 != made.parity.images_sha256
    (ran,) = (t for t in evaluator.report(run.folder).tables() if t.title == "What ran")
    assert "parity passed, on adversarial images passed, " in ran.rows[0][1]
    again = NullProgress()
    transfer(
        tree, "random", tmp_path / "runs", EXPORTED, engine="onnxruntime", progress=again, limit=2,
        epsilons=[0.05, 0.21],
    )  # fmt: skip
    assert not any("the same attacked" in note for note in again.notes)


def test_an_engine_that_disagrees_on_adversarial_images_alone_is_refused(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluator.engine import onnx_engine

    given = onnx_engine.OnnxEngine._logits

    def rounding(self: Any, batch: Any) -> Any:
        """Sees whole pixels only, which photos are and adversarial images are not."""
        return given(self, replace(batch, data=np.round(batch.data * 255) / np.float32(255)))

    monkeypatch.setattr(onnx_engine.OnnxEngine, "_logits", rounding)
    with pytest.raises(ParityError, match=r"^On adversarial images: onnxruntime on cpu") as error:
        transfer(
            tree,
            "random",
            tmp_path / "runs",
            EXPORTED,
            engine="onnxruntime",
            limit=2,
            epsilons=[0.22],
        )
    assert "does not agree with PyTorch" in one_line(error)
    assert not (tmp_path / "runs").exists()
