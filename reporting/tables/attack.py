"""Attacks: accuracy over epsilon, and over the number of steps.

Every row says what it counts. By the paper's count, that a target drawn at random is not reached,
accuracy is far above the share of images whose label no iterate leaves. A third row says how often
the target is reached.

A transferred attack is made on another model. Its numbers say nothing if it does not fool its own
source. So the row below each model shows the source under its own attack, and a note warns if the
source is often right.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...contracts import Score, epsilon_text
from ..attack_numbers import (
    PAPERS_COUNT,
    UNDER_ATTACK,
    curve_epsilon,
    fewest_steps,
)
from ..footnotes import TableCell, percent
from ..model_results import ModelResults, NumberKey, ReportContents, refusals
from ..published.paper_deviations import deviation_notes
from ..table import Table
from ..table_layout import Row, table_of_rows

WEAK = 0.1
"""Accuracy of a source under its own attack above which the attack is weaker than the paper's.

Source: Orhan, arXiv 1907.07640: below 10 % at epsilon 0.01.
"""

WHITE_BOX_COUNTS: Mapping[str, Mapping[str, str]] = {
    "paper": {
        UNDER_ATTACK: "target not reached",
        "label_unchanged": "label never left",
        "target_reached": "target reached, of those right",
    },
    "standard": {UNDER_ATTACK: "label never left, the worst case of all attempts"},
}
"""What the metrics of each protocol count of images that are right without an attack."""

TRANSFER_COUNTS = {
    UNDER_ATTACK: "right on the transferred image",
    "label_unchanged": "right with and without the attack",
}
OF_SOURCE = {
    "": "under its own attack",
    "paper": "under its own attack: target not reached",
    "standard": "under its own attack: label never left",
}
"""What each protocol counts of the model that was attacked; the first one is unknown."""

CLEAN = {
    UNDER_ATTACK: "clean_accuracy",
    "label_unchanged": "clean_accuracy",
    "target_reached": "clean_accuracy",
    "source_accuracy": "source_clean_accuracy",
}
"""The metric without an attack of each metric under attack."""

WHITE_BOX_NOTES = (
    "target not reached, label never left: of all images, right without an attack, and this by no "
    "iterate so far; clean: right without an attack",
    PAPERS_COUNT,
    "whether the attack is reliable: see below",
)
CLASSIFIED: Mapping[tuple[str | None, str | None], str] = {
    ("paper", "first-hit"): "by the paper's count, where the drawn target was not reached on "
    "{source}, the clean image is classified: an attack that fails on its source leaves all others "
    "as they were",
    ("paper", "last"): "unlike in the paper, the last iterate of every attempt is classified, "
    "whether or not the drawn target was reached on {source}",
    ("standard", "last"): "by the standard count the attack leads away from the label, and the "
    "last iterate of every attempt is classified",
    ("standard", "first-hit"): "the first iterate that leaves the label on {source} is classified, "
    "which hardly fools another model; where no iterate does, the clean image",
}
"""What is classified, by the protocol and the image that it hands on."""

WEAK_SOURCE = (
    "as published: of its source the paper says only that it is right on fewer than 10 % at "
    "epsilon 0.01"
)

Place = dict[str, object]
"""Epsilon and number of steps of a number; empty without an attack."""


@dataclass(frozen=True)
class Attack:
    """An attack, and the models that have numbers under it.

    Attributes:
        benchmark: Name of the attack.
        source: The model that was attacked, whose images other models classify; ``None`` for a
            white-box attack.
        own: The user's models.
        published: The paper's models, if the paper made this attack.
    """

    benchmark: str
    source: str | None
    own: Sequence[ModelResults]
    published: Sequence[ModelResults]

    @property
    def name(self) -> str:
        """Kind of the attack, with the source."""
        return "white-box" if self.source is None else f"transferred from {self.source}"

    def of(self, model: ModelResults, metric: str) -> list[Score]:
        """All of a model's numbers of one metric."""
        scores = model.of(self.benchmark, metric)
        return [score for score in scores if score.source_model == self.source]

    def under_attack(self, models: Iterable[ModelResults]) -> list[Score]:
        """Accuracies of models under this attack."""
        return [score for model in models for score in self.of(model, UNDER_ATTACK)]

    def numbers(self, metric: str, places: Iterable[Place]) -> list[NumberKey]:
        """The numbers of a metric at these places; without a place, of clean images."""
        source: Place = {"source_model": self.source}
        return [
            (self.benchmark, metric if place else CLEAN[metric], place | source) for place in places
        ]

    def counts(self, model: ModelResults) -> dict[str, str]:
        """Metrics of a model, and what they count; none of an unknown protocol of white-box."""
        protocol = protocol_name(self.under_attack([model]))
        counts = WHITE_BOX_COUNTS.get(protocol, {}) if self.source is None else TRANSFER_COUNTS
        return {metric: count for metric, count in counts.items() if self.of(model, metric)}


def attacks_of(contents: ReportContents, benchmark: str) -> list[Attack]:
    """Attacks that models of the user have numbers under; transferred ones by their source."""
    scores = [s for results in contents.models for s in results.of(benchmark, UNDER_ATTACK)]
    sources = dict.fromkeys(score.source_model for score in scores)
    attacks = [Attack(benchmark, source, contents.models, contents.published) for source in sources]
    return [
        replace(
            attack,
            own=[results for results in attack.own if attack.under_attack([results])],
            published=[results for results in attack.published if attack.under_attack([results])],
        )
        for attack in attacks
    ]


def protocol_name(scores: Iterable[Score]) -> str:
    """Protocol of an attack, ``paper`` or ``standard``; empty if it is unknown."""
    return next((score.attack_protocol or "" for score in scores), "")


