"""What is installed: ranges in pyproject.toml, versions in constraints.txt, the Makefile."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import evaluator

ROOT = Path(evaluator.__file__).parent
PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]
PYTHONS = [
    name.rpartition(" ")[2] for name in PROJECT["classifiers"] if "Language :: Python :: 3." in name
]
NOT_RUN = {"pycuda", "tensorrt"}  # they need a GPU, and CUDA's toolkit to be installed


def requirements() -> Iterator[Requirement]:
    """The direct ones, those of all extras included."""
    for words in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        yield from map(Requirement, words)


def applies(requirement: Requirement, python: str) -> bool:
    """Whether it is installed on the machines where the constraints were made."""
    linux = {"python_version": python, "sys_platform": "linux", "platform_machine": "x86_64"}
    return requirement.marker is None or requirement.marker.evaluate(linux)


def constraints(python: str) -> dict[str, str]:
    """The version of each package in constraints.txt on one Python."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    versions = [
        (r.name, str(r.specifier).removeprefix("==")) for r in requirements if applies(r, python)
    ]
    assert len(dict(versions)) == len(versions)
    return dict(versions)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_was_tested_in_its_range(python: str) -> None:
    versions = constraints(python)
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        if name in {"evaluator", *NOT_RUN} or not applies(requirement, python):
            continue
        assert name in versions, f"{name} is not in constraints.txt"
        assert requirement.specifier.contains(versions[name]), f"{requirement}: {versions[name]}"


def test_every_upper_bound_has_its_reason_beside_it() -> None:
    text = PYPROJECT[PYPROJECT.index("\ndependencies") : PYPROJECT.index("[project.scripts]")]
    commented = ""  # the bounds that the comment above speaks of; "#" before the first of them
    count = 0
    for line in text.splitlines():
        code, _, comment = line.partition("#")
        quoted_ranges = [Requirement(quoted) for quoted in re.findall('"([^"]+)"', code)]
        bounds = {str(r.specifier) for r in quoted_ranges if re.search("<|==", str(r.specifier))}
        if not code.strip():
            commented = "#"
        elif bounds:
            count += len(bounds)
            assert comment or commented in ("#", *bounds), line
            commented = max(bounds)
        else:
            commented = ""
    assert count > 20


def test_the_pythons_that_were_run_are_the_same_everywhere() -> None:
    assert PYTHONS[0] == PROJECT["requires-python"].removeprefix(">=")
    header = (ROOT / "constraints.txt").read_text().partition("\n")[0]
    assert re.findall(r"3\.\d+", header) == PYTHONS
    assert ", ".join(PYTHONS[:-1]) + f" and {PYTHONS[-1]}" in (ROOT / "README.md").read_text()


def test_torch_without_cuda_is_asked_for_in_the_same_range() -> None:
    # A newer one would be replaced at once by PyPI's, which brings CUDA.
    asked = re.findall(r"'(torch\w*<[\d.]+)'", (ROOT / "README.md").read_text())
    bounds = [f"{r.name}<{s.version}" for r in requirements() for s in r.specifier if "<" in str(s)]
    assert len(asked) == 2
    assert set(asked) <= set(bounds)


def commands(folder: Path, *words: str) -> str:
    """What `make check` would do in a folder."""
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "constraints.txt"):
        if not (folder / name).exists():
            (folder / name).touch()
    make = ["make", "--dry-run", "--no-print-directory", "-C", str(folder), "check", *words]
    # `make test PYTHON=...` hands its PYTHON down to every make below it, in two ways.
    outside = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHON" and not name.startswith("MAKE")
    }
    return subprocess.run(make, capture_output=True, text=True, check=True, env=outside).stdout


def venv_of(folder: Path, version: str) -> None:
    commands(folder)
    (folder / ".venv").mkdir()
    (folder / ".venv" / f".ready-{version}").touch()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_never_runs_in_the_venv_of_another_python(tmp_path: Path) -> None:
    this = f"PYTHON={sys.executable}"
    assert f"{sys.executable} -m venv --clear .venv" in commands(tmp_path, this)
    venv_of(tmp_path, "3.0.0")
    assert "pip install" in commands(tmp_path, this)
    assert "pip install" not in commands(tmp_path)  # nobody asked for another one
