"""Published shape biases as lines of a figure: selection, names, and places of the names."""

from collections.abc import Sequence
from dataclasses import dataclass

from .shape_bias import PublishedShapeBias, published_shape_bias

UNNAMED = "†"
STYLIZED = "SIN"


@dataclass(frozen=True)
class Reference:
    """A published shape bias in a figure.

    Attributes:
        name: Name of the network and its weights, with a mark if the rule is not named.
        value: Shape bias, as a fraction.
        row: Row of the published number.
    """

    name: str
    value: float
    row: PublishedShapeBias


def references_of(rule: str, stimuli: int) -> list[Reference]:
    """Shape biases that were published by this rule on these stimuli, or without a named rule.

    Numbers by a rule that is not named are left out if the same weights have one by this rule,
    unless they are known by category. The paper's own models have numbers by its protocol only.
    """
    rows = published_shape_bias()
    same = [row for row in rows if (row.rule, row.stimuli) == (rule, stimuli)]
    known = {(row.name, row.weights) for row in same}
    unnamed = [
        row for row in rows
        if row.rule is None and ((row.name, row.weights) not in known or row.decisions)
        and (row.stimuli == stimuli or row.name == "humans")
    ]  # fmt: skip
    references = [Reference(_name(row), row.value, row) for row in (*same, *unnamed)]
    return sorted(references, key=lambda reference: -reference.value)


def _name(row: PublishedShapeBias) -> str:
    if not row.weights:
        return row.name
    weights = "" if row.weights == "as published" else f" ({_short_weights(row.weights)})"
    return f"{row.name}{weights}{UNNAMED if row.rule is None else ''}"


def _short_weights(weights: str) -> str:
    """Short name of weights: ``trained on Stylized-ImageNet (...)`` is too long for a figure."""
    return STYLIZED if "Stylized-ImageNet" in weights else weights


def spread(places: Sequence[float], apart: float) -> list[float]:
    """Sorted places, moved as little as needed to keep a minimum distance.

    Example:
        >>> [round(place, 3) for place in spread([0.1, 0.11, 0.5], 0.03)]
        [0.09, 0.12, 0.5]
    """
    groups: list[list[float]] = []
    for place in places:
        groups.append([place])
        while len(groups) > 1 and _starts(groups[-1], apart) < _ends(groups[-2], apart):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [
        _starts(group, apart) + (n + 0.5) * apart for group in groups for n in range(len(group))
    ]


def _starts(group: Sequence[float], apart: float) -> float:
    return sum(group) / len(group) - apart * len(group) / 2


def _ends(group: Sequence[float], apart: float) -> float:
    return sum(group) / len(group) + apart * len(group) / 2
