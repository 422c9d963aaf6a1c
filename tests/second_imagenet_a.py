"""A second implementation of ImageNet-A's numbers, for the tests.

It shares no code with the package, and follows eval.py and calibration_tools.py of
hendrycks/natural-adv-examples in what it computes: logits of the 200 classes alone, their softmax,
bins of 100 images of which the last is left out of the sum, accuracy at each response rate. One
image at a time, plain loops; timm's list of the 200 classes.
"""

import importlib.resources
import math
from collections.abc import Sequence
from dataclasses import dataclass

from evaluator.tests import second_implementation as second


def classes() -> list[int]:
    info = importlib.resources.files("timm.data").joinpath("_info/imagenet_a_indices.txt")
    return [int(line) for line in info.read_text().split()]


@dataclass(frozen=True)
class Answer:
    """The five likeliest of the 200 classes with their probabilities, and whether it is right."""

    top5: list[int]
    probability: list[float]
    right: bool


def answer(label: int, logits: second.Logits) -> Answer:
    of_200 = {index: float(logits[index]) for index in classes()}
    ranked = sorted(of_200, key=lambda index: (-of_200[index], index))
    highest = of_200[ranked[0]]
    total = sum(math.exp(value - highest) for value in of_200.values())
    probability = [math.exp(of_200[index] - highest) / total for index in ranked[:5]]
    return Answer(ranked[:5], probability, ranked[0] == label)


def accuracy(answers: Sequence[Answer]) -> float:
    return sum(one.right for one in answers) / len(answers)


def rms_calibration_error(answers: Sequence[Answer]) -> float:
    ranked = sorted(answers, key=lambda one: one.probability[0])
    bins = [ranked[100 * i : 100 * (i + 1)] for i in range(len(ranked) // 100)]
    total = 0.0
    for those in bins[:-1]:
        sure = sum(one.probability[0] for one in those) / len(those)
        total += len(those) / len(ranked) * (sure - accuracy(those)) ** 2
    return math.sqrt(total)


def aurra(answers: Sequence[Answer]) -> float:
    ranked = sorted(answers, key=lambda one: -one.probability[0])
    right, total = 0, 0.0
    for k, one in enumerate(ranked, 1):
        right += one.right
        total += right / k
    return total / len(ranked)
