"""Published shape biases, with their weights, rule and stimuli, for comparison with a user's.

Two networks of one name are two references: torchvision's AlexNet has 25.3 %, the one of Caffe
42.9 %. If the source does not name the rule by which categories were decided, ``rule`` is ``None``:
such a number is near those of both rules and equals neither. Humans press a button.

Sources: Geirhos et al., "ImageNet-trained CNNs are biased towards texture; increasing shape bias
improves accuracy and robustness", ICLR 2019, and the README of its repository,
https://github.com/rgeirhos/texture-vs-shape, whose raw trials were counted by category
(``data/published_shape_decisions.json``); Orhan, arXiv 1907.07640, from whose raw results the five
models' numbers are (``data/paper_results.json``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from .paper import SOURCE as PAPER
from .paper import published_data

GEIRHOS = "Geirhos et al., ICLR 2019"
README = "rgeirhos/texture-vs-shape, README"

UNNAMED = "†"
STYLIZED = "SIN"
"""Signs in figures: of a rule that is not named, and of training on Stylized-ImageNet."""

_UNNAMED = "the aggregation of probabilities is not named; averaging gives 21.39 for ResNet-50"
_RULE_NOT_NAMED = "the aggregation of probabilities is not named"


@dataclass(frozen=True)
class PublishedShapeBias:
    """A shape bias, pooled over all stimuli.

    Attributes:
        name: Name of the network, or ``humans``.
        weights: Origin of the weights; empty for humans.
        rule: Rule by which a category was decided, ``mean`` or ``argmax``; ``None`` if not named.
        stimuli: Number of stimuli: 1200 without the images whose shape and texture have the same
            category, 1201 with the one of them that the paper kept.
        value: Shape bias, as a fraction.
        source: Publication of the number.
        note: Note on the number; may be empty.
        decisions: Number of decisions for the shape and for the texture, for the stimuli of each
            category of shapes; empty if unknown.
    """

    name: str
    weights: str
    rule: str | None
    stimuli: int
    value: float
    source: str
    note: str = ""
    decisions: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name of the network and its weights in a figure, with a mark if the rule is not named."""
        if not self.weights:
            return self.name
        # ``trained on Stylized-ImageNet (...)`` is too long for a figure.
        weights = STYLIZED if "Stylized-ImageNet" in self.weights else self.weights
        name = self.name if weights == "as published" else f"{self.name} ({weights})"
        return f"{name}{UNNAMED if self.rule is None else ''}"


_SIN = "trained on Stylized-ImageNet (resnet50_trained_on_SIN)"

_GEIRHOS = (
    PublishedShapeBias("AlexNet", "Caffe", None, 1200, 0.429, GEIRHOS, _UNNAMED),
    PublishedShapeBias("GoogLeNet", "Caffe", None, 1200, 0.312, GEIRHOS, _UNNAMED),
    PublishedShapeBias("VGG-16", "Caffe", None, 1200, 0.172, GEIRHOS, _UNNAMED),
    PublishedShapeBias("ResNet-50", "torchvision", None, 1200, 0.221, GEIRHOS, _UNNAMED),
    PublishedShapeBias("Shape-ResNet-50", _SIN, None, 1200, 0.81, GEIRHOS, _UNNAMED),
    PublishedShapeBias("humans", "", None, 1200, 0.959, GEIRHOS, "ten people, 1,280 trials each"),
    PublishedShapeBias("AlexNet", "torchvision", None, 1200, 0.253, README, _RULE_NOT_NAMED),
    PublishedShapeBias("VGG-16", "torchvision", None, 1200, 0.092, README, _RULE_NOT_NAMED),
    PublishedShapeBias("ResNet-50", "torchvision", "mean", 1200, 0.2139, README),
    PublishedShapeBias("Shape-ResNet-50", _SIN, "mean", 1200, 0.8137, README),
)


@cache
def published_shape_bias() -> Sequence[PublishedShapeBias]:
    """All published shape biases: the paper's five models, then those of Geirhos et al.

    Example:
        >>> [row.value for row in published_shape_bias() if row.name == "humans"]
        [0.959]
    """
    paper = (
        PublishedShapeBias(
            model, "as published", "argmax", 1201, results["shape_bias"]["frac_shape"], PAPER
        )
        for model, results in published_data("paper_results.json")["raw"].items()
    )
    return (*paper, *map(_with_decisions, _GEIRHOS))


def _with_decisions(row: PublishedShapeBias) -> PublishedShapeBias:
    """The same row with its decisions by category, which are known for the article's numbers."""
    decisions = published_data("published_shape_decisions.json")["decisions"]
    counts = decisions.get(f"{row.name}, {row.weights}", {}) if row.source == GEIRHOS else {}
    return replace(row, decisions={name: (int(s), int(t)) for name, (s, t) in counts.items()})


def references_of(rule: str, stimuli: int) -> list[PublishedShapeBias]:
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
    return sorted((*same, *unnamed), key=lambda row: -row.value)


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
