"""Make constraints.txt again: the newest packages that pyproject.toml allows, on each Python.

    python .ci/constraints.py python3.11 python3.12 python3.13

pip is asked what it would install for the extra ``dev``; nothing is installed. The result is a
proposal until `make demo PYTHON=...` and `make test PYTHON=...` pass with it on each of them.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADER = """\
# The packages that were tested, on Python {pythons} (Linux, x86-64). `make` installs these.
# `python .ci/constraints.py {commands}` makes this file again.
"""
NOT_OURS = re.compile(r"evaluator$|(nvidia|cuda)-|triton$")
"""Ourselves, and CUDA's libraries: each torch names its own, and a torch without CUDA has none."""


def packages_on(python: str) -> tuple[str, dict[str, str]]:
    """The Python's version, and the version of each package that pip would install on it."""
    command = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    output = subprocess.run(
        [*command, "--report", "-", ".[dev]"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout
    report = json.loads(output)
    versions = {}
    for item in report["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        if not NOT_OURS.match(name):
            versions[name] = item["metadata"]["version"].partition("+")[
                0
            ]  # +cpu is a torch as well
    return report["environment"]["python_version"], versions


def lines_of(packages: dict[str, dict[str, str]]) -> list[str]:
    """A line for each package; several, with markers, where the Pythons have several versions.

    Args:
        packages: For each Python, oldest first, the version of each package.
    """
    pythons = list(packages)
    lines = []
    for name in sorted({name for versions in packages.values() for name in versions}):
        pythons_of: dict[str, list[str]] = defaultdict(list)
        for python in pythons:
            pythons_of[packages[python].get(name, "")].append(python)
        for version, of in pythons_of.items():
            least = [f'python_version >= "{of[0]}"'] if of[0] != pythons[0] else []
            most = [f'python_version <= "{of[-1]}"'] if of[-1] != pythons[-1] else []
            marker = "; " + " and ".join(least + most) if least + most else ""
            if version:
                lines.append(f"{name}=={version}{marker}")
    return lines


def main(commands: list[str]) -> None:
    """Write the file for these Pythons."""
    resolved = [packages_on(command) for command in commands]
    resolved.sort(key=lambda pair: [int(part) for part in pair[0].split(".")])
    packages = dict(resolved)
    commands = [f"python{python}" for python in packages]
    header = HEADER.format(pythons=", ".join(packages), commands=" ".join(commands))
    (ROOT / "constraints.txt").write_text(header + "\n".join([*lines_of(packages), ""]))


if __name__ == "__main__":
    main(sys.argv[1:] or sys.exit(__doc__))
