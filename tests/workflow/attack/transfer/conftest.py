"""Fixtures of transferred attacks: the zoo's rows, a target model's weights, labelled photos."""

from pathlib import Path

import pytest
import torch

from evaluator.tests.small import checkpoint, small_tensors
from evaluator.tests.transfers import images_seen, labelled_tree, transfer_rows


@pytest.fixture(autouse=True)
def rows_of_the_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    transfer_rows(monkeypatch)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return checkpoint(tmp_path / "target.pt", small_tensors())


@pytest.fixture
def images() -> dict[str, torch.Tensor]:
    return images_seen()


@pytest.fixture
def tree(images: dict[str, torch.Tensor], weights: str, tmp_path: Path) -> Path:
    return labelled_tree(images, weights, tmp_path / "tree")
