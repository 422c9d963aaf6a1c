"""The tests of this folder run against the built wheel, outside the tree: see ``.ci/run``.

They import nothing of ``evaluator.tests``, which is not in the wheel.
"""

import os
from pathlib import Path

import pytest

import evaluator

os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    os.environ["EVALUATOR_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def home() -> Path:
    """The folder of the installed package."""
    folder = Path(evaluator.__file__).parent
    assert not (folder / "pyproject.toml").exists(), f"{folder} is the tree, not the wheel"
    return folder
