"""Code of a user, in a module of its own for each test: networks of 32 px, right and wrong."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from evaluator.contracts import NullProgress
from evaluator.workflow.models.options import ModelOptions
from evaluator.workflow.models.resolve import ResolvedModel, resolve_model
from evaluator.workflow.models.self_check import check_reference

_numbers = itertools.count()

DESCRIPTION = """
trained = true
[preprocessing]
resize_px = 36
crop_px = 32
interpolation = "bilinear"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""

BEGINNING = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv, self.norm = nn.Conv2d(3, 8, 8, 4), nn.BatchNorm2d(8)
            self.head = nn.Linear(8, 1000)

    def features(self, x):
        return self.norm(self.conv(x)).relu().mean((2, 3))

    def forward(self, x):
        return self.head(30 * self.features(x))


def make():
    return Net()
"""


class UserCode:
    """A folder with a module, which is on the import path, and a description."""

    def __init__(self, folder: Path, code: str = "") -> None:
        self.folder, self.module = folder, f"networks_of_a_user_{next(_numbers)}"
        self.description = folder / "mine.toml"
        self.description.write_text(DESCRIPTION)
        (folder / f"{self.module}.py").write_text(BEGINNING + code)

    def factory(self, name: str = "make") -> str:
        return f"{self.module}:{name}"

    def words(self, name: str = "make") -> list[str | Path]:
        """The model on the command line."""
        return [self.factory(name), "--description", self.description]

    def resolved(self, name: str = "make", **options: Any) -> ResolvedModel:
        choice = ModelOptions(self.factory(name), description=self.description, **options)
        return resolve_model(choice)

    def checked(
        self, name: str = "make", *, gradients: bool = False, **options: Any
    ) -> ResolvedModel:
        """The model with its self-check."""
        resolved = self.resolved(name, **options)
        return check_reference(resolved, NullProgress(), gradients=gradients)


def users_code(folder: Path, patch: pytest.MonkeyPatch, code: str = "") -> UserCode:
    patch.syspath_prepend(str(folder))
    return UserCode(folder, code)
