"""ImageNet's 1000 classes: WordNet id to class index.

The index of a class is the position of its WordNet id among all 1000, sorted. A tree that holds
only some of them keeps these indices: counting its own folders would shift every label.
Source: ``data/imagenet_classes.tsv``, which agrees with timm's and torchvision's tables.
"""

import importlib.resources
from functools import cache


@cache
def class_index() -> dict[str, int]:
    """Class index 0..999 of each WordNet id.

    Example:
        >>> class_index()["n01440764"], class_index()["n15075141"]
        (0, 999)
    """
    return {wnid: index for index, wnid, _ in _rows()}


@cache
def wnids() -> tuple[str, ...]:
    """The WordNet id of each class index."""
    return tuple(wnid for _, wnid, _ in _rows())


@cache
def class_names() -> tuple[str, ...]:
    """A short name for each class index, for people."""
    return tuple(name for _, _, name in _rows())


@cache
def _rows() -> tuple[tuple[int, str, str], ...]:
    text = (
        importlib.resources.files("evaluator.evaluate")
        .joinpath("data/imagenet_classes.tsv")
        .read_text("utf-8")
    )
    rows = []
    for line in text.splitlines():
        index, wnid, name, _ = line.split("\t")
        rows.append((int(index), wnid, name))
    return tuple(rows)
