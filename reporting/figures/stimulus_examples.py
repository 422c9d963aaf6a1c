"""Which cue-conflict stimuli are shown as examples, and what models answered to them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Record = Mapping[str, Any]
"""One of the benchmark's records, as a dictionary."""

Match = Literal["shape", "texture", ""]


@dataclass(frozen=True)
class Classes:
    """Classes and categories, which records name by index and by name.

    Attributes:
        names: Name of each of the 1000 classes, for people.
        categories: Indices of the classes of each of the 16 categories.
    """

    names: Mapping[int, str] | Sequence[str]
    categories: Mapping[str, Collection[int]]


@dataclass(frozen=True)
class Answer:
    """One of the likeliest classes.

    Attributes:
        name: Of the class, for people.
        probability: Over all 1000 classes.
        match: Whether it is of the category of the stimulus's shape or of its texture.
    """

    name: str
    probability: float
    match: Match


@dataclass(frozen=True)
class Example:
    """A stimulus and what was answered to it.

    Attributes:
        id: Its file's name.
        shape: Category of its shape.
        texture: Of its texture.
        pixels: (224, 224, 3) uint8.
        answers: Five of each model.
    """

    id: str
    shape: str
    texture: str
    pixels: npt.NDArray[np.uint8]
    answers: Sequence[Sequence[Answer]]


def chosen(
    records: Sequence[Record], count: int, classes: Classes, rule: str = "mean"
) -> list[Record]:
    """Stimuli evenly spread over the categories of shapes, each of another; the same each time.

    The first half was decided for its shape, with a class of it in the top-5, the others for their
    texture, as far as there are such; among these, textures that were not shown yet. Stimuli that
    were skipped, and those whose shape is their texture, are not chosen.
    """
    found: list[Record] = []
    for wanted, enough in (("shape", (count + 1) // 2), ("texture", count)):
        taken = {record["shape"] for record in found}
        there = [
            record
            for record in records
            if record["error"] is None
            and record["shape"] != record["texture"]
            and record["shape"] not in taken
        ]
        found += _of_kind(there, wanted, enough - len(found), rule, classes)
    return found


def _of_kind(
    records: Sequence[Record], wanted: str, count: int, rule: str, classes: Classes
) -> list[Record]:
    """So many that show a decision for the shape, or for the texture, best."""
    by_fitness: dict[int, dict[str, list[Record]]] = {0: {}, 1: {}, 2: {}}
    for record in sorted(records, key=lambda record: record["id"]):
        seen = any(answer.match == wanted for answer in answers_of(record, classes))
        fitness = 2 if record[rule] != record[wanted] else 0 if seen else 1
        by_fitness[fitness].setdefault(record["shape"], []).append(record)
    found: dict[str, Record] = {}
    for categories in by_fitness.values():
        others = sorted(categories.keys() - found.keys())
        for category in evenly(others, count - len(found)):
            textures = {record["texture"] for record in found.values()}
            new = (r for r in categories[category] if r["texture"] not in textures)
            found[category] = next(new, categories[category][0])
    return [found[category] for category in sorted(found)]


def evenly(names: Sequence[str], count: int) -> list[str]:
    """So many of them, or all, evenly spaced.

    Example:
        >>> evenly("abcdefgh", 3)
        ['a', 'c', 'f']
    """
    count = min(count, len(names))
    return [names[position * len(names) // count] for position in range(count)]


def answers_of(record: Record, classes: Classes) -> list[Answer]:
    """The stored top-5, which is over all 1000 classes.

    Example:
        >>> record = {"shape": "cat", "texture": "clock", "top5": [281], "probability": [0.5]}
        >>> answers_of(record, Classes({281: "tabby"}, {"cat": [281], "clock": [409]}))
        [Answer(name='tabby', probability=0.5, match='shape')]
    """
    return [
        Answer(classes.names[index], probability, _match(record, index, classes.categories))
        for index, probability in zip(record["top5"], record["probability"], strict=True)
    ]


def _match(record: Record, index: int, categories: Mapping[str, Collection[int]]) -> Match:
    if index in categories[record["shape"]]:
        return "shape"
    return "texture" if index in categories[record["texture"]] else ""