@dataclass(frozen=True)
class _Line:
    """A model's numbers from left to right.

    Attributes:
        model: The model.
        fixed: Number of steps or epsilon that all numbers have in common.
        places: Place of each number.
    """

    model: ModelResults
    fixed: str
    places: Sequence[Place]


def attack_tables(contents: ReportContents, benchmark: str) -> list[Table]:
    """For each attack a table over epsilon, and one over steps if there are several step counts."""
    return [table for attack in attacks_of(contents, benchmark) for table in _tables(attack)]


def _tables(attack: Attack) -> Iterator[Table]:
    attack = replace(attack, own=[model for model in attack.own if attack.counts(model)])
    if not attack.own:
        return
    models = [*attack.own, *attack.published]
    epsilons = sorted({s.epsilon for s in attack.under_attack(models) if s.epsilon})
    lines = []
    for model in models:
        steps = fewest_steps(attack.under_attack([model]))
        places: list[Place] = [{"epsilon": epsilon, "steps": steps} for epsilon in epsilons]
        lines.append(_Line(model, str(steps), [{}, *places]))
    if epsilons:
        header = ("steps", "clean %", *map(epsilon_text, epsilons))
        yield _table(attack, "epsilon", header, lines)
    # The paper transferred its attacks after one number of steps only.
    with_steps = models if attack.source is None else attack.own
    step_counts = sorted({s.steps for s in attack.under_attack(with_steps) if s.steps})
    lines = []
    for model in models:
        epsilon = curve_epsilon(attack.under_attack([model]))
        places = [{"epsilon": epsilon, "steps": steps} for steps in step_counts]
        lines.append(_Line(model, epsilon_text(epsilon), places))
    if len(step_counts) > 1:
        yield _table(attack, "steps", ("epsilon", *map(str, step_counts)), lines)


def _table(attack: Attack, over: str, header: Sequence[str], lines: Sequence[_Line]) -> Table:
    deviations = deviation_notes(attack.own, attack.benchmark)
    if attack.source is None:
        title, notes = "White-box attack", [*WHITE_BOX_NOTES, *deviations]
    else:
        title = f"Attack {attack.name}"
        notes = [*_warnings(attack, lines), *deviations, *_transfer_notes(attack)]
    return table_of_rows(
        f"{title} over {over}: still right, %",
        ("model", "what is counted", *header),
        [row for line in lines for row in _rows(attack, line)],
        [*notes, *(note for line in lines for note in _refusals(attack, line))],
    )


def _rows(attack: Attack, line: _Line) -> Iterator[Row]:
    """Rows of a model, one for each count; below them the row of the source, if it is known."""
    model = line.model
    for metric, count in attack.counts(model).items():
        cells = model.cells(attack.numbers(metric, line.places), interval=False)
        # The paper's models have a row in each table of transferred attacks, even without numbers.
        if attack.source is not None or any(map(str, cells)):
            yield Row((model.name, count, line.fixed), cells)
    if attack.source is not None and model in attack.own:
        count = OF_SOURCE[protocol_name(attack.under_attack([model]))]
        own = model.cells(attack.numbers(UNDER_ATTACK, line.places))
        source = model.cells(attack.numbers("source_accuracy", line.places), interval=False)
        cells = [
            TableCell("not known") if str(number) and not str(cell) else cell
            for cell, number in zip(source, own, strict=True)
        ]
        yield Row((f"{attack.source} itself", count, line.fixed), cells)


def _refusals(attack: Attack, line: _Line) -> list[str]:
    """Reasons of the numbers that were refused; of white-box attacks, always of the clean one."""
    places = line.places if attack.source is not None else ({}, *line.places)
    numbers = [number for metric in CLEAN for number in attack.numbers(metric, places)]
    return refusals([line.model], numbers)


def _transfer_notes(attack: Attack) -> Iterator[str]:
    yield (
        f"all are shares of all images; the attack was made on {attack.source}, whose own accuracy "
        "under it stands beneath each model"
    )
    scores = attack.under_attack((*attack.own, *attack.published))
    for protocol in dict.fromkeys((score.attack_protocol, score.handed_image) for score in scores):
        if protocol in CLASSIFIED:
            yield CLASSIFIED[protocol].format(source=attack.source)
    if attack.published:
        yield WEAK_SOURCE


def _warnings(attack: Attack, lines: Sequence[_Line]) -> Iterator[str]:
    """Warnings that the attack is weaker on its source than the paper's, each once."""
    models: dict[str, list[str]] = {}
    for line in lines:
        numbers = attack.numbers("source_accuracy", filter(None, line.places))
        scores = [line.model.find(name, metric, **keys) for name, metric, keys in numbers]
        if text := weakness(str(attack.source), filter(None, scores)):
            models.setdefault(text, []).append(line.model.name)
    for text, names in models.items():
        yield f"{', '.join(names)}: {text}"


def weakness(source: str, scores: Iterable[Score]) -> str:
    """Warning that an attack often leaves its source right; empty if it does not.

    Args:
        source: The model that was attacked.
        scores: Its accuracy under its own attack, at some epsilons after some steps.
    """
    weak = [
        f"{percent(score.value, None, None)} % of the images at epsilon "
        f"{epsilon_text(score.epsilon or 0)} ({score.steps} steps)"
        for score in scores
        if score.value is not None and score.value > WEAK
    ]
    if not weak:
        return ""
    return (
        f"warning: the attack leaves {source} itself right on {', '.join(weak)} (the paper's "
        "source: below 10 % at epsilon 0.01): what does not fool its source cannot be expected to "
        "fool another model"
    )
