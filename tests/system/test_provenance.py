"""What is recorded of this process."""

import importlib.metadata
import platform
import shlex
import sys

import pytest

from evaluator.system.provenance import command_line, package_versions


def test_the_command_line_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["score", "resnet50", "imagenet", "--data", "my photos", "--out", "a\nb"]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/evaluator", *words])
    assert shlex.split(command_line()) == ["evaluator", *words[:-1], r"a\nb"]


def test_versions_are_those_of_python_and_of_the_packages() -> None:
    assert package_versions(["numpy"]) == {
        "python": platform.python_version(),
        "numpy": importlib.metadata.version("numpy"),
    }
