"""Transferred attacks: accuracy of models on adversarial images that were made on another model.

Such a number says nothing if the attack does not fool its own source. So the row below each model
shows the source under its own attack, and a note warns if the source is often right.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...contracts import Score, epsilon_text
from ..attack_numbers import TRANSFER as BENCHMARK
from ..attack_numbers import UNDER_ATTACK, attack_protocol, curve_epsilon, fewest_steps
from ..footnotes import TableCell, percent
from ..model_results import ModelResults, Number, ReportContents, refusals
from ..published.paper_deviations import deviation_notes
from ..table import Table
from ..table_layout import Row, table_of_rows

WEAK = 0.1
"""Accuracy of a source under its own attack above which the attack is weaker than the paper's.

Source: Orhan, arXiv 1907.07640: below 10 % at epsilon 0.01.
"""

COUNTS = {
    UNDER_ATTACK: "right on the transferred image",
    "label_unchanged": "right with and without the attack",
}
OF_SOURCE = {
    "paper": "under its own attack: target not reached",
    "standard": "under its own attack: label never left",
}
"""What each protocol counts of the model that was attacked."""

CLASSIFIED = {
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

CLEAN = {
    UNDER_ATTACK: "clean_accuracy",
    "label_unchanged": "clean_accuracy",
    "source_accuracy": "source_clean_accuracy",
}
"""The metric without an attack of each metric under attack."""

EMPTY, NOT_KNOWN = TableCell(), TableCell("not known")

Place = dict[str, object]
"""Epsilon and number of steps of a number; empty without an attack."""


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


@dataclass(frozen=True)
class TransferredAttack:
    """Attacks on one model, whose images other models classify.

    Attributes:
        source: The model that was attacked.
        own_models: The user's models that classify the images.
        published: The paper's models, if the paper attacked the same model.
    """

    source: str
    own_models: Sequence[ModelResults]
    published: Sequence[ModelResults]

    @property
    def models(self) -> list[ModelResults]:
        """All models, the user's first."""
        return [*self.own_models, *self.published]

    def of(self, model: ModelResults, metric: str) -> Iterator[Score]:
        """All of a model's numbers of one metric."""
        for score in model.of(BENCHMARK, metric):
            if score.source_model == self.source:
                yield score

    def find(self, model: ModelResults, metric: str, **place: object) -> Score | None:
        """Score at an epsilon after a number of steps; without a place, of clean images."""
        benchmark, name, keys = self.number(metric, **place)
        return model.find(benchmark, name, **keys)

    def number(self, metric: str, **place: object) -> Number:
        """Benchmark, metric and keys of the score that ``find`` returns."""
        name = metric if place else CLEAN[metric]
        return BENCHMARK, name, {**place, "source_model": self.source}

    def cells(self, line: _Line, metric: str, missing: TableCell = EMPTY) -> list[TableCell]:
        """Cells of one metric; ``missing`` stands for a number that should exist."""
        cells = []
        for place in line.places:
            attacked = self.find(line.model, UNDER_ATTACK, **place)
            score = self.find(line.model, metric, **place)
            absent = score is None and attacked is not None
            cells.append(missing if absent else line.model.cell(score, interval=False))
        return cells

    def under_attack(self, model: ModelResults) -> list[Score]:
        """Accuracies of a model under these attacks."""
        return list(self.of(model, UNDER_ATTACK))

    def count_of_source(self, model: ModelResults) -> str:
        """What is counted of the source, by the protocol of a model's attack."""
        protocol = attack_protocol(self.under_attack(model))
        return "under its own attack" if protocol is None else OF_SOURCE[protocol.name]


def _transferred_attacks(contents: ReportContents) -> Iterator[TransferredAttack]:
    """Attacks of each source whose images other models classified."""
    scores = [s for results in contents.models for s in results.of(BENCHMARK, UNDER_ATTACK)]
    for source in dict.fromkeys(score.source_model for score in scores):
        if source is not None:
            published = _attacked_from(contents.published, source)
            yield TransferredAttack(source, _attacked_from(contents.models, source), published)


