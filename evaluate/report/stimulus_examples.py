"""Which cue-conflict stimuli are shown as examples, and what models answered to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..benchmarks.categories import CATEGORIES
from ..classes import class_names

Record = Mapping[str, Any]
"""One of the benchmark's records, as a dictionary."""

Match = Literal["shape", "texture", ""]


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


def chosen(records: Sequence[Record], count: int, rule: str = "mean") -> list[Record]:
    """Stimuli of categories of shapes evenly spread over all, the same each time.

    Of each of the first half of the categories one that was decided for its shape, of the others
    one that was decided for its texture, as far as there are such; first those with such a class in
    the top-5, then those whose texture was not shown yet. Stimuli that were skipped, and those
    whose shape is their texture, are not chosen.
    """
    scored = [r for r in records if r["error"] is None and r["shape"] != r["texture"]]
    categories = sorted({record["shape"] for record in scored})
    count = min(count, len(categories))
    found: list[Record] = []
    for position in range(count):
        category = categories[position * len(categories) // count]
        wanted = "shape" if position < count / 2 else "texture"
        textures = {record["texture"] for record in found}

        def rank(record: Record, wanted: str = wanted) -> tuple[bool, bool, bool, str]:
            seen = any(answer.match == wanted for answer in answers_of(record))
            undecided = record[rule] != record[wanted]
            return undecided, not seen, record["texture"] in textures, record["id"]

        found.append(min((r for r in scored if r["shape"] == category), key=rank))
    return found


def answers_of(record: Record) -> list[Answer]:
    """The stored top-5, which is over all 1000 classes.

    Example:
        >>> record = {"shape": "cat", "texture": "clock", "top5": [281], "probability": [0.5]}
        >>> answers_of(record)
        [Answer(name='tabby', probability=0.5, match='shape')]
    """
    return [
        Answer(class_names()[index], probability, _match(record, index))
        for index, probability in zip(record["top5"], record["probability"], strict=True)
    ]


def _match(record: Record, index: int) -> Match:
    if index in CATEGORIES[record["shape"]]:
        return "shape"
    return "texture" if index in CATEGORIES[record["texture"]] else ""
