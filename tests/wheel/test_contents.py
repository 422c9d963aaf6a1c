"""What the wheel holds: each module of the package, its data files, its commands."""

import importlib
import os
import pkgutil
from pathlib import Path

import evaluator

TREE = Path(os.environ["EVALUATOR_TREE"])
NOT_INSTALLED = {"tests", "perf", "build", "dist", "demo", "docs", "runs"}
DATA = (".json", ".tsv", ".txt", ".csv", ".toml", ".html", ".css", ".js")


def sources(suffixes: tuple[str, ...]) -> set[str]:
    """The files of the package in the tree."""
    return {
        path.relative_to(TREE).as_posix()
        for folder in TREE.iterdir()
        if (folder / "__init__.py").is_file() and folder.name not in NOT_INSTALLED
        for path in folder.rglob("*")
        if path.suffix in suffixes
    }


def test_each_module_of_the_tree_is_in_the_wheel_and_can_be_imported(home: Path) -> None:
    packages = pkgutil.walk_packages(evaluator.__path__, "evaluator.")
    names = [module.name for module in packages]
    for name in names:
        importlib.import_module(name)
    assert not [name for name in names if name.split(".")[1] in NOT_INSTALLED]
    missing = [file for file in sorted(sources((".py",))) if not (home / file).is_file()]
    assert missing == []


def test_each_data_file_of_the_tree_is_in_the_wheel(home: Path) -> None:
    files = sources(DATA)
    assert "evaluate/data/imagenet_classes.tsv" in files
    assert [file for file in sorted(files) if not (home / file).is_file()] == []
    assert (home / "py.typed").is_file()
