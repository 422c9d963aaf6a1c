"""A second implementation of the numbers of the cue-conflict stimuli, for the tests.

    shape bias    =  by shape / (by shape + by texture)
    decided       =  images by shape or texture / images
    frac_correct  =  (by shape + by texture) / images

It shares no code with the package: Pillow, eager PyTorch on the CPU, one image at a time, plain
loops. The categories are typed in once more.

Sources: rgeirhos/texture-vs-shape (code/helper/human_categories.py for the categories,
code/probabilities_to_decision.py for the mean); Orhan, arXiv 1907.07640 (for the argmax).
"""

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from evaluator.tests import second_implementation as second

RANGES = """
airplane 404
bear 294..297
bicycle 444 671
bird 8 10..16 18..20 22..24 80..83 87..96 98..100 127..133 135..145
boat 472 554 625 814 914
bottle 440 720 737 898 899 901 907
car 436 511 817
cat 281..286
chair 423 559 765 857
clock 409 530 892
dog 152..191 193..203 205..226 228..241 243..250 252..257 259 261..263 265..268
elephant 385 386
keyboard 508 878
knife 499
oven 766
truck 555 569 656 675 717 734 864 867
"""


def _classes() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for line in RANGES.split("\n"):
        for part in line.split()[1:]:
            ends = [int(end) for end in part.split("..")]
            found.setdefault(line.split()[0], []).extend(range(ends[0], ends[-1] + 1))
    return found


CLASSES = _classes()
LEFTOVER = "bicycle6-bicycle3.png"


@dataclass(frozen=True)
class Answer:
    """What is known of one stimulus: its categories, the two decisions, and the logits if any."""

    shape: str
    texture: str
    mean: str | None
    argmax: str | None
    logits: second.Logits | None = None


Answers = Mapping[str, Answer]  # file name -> answer; decisions are none where it was skipped


def answer(name: str, logits: second.Logits) -> Answer:
    shape, texture = re.findall(r"([a-z]+)\d+", name)
    return Answer(shape, texture, by_mean(logits), by_argmax(logits), logits)


def by_mean(logits: second.Logits) -> str:
    """Softmax over all classes, the mean over each category's, the largest."""
    probability = second.softmax(logits)
    best, decision = -1.0, ""
    for category in sorted(CLASSES):
        values = [float(probability[index]) for index in CLASSES[category]]
        mean = sum(values) / len(values)
        if mean > best:
            best, decision = mean, category
    return decision


def by_argmax(logits: second.Logits) -> str:
    """The largest logit of the 207."""
    category_of = {index: category for category in CLASSES for index in CLASSES[category]}
    ranked = sorted(category_of, key=lambda index: (-float(logits[index]), index))
    return category_of[ranked[0]]


def answers_of_tar(network: nn.Module, path: Path) -> Answers:
    """Of each stimulus in a tar."""
    transform = second.stimulus_transform("efficientnet_lite0")
    found = {}
    for name, data in _members(path):
        with Image.open(io.BytesIO(data)) as image, torch.no_grad():
            assert image.size == (224, 224)
            logits = network(transform(image.convert("RGB")).unsqueeze(0))[0].numpy()
        found[name] = answer(name, logits)
    return found


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                yield member.name.split("/")[-1], file.read()


def standard(answers: Answers) -> list[Answer]:
    """Those whose shape and texture differ, of the 1280 or the 1201 or the 1200."""
    return [one for one in answers.values() if one.shape != one.texture]


def papers(answers: Answers) -> list[Answer]:
    """Those and the one that was left in."""
    return standard(answers) + [one for name, one in answers.items() if name == LEFTOVER]


def numbers(answers: Iterable[Answer], rule: str) -> dict[str, float]:
    """The three numbers, over what was not skipped."""
    shape = texture = either = images = 0
    for one in answers:
        decision = getattr(one, rule)
        if decision is None:
            continue
        images += 1
        shape += decision == one.shape
        texture += decision == one.texture
        either += decision in (one.shape, one.texture)
    return {
        "shape_bias": shape / (shape + texture),
        "decided": either / images,
        "frac_correct": (shape + texture) / images,
    }


def category_numbers(
    answers: Iterable[Answer], rule: str, category: str
) -> dict[str, float | None]:
    """Two numbers over the stimuli of one category of shapes; none where it has no stimuli."""
    of_it = [one for one in answers if one.shape == category and getattr(one, rule) is not None]
    shape = sum(getattr(one, rule) == one.shape for one in of_it)
    texture = sum(getattr(one, rule) == one.texture for one in of_it)
    either = sum(getattr(one, rule) in (one.shape, one.texture) for one in of_it)
    return {
        "category_shape_bias": shape / (shape + texture) if shape + texture else None,
        "category_decided": either / len(of_it) if of_it else None,
    }
