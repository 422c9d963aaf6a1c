"""The package as a whole: its layout, its documentation, and what importing it costs."""

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import evaluator

ROOT = Path(evaluator.__file__).parent
HEAVY = {"torch", "torchvision", "onnx", "onnxruntime", "numpy", "pyarrow", "PIL", "foolbox"}
HEAVY |= {"tensorrt", "tensorrt_rtx", "pycuda"}
NOT_SHIPPED = {"tests", "perf", "build"}


def modules() -> Iterator[str]:
    for found in pkgutil.walk_packages([str(ROOT)], "evaluator."):
        if found.name.split(".")[1] not in NOT_SHIPPED:
            yield found.name


def test_only_three_files_lie_at_the_root() -> None:
    # The root is the package: any other file there would be shipped in the wheel.
    found = {path.name for path in ROOT.glob("*.py")}
    assert found == {"__init__.py", "__main__.py", "errors.py"}


def test_the_wheel_ships_every_package_that_there_is() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    there = {
        ".".join(["evaluator", *path.parent.relative_to(ROOT).parts])
        for path in ROOT.rglob("__init__.py")
        if not NOT_SHIPPED & set(path.relative_to(ROOT).parts)
        and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    }
    assert set(setup["packages"]) == there


@pytest.mark.parametrize("name", sorted(modules()))
def test_examples_in_docstrings_run(name: str) -> None:
    if name == "evaluator.__main__":
        pytest.skip("importing it is harmless, but it is a script")
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_the_public_api_is_what_it_says() -> None:
    for name in evaluator.__all__:
        assert callable(getattr(evaluator, name))
    with pytest.raises(AttributeError, match="no attribute 'scoer'"):
        _ = evaluator.scoer


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["score", "--help"],
        ["data", "corrupt", "--help"],
        ["compile", "--help"],
        ["maximize", "--help"],
        ["cache", "prune", "--help"],
    ],
)
def test_help_loads_no_framework(words: list[str]) -> None:
    code = (
        "import sys; from evaluator.cli import app\n"
        f"try: app({words!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_no_folder_hides_a_public_function() -> None:
    # Importing a subpackage sets its name on the package, over a function of that name.
    assert not {path.name for path in ROOT.iterdir() if path.is_dir()} & set(evaluator.__all__)


def test_importing_the_package_loads_nothing() -> None:
    code = (
        "import sys, evaluator; assert not [m for m in sys.modules if m.startswith('evaluator.')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scoring_with_onnx_runtime_needs_no_torch_module_of_ours_at_import() -> None:
    code = (
        "import sys, evaluator.workflow.score, evaluator.workflow.report.report\n"
        "assert not {'torch', 'torchvision', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def imports_in_strings() -> Iterator[tuple[str, str]]:
    """Imports of the package in programs that tests and benchmarks start from strings."""
    for path in (*ROOT.glob("tests/**/*.py"), *ROOT.glob("perf/*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for line in node.value.splitlines():
                    statement = line.strip().partition(";")[0]
                    if re.match(r"(from evaluator[\w.]* )?import \w", statement) and (
                        "evaluator" in statement
                    ):
                        yield path.relative_to(ROOT).as_posix(), statement


@pytest.mark.parametrize(("file", "statement"), sorted(set(imports_in_strings())))
def test_programs_in_strings_import_what_there_is(file: str, statement: str) -> None:
    # Neither mypy nor ruff sees them, so that a module that moves leaves them behind.
    exec(statement, {})
