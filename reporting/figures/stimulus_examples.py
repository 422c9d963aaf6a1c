"""Cue-conflict stimuli that are shown as examples, and the likeliest classes of each."""

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
    """Classes, which records give by index, and categories, which they give by name.

    Attributes:
        names: Name of each of the 1000 classes, for people.
        categories: Indices of the classes of each of the 16 categories.
    """

    names: Mapping[int, str] | Sequence[str]
    categories: Mapping[str, Collection[int]]


@dataclass(frozen=True)
class Answer:
    """One of the likeliest classes of a stimulus.

    Attributes:
        name: Name of the class, for people.
        probability: Probability of the class, under a softmax over all 1000 classes.
        match: Whether the class belongs to the category of the stimulus's shape or of its texture;
            empty if to neither.
    """

    name: str
    probability: float
    match: Match


@dataclass(frozen=True)
class Example:
    """A stimulus and the likeliest classes that models gave it.

    Attributes:
        id: File name of the stimulus.
        shape: Category of its shape.
        texture: Category of its texture.
        pixels: Pixels of the stimulus: (224, 224, 3) uint8.
        answers: Five likeliest classes of each model.
    """

    id: str
    shape: str
    texture: str
    pixels: npt.NDArray[np.uint8]
    answers: Sequence[Sequence[Answer]]


def chosen(
    records: Sequence[Record], count: int, classes: Classes, rule: str = "mean"
) -> list[Record]:
    """Stimuli evenly spread over the categories of shapes, one for each; the same each time.

    In the first half the model decides for the shape, in the second half for the texture, as far as
    such stimuli exist. Preferred are stimuli with a class of that category in the top-5, then
    textures that are not shown yet. Stimuli that were skipped, and those whose shape and texture
    have the same category, are not chosen.
    """
    examples: list[Record] = []
    for cue, total in (("shape", (count + 1) // 2), ("texture", count)):
        shown_shapes = {record["shape"] for record in examples}
        available = [
            record
            for record in records
            if record["error"] is None
            and record["shape"] != record["texture"]
            and record["shape"] not in shown_shapes
        ]
        examples += _best_examples(available, cue, total - len(examples), rule, classes)
    return examples


def _best_examples(
    records: Sequence[Record], cue: str, count: int, rule: str, classes: Classes
) -> list[Record]:
    """The stimuli that show a decision for a cue best: ``shape`` or ``texture``."""
    by_fitness: dict[int, dict[str, list[Record]]] = {0: {}, 1: {}, 2: {}}
    for record in sorted(records, key=lambda record: record["id"]):
        in_top5 = any(answer.match == cue for answer in answers_of(record, classes))
        fitness = 2 if record[rule] != record[cue] else 0 if in_top5 else 1
        by_fitness[fitness].setdefault(record["shape"], []).append(record)
    best: dict[str, Record] = {}
    for categories in by_fitness.values():
        remaining = sorted(categories.keys() - best.keys())
        for category in evenly(remaining, count - len(best)):
            textures = {record["texture"] for record in best.values()}
            new = (r for r in categories[category] if r["texture"] not in textures)
            best[category] = next(new, categories[category][0])
    return [best[category] for category in sorted(best)]


def evenly(names: Sequence[str], count: int) -> list[str]:
    """A number of names, evenly spaced; all if they are fewer.

    Example:
        >>> evenly("abcdefgh", 3)
        ['a', 'c', 'f']
    """
    count = min(count, len(names))
    return [names[position * len(names) // count] for position in range(count)]


def answers_of(record: Record, classes: Classes) -> list[Answer]:
    """The top-5 of a record, which is over all 1000 classes.

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
