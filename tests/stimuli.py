"""Made stimuli with the names and the numbers of the real ones."""

import tarfile
from collections.abc import Iterable
from pathlib import Path

from evaluator.tests.second_cue_conflict import CLASSES, LEFTOVER


def names(stimuli: int = 1280) -> list[str]:
    """16 shapes in 16 textures, five of each: 1280, 80 of which have no conflict.

    Of 1201 and 1200 there is one of these, and none.
    """
    every = [
        f"{shape}{2 * k + 2}-{texture}{k % 3 + 1}.png"
        for shape in CLASSES
        for texture in CLASSES
        for k in range(5)
    ]
    assert len(set(every)) == 1280
    assert LEFTOVER in every
    if stimuli == 1280:
        return every
    left = {LEFTOVER} if stimuli == 1201 else set()
    return [name for name in every if has_conflict(name) or name in left]


def has_conflict(name: str) -> bool:
    shape, texture = name.removesuffix(".png").split("-")
    return shape.rstrip("0123456789") != texture.rstrip("0123456789")


def tree(folder: Path, wanted: Iterable[str], content: bytes = b"", *, nested: bool) -> Path:
    """Files of these names, in the folders of their categories or flat."""
    for name in wanted:
        category = name.split("-")[0].rstrip("0123456789")
        path = folder / category / name if nested else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def tar_of(folder: Path) -> Path:
    """A tar of a folder, beside it."""
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as tar:
        tar.add(folder, arcname=folder.name)
    return path
