"""ImageNet's 1000 classes: WordNet id to class index.

The index of a class is the position of its WordNet id among all 1000, sorted. Data that hold only
some of the classes keep these indices: counting the folders would shift every label.
Source: ``data/imagenet_classes.tsv``, which agrees with timm's and torchvision's tables.

ImageNet-A and ImageNet-R have 200 of them each, not the same ones: ``data/imagenet_a_classes.txt``
and ``data/imagenet_r_classes.txt``, from ``eval.py`` of hendrycks/natural-adv-examples and of
hendrycks/imagenet-r. Which class folders exist never decides which classes count.
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
    """A short readable name for each class index."""
    return tuple(name for _, _, name in _rows())


@cache
def imagenet_a_index() -> dict[str, int]:
    """Class index, of 0..999, of each of ImageNet-A's 200 WordNet ids.

    Example:
        >>> len(imagenet_a_index()), imagenet_a_index()["n01498041"]
        (200, 6)
    """
    return _part("imagenet_a_classes.txt")


@cache
def imagenet_r_index() -> dict[str, int]:
    """Class index, of 0..999, of each of ImageNet-R's 200 WordNet ids.

    Example:
        >>> len(imagenet_r_index()), imagenet_r_index()["n01443537"]
        (200, 1)
    """
    return _part("imagenet_r_classes.txt")


@cache
def cue_conflict_stimuli() -> tuple[str, ...]:
    """The file names of the 1,280 cue-conflict stimuli, sorted.

    Example:
        >>> len(cue_conflict_stimuli()), cue_conflict_stimuli()[0]
        (1280, 'airplane1-bicycle2.png')
    """
    rows = (line.split() for line in _lines("cue_conflict_stimuli.txt") if line[0] != "#")
    return tuple(sorted(f"{row[0]}-{texture}.png" for row in rows for texture in row[1:]))


def _part(name: str) -> dict[str, int]:
    return {wnid: class_index()[wnid] for wnid in _lines(name)}


def _lines(name: str) -> list[str]:
    path = importlib.resources.files("evaluator.evaluate").joinpath(f"data/{name}")
    return path.read_text("utf-8").splitlines()


@cache
def _rows() -> tuple[tuple[int, str, str], ...]:
    rows = []
    for line in _lines("imagenet_classes.tsv"):
        index, wnid, name, _ = line.split("\t")
        rows.append((int(index), wnid, name))
    return tuple(rows)
