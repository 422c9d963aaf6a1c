"""Expensive products of the tests: made once in a checkout, used by all workers and later sessions.

    .test-cache/<name>-<key>/      complete, and never written to again

The key is a digest over what the product depends on: source code of the package, versions of other
packages, arguments. So a product of other code is never used. ``EVALUATOR_TEST_CACHE`` names
another folder. Products that nobody used for a day are removed when a new one is made.
"""

import hashlib
import importlib.metadata
import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from filelock import FileLock

PACKAGE = Path(__file__).parents[1]
ROOT = Path(os.environ.get("EVALUATOR_TEST_CACHE", PACKAGE / ".test-cache"))

EVERYTHING = (
    "__init__.py", "attacks", "cli", "contracts", "engine", "errors.py", "evaluate", "exporter",
    "records", "reporting", "storage", "system", "workflow",
)  # fmt: skip
"""All folders and files of the package that are not tests."""

KEPT_SECONDS = 24 * 3600.0


def shared(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder of a product, which is made now if nobody has made it. Only read it.

    Args:
        name: Of the product; the beginning of the folder's name.
        key: Digest of all that the product depends on.
        make: Fills an empty folder. Where it raises, nothing is kept.
    """
    folder = ROOT / f"{name}-{key[:24]}"
    ROOT.mkdir(parents=True, exist_ok=True)
    if not folder.is_dir():
        with FileLock(ROOT / f".{folder.name}.lock"):
            if not folder.is_dir():
                _publish(folder, make)
    with suppress(OSError):  # another session may remove it; this one has it open by then
        os.utime(folder)
    return folder


def digest(*parts: object) -> str:
    """SHA-256 over the texts of some values."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


@cache
def source_digest(*places: str) -> str:
    """SHA-256 over the files of some modules and folders of the package, data files included."""
    content = hashlib.sha256()
    for path in sorted(_files(places)):
        content.update(f"{path.relative_to(PACKAGE)}\0{path.stat().st_size}\0".encode())
        content.update(path.read_bytes())
    return content.hexdigest()


@cache
def versions(*distributions: str) -> tuple[str, ...]:
    """The installed version of each distribution; empty where it is not installed."""
    return tuple(map(_version, distributions))


def _version(distribution: str) -> str:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(distribution)
    return ""


def _files(places: Iterable[str]) -> list[Path]:
    files: list[Path] = []
    for place in places:
        path = PACKAGE / place
        files += [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return [path for path in files if path.suffix != ".pyc"]


def _publish(folder: Path, make: Callable[[Path], None]) -> None:
    _prune()
    temporary = ROOT / f".{folder.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        make(temporary)
        for path in temporary.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _prune() -> None:
    """Remove what was not used for a day, and what a killed session left half made."""
    oldest = time.time() - KEPT_SECONDS
    for path in ROOT.iterdir():
        with suppress(OSError):  # another worker removes it
            if path.name in HOMES or path.stat().st_mtime > oldest:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()


HOMES = ("pytest", "hypothesis")
"""Folders of pytest and hypothesis in the cache, which they keep in order themselves."""