def _attacked_from(models: Sequence[ModelResults], source: str) -> list[ModelResults]:
    return [
        results
        for results in models
        if any(s.source_model == source for s in results.of(BENCHMARK, UNDER_ATTACK))
    ]


def transfer_tables(contents: ReportContents) -> list[Table]:
    """For each source a table over epsilon, and one over steps if there are several step counts."""
    return [
        table
        for attack in _transferred_attacks(contents)
        for table in (*_over_epsilon(attack), *_over_steps(attack))
    ]


def _over_epsilon(attack: TransferredAttack) -> Iterator[Table]:
    scores = [s for model in attack.models for s in attack.under_attack(model)]
    epsilons = sorted({score.epsilon for score in scores if score.epsilon})
    lines = []
    for model in attack.models:
        steps = fewest_steps(attack.under_attack(model))
        places: list[Place] = [{"epsilon": epsilon, "steps": steps} for epsilon in epsilons]
        lines.append(_Line(model, str(steps), [{}, *places]))
    if epsilons:
        header = ("steps", "clean %", *map(epsilon_text, epsilons))
        yield _table(attack, "epsilon", header, lines)


def _over_steps(attack: TransferredAttack) -> Iterator[Table]:
    scores = [s for model in attack.own_models for s in attack.under_attack(model)]
    counts = sorted({score.steps for score in scores if score.steps})
    lines = []
    for model in attack.models:
        epsilon = curve_epsilon(attack.under_attack(model))
        places: list[Place] = [{"epsilon": epsilon, "steps": steps} for steps in counts]
        lines.append(_Line(model, epsilon_text(epsilon), places))
    if len(counts) > 1:
        yield _table(attack, "steps", ("epsilon", *map(str, counts)), lines)


def _table(
    attack: TransferredAttack, over: str, header: Sequence[str], lines: Sequence[_Line]
) -> Table:
    return table_of_rows(
        f"Attack transferred from {attack.source} over {over}: still right, %",
        ("model", "what is counted", *header),
        [row for line in lines for row in _rows(attack, line)],
        (
            *_warnings(attack, lines),
            *deviation_notes(attack.own_models, BENCHMARK),
            *_notes(attack),
            *_refusals(attack, lines),
        ),
    )


def _rows(attack: TransferredAttack, line: _Line) -> Iterator[Row]:
    """Rows of a model, one for each count; below them the row of the source, if it is known."""
    for metric, count in COUNTS.items():
        if any(attack.of(line.model, metric)):
            yield Row((line.model.name, count, line.fixed), attack.cells(line, metric))
    if line.model in attack.own_models:
        cells = attack.cells(line, "source_accuracy", NOT_KNOWN)
        yield Row(
            (f"{attack.source} itself", attack.count_of_source(line.model), line.fixed), cells
        )


def _notes(attack: TransferredAttack) -> Iterator[str]:
    yield (
        f"all are shares of all images; the attack was made on {attack.source}, whose own accuracy "
        "under it stands beneath each model"
    )
    scores = [score for model in attack.models for score in attack.under_attack(model)]
    for protocol in dict.fromkeys(attack_protocol([score]) for score in scores):
        if protocol is not None and protocol.handed_image is not None:
            text = CLASSIFIED[protocol.name, protocol.handed_image]
            yield text.format(source=attack.source)
    if attack.published:
        yield WEAK_SOURCE


def _warnings(attack: TransferredAttack, lines: Sequence[_Line]) -> Iterator[str]:
    """Warnings that the attack is weaker on its source than the paper's, each once."""
    models: dict[str, list[str]] = {}
    for line in lines:
        scores = [
            attack.find(line.model, "source_accuracy", **place) for place in line.places if place
        ]
        if text := weakness(attack.source, [score for score in scores if score is not None]):
            models.setdefault(text, []).append(line.model.name)
    for text, names in models.items():
        yield f"{', '.join(names)}: {text}"


def weakness(source: str, scores: Sequence[Score]) -> str:
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


def _refusals(attack: TransferredAttack, lines: Sequence[_Line]) -> Iterator[str]:
    """Reasons of the numbers that were refused."""
    for line in lines:
        numbers = [attack.number(metric, **place) for metric in CLEAN for place in line.places]
        yield from refusals([line.model], numbers)
